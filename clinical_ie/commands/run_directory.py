"""A run's folder: what lies in it, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clinical_ie.errors import SettingError
from clinical_ie.strategies.checkpoint_names import BEST, LAST


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
        return self.path / "config.yaml"

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

    def best(self) -> Path:
        """The state that is tested.

        Raises:
            SettingError: There is none.
        """
        path = self.checkpoints / BEST
        if not path.exists():
            raise SettingError(f"{path}: no such checkpoint; has this run been trained?")
        return path
