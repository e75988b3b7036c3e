"""Sphinx settings of the site: MyST Markdown, the furo theme, nothing that a browser would fetch from a network."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from generated_reference import write_reference  # noqa: E402

write_reference(HERE / "reference")

project = "clinical_ie"
author = copyright = "The clinical_ie developers"
version = release = version_of("clinical_ie")

extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["_build", "generated_reference.py"]

html_theme = "furo"
html_title = "clinical_ie"
html_theme_options = {"source_directory": "docs/"}
html_show_sourcelink = False
html_copy_source = False
