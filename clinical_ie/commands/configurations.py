"""The packaged configuration files, found by name: ``task/entity_tagging`` is a file wherever the package is installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from clinical_ie.errors import SettingError, did_you_mean, did_you_mean_path

_ENDINGS = (".yaml", ".yml")


@cache
def folder() -> Path:
    """The folder of configuration files: beside the package in a checkout, inside it when installed.

    Raises:
        SettingError: Neither is there.
    """
    package = Path(__file__).parents[1]
    for candidate in (package / "configs", package.parent / "configs"):
        if (candidate / "base.yaml").is_file():
            return candidate
    raise SettingError("the configuration files are missing; was the package installed whole?")


def names(within: str = "") -> list[str]:
    """The files of one folder (``task``) as ``entity_tagging``, or all of them as ``task/entity_tagging``."""
    top = folder() / within
    return sorted(path.relative_to(top).with_suffix("").as_posix() for path in top.rglob("*.yaml"))


def resolve(name: str, within: str = "") -> Path:
    """The file that a name stands for: a path, with or without its ending, or else a packaged configuration.

    Args:
        name: ``runs/a/config.yaml``, ``my_model``, ``task/entity_tagging``.
        within: A folder of packaged configurations whose files need not name it: ``pipeline`` finds ``demo``.

    Raises:
        SettingError: There is no such file; the message proposes the nearest name and lists those that are near.
    """
    for path in (Path(name), *(Path(f"{name}{ending}") for ending in _ENDINGS)):
        if path.is_file():
            return path
    plain = name.removesuffix(".yaml").removesuffix(".yml")
    known = names()
    for packaged in (plain, f"{within}/{plain}"):
        if packaged in known:
            return folder() / f"{packaged}.yaml"
    near = did_you_mean_path(name) if name.endswith(_ENDINGS) else ""
    if (Path(name) / "config.yaml").is_file():
        raise SettingError(f"{name} is a folder; name the file in it, {Path(name) / 'config.yaml'}")
    raise SettingError(f"{name}: no such file, and no packaged configuration of that name{near or _nearest(plain, within, known)}")


def _nearest(name: str, within: str, known: list[str]) -> str:
    """What a wrong name may have meant, and what there is in its folder."""
    folders = sorted({file.partition("/")[0] for file in known if "/" in file})
    axis = within or name.rpartition("/")[0]
    if axis in folders:
        inside = names(axis)
        near = did_you_mean(name.removeprefix(f"{axis}/"), inside) if within else did_you_mean(name, [f"{axis}/{file}" for file in inside])
        return f"{near} ({axis} has {', '.join(inside)})"
    by_last_part = {file.rpartition("/")[2]: file for file in known}
    near = did_you_mean(by_last_part.get(name, name), known)
    return f"{near} (packaged are {', '.join(f'{one}/...' for one in folders)})"
