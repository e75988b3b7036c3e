"""A run's folder: what lies in it, and where; and the run that a configuration file belongs to."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinical_ie.errors import SettingError, printable
from clinical_ie.strategies.checkpoint import Checkpoint
from clinical_ie.strategies.checkpoint_names import BEST, LAST

CONFIG = "config.yaml"
_PATHS_BY_NAME = {"demonstrations"}
"""Settings that may hold a path for each of several names."""
_PATHS = {"root", "backbone", "tokenizer", "prompt_template", "demonstrations", "texts", "mentions", "init_from"}
"""Settings that may name files; what they name is written down as an absolute path, so that a run works from any working directory."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """``config.yaml``, ``results.json`` and ``checkpoints/`` of a run.

    Args:
        path: The folder; it need not exist yet.
    """

    path: Path

    @property
    def config(self) -> Path:
        """What replays the run alone."""
        return self.path / CONFIG

    @property
    def results(self) -> Path:
        """Scores and cost."""
        return self.path / "results.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The state that a run goes on from."""
        return self.checkpoints / LAST

    def latest(self) -> Path:
        """The state that a run goes on from; the best where there is no last, as after a kill between writing the two.

        Raises:
            SettingError: There is none.
        """
        return self.last if Checkpoint(self.last).exists else self.best()

    def best(self) -> Path:
        """The state that is tested.

        Raises:
            SettingError: There is none.
        """
        path = self.checkpoints / BEST
        if not Checkpoint(path).exists:
            raise SettingError(f"{path}: no such checkpoint; has this run been trained?")
        return path

    @classmethod
    def weights(cls, source: str | Path) -> Checkpoint:
        """The checkpoint that another run begins with: the best of a run's folder, or the one that is named.

        Raises:
            SettingError: There is none.
        """
        named = Checkpoint(source)
        return named if named.exists or not named.path.is_dir() else Checkpoint(cls(named.path).best())

    def check_writable(self) -> None:
        """Make sure that the folder can be made or written to; nothing is touched.

        Raises:
            SettingError: It cannot, or it is no folder.
        """
        there = next((place for place in (self.path, *self.path.absolute().parents) if os.path.lexists(place)), Path("/"))
        if not there.is_dir():
            raise SettingError(f"--run_dir={printable(self.path)}: {printable(there)} is a file; --run_dir names a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise SettingError(f"--run_dir={printable(self.path)}: {printable(there)} cannot be written to; give a folder of your own")

    def holds_checkpoints(self) -> bool:
        """Whether something was trained here."""
        return any(self.checkpoints.glob("*.ckpt"))


def run_of(configurations: Iterable[str | Path]) -> RunDirectory | None:
    """The run whose own ``config.yaml`` is among these files: what lies beside it is the run, however the folder is called now.

    Of several the last counts.
    """
    found = None
    for name in configurations:
        path = Path(name)
        if path.name == CONFIG and ((path.parent / "checkpoints").is_dir() or (path.parent / "tensorboard").is_dir()):
            found = RunDirectory(path.parent)
    return found


def make_paths_absolute(settings: Any) -> None:
    """Turn relative paths that exist into absolute ones, in place.

    Args:
        settings: Mappings, namespaces, lists and plain values.
    """
    if isinstance(settings, list):
        for value in settings:
            make_paths_absolute(value)
    elif isinstance(settings, dict | Namespace):
        values = settings if isinstance(settings, dict) else vars(settings)
        for name, value in values.items():
            if name in _PATHS and isinstance(value, str):
                values[name] = _absolute(value)
            elif name in _PATHS_BY_NAME and isinstance(value, dict):
                values[name] = {key: _absolute(path) for key, path in value.items()}
            else:
                make_paths_absolute(value)


def _absolute(name: str) -> str:
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name
