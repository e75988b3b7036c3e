"""What `clinical-ie` alone proposes: the next command, by what lies in the working directory; nothing is read or imported for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_DEEPEST = 2
_MOST = 1000
"""Folders that are looked at: somebody's home may hold any number."""


def next_step(here: Path) -> str:
    """A few lines with commands that can be typed as they stand."""
    runs = sorted(_runs(here / "runs"), key=lambda path: (path / "config.yaml").stat().st_mtime)
    if not runs:
        return (
            "Nothing was trained here yet. Next:\n"
            "  clinical-ie demo                                                 train and test on invented notes, in a few minutes\n"
            "  clinical-ie corpus draft NOTES --output notes.yaml               describe your own BRAT notes; then `corpus check`, `fit`\n"
        )
    newest = runs[-1].relative_to(here)
    if not (runs[-1] / "results.json").is_file():
        return (
            f"The newest run, {newest}, is not finished. Next:\n"
            f"  clinical-ie fit -c {newest}/config.yaml --resume=auto            go on with it, unless it is still running\n"
        )
    return (
        f"The newest of {len(runs):,} finished or begun runs here is {newest}. Next:\n"
        f"  clinical-ie view {newest}                 its test notes in a browser, errors by kind; `errors`: as tables\n"
        f"  clinical-ie extract NOTES --model={newest} --output=FOLDER       annotate raw notes\n"
        f"  clinical-ie export {newest} --card --output=FOLDER               what a reviewer will ask\n"
    )


def _runs(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Folders with a ``config.yaml``: runs, in the folder of runs or one below (pipelines, studies)."""
    try:
        with os.scandir(folder) as found:
            inside = [Path(entry.path) for entry in found if entry.is_dir() and not entry.name.startswith(".")][:_MOST]
    except OSError:
        return
    for path in inside:
        if (path / "config.yaml").is_file():
            yield path
        elif depth + 1 < _DEEPEST:
            yield from _runs(path, depth + 1)
