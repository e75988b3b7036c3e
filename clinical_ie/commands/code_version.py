"""Which code computes: a digest of the package's source files, which an installed wheel has as well as a checkout with changes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

STUDY = ("studies/", "reports/study_", "commands/study", "commands/submit", "commands/run_content", "commands/merged_settings")
"""Files that no run imports: they plan runs and read what they leave."""


@cache
def code_version(without: Sequence[str] = ()) -> str:
    """The digest, of all source files but those whose path inside the package begins so."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if not name.startswith(tuple(without)):
            digest.update(name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
