"""Where a model lies: a hub name, a local folder, or a folder inside an installed package.

``package:NAME/FOLDER`` names a folder inside an installed Python package without importing it, so that
a model that was installed by pip is found offline.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from clinical_ie.errors import SettingError

_PACKAGE = "package:"


def locate(name: str) -> str:
    """What ``from_pretrained`` takes.

    Raises:
        SettingError: The package or folder does not exist.
    """
    if name.startswith(_PACKAGE):
        module, _, inside = name.removeprefix(_PACKAGE).partition("/")
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise SettingError(f"{name}: the package {module} is not installed; `make demo` installs the demo's models")
        folder = Path(next(iter(spec.submodule_search_locations))) / inside
        if not folder.is_dir():
            raise SettingError(f"{name}: the package {module} has no folder {inside}")
        return str(folder)
    expanded = str(Path(name).expanduser())
    if os.path.isdir(expanded):
        return expanded
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise SettingError(f"{name}: no such folder; expected a local folder, a hub name or package:NAME/FOLDER")
    return name
