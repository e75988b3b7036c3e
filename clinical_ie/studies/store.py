"""The folder of runs that studies share: ``ROOT/runs/KEY``, what has become of each, and who is at work on it.

Nothing but a failure is noted: whether a run is done is read off its own ``results.json``.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clinical_ie.errors import FileFormatError
from clinical_ie.files import read_text, write_text
from clinical_ie.reports.results import Results
from clinical_ie.studies.claim import is_taken, taken
from clinical_ie.studies.plan import Run

State = Literal["done", "running", "failed", "waiting", "missing"]
"""``waiting``: for the run that it begins with, which is not done."""
_FAILURE, _NOTE = "failure.json", "study.json"


@dataclass(frozen=True, slots=True)
class Store:
    """Runs by their keys.

    Args:
        root: The folder; it need not exist.
    """

    root: Path

    def folder(self, key: str) -> Path:
        """Where a run lies."""
        return self.root / "runs" / key

    def log(self, key: str) -> Path:
        """Where what its process says is kept."""
        return self.folder(key) / "log.txt"

    def results(self, key: str) -> Path:
        """Its scores and cost."""
        return self.folder(key) / "results.json"

    def is_done(self, key: str) -> bool:
        """Whether it is trained and scored."""
        try:
            found = Results.load(self.results(key))
        except FileFormatError:
            return False
        return bool(found.run) and bool(found.splits.get("test"))

    def failure(self, key: str) -> str | None:
        """Why its last attempt failed; None where it did not."""
        path = self.folder(key) / _FAILURE
        if not path.exists() or self.is_done(key):
            return None
        try:
            return str(json.loads(read_text(path))["message"])
        except (ValueError, KeyError, TypeError):
            return f"{path} is damaged"

    def state(self, run: Run) -> State:
        """What has become of a run."""
        if self.is_done(run.key):
            return "done"
        if self.is_locked(run.key):
            return "running"
        if self.failure(run.key) is not None:
            return "failed"
        return "waiting" if run.begins_with is not None and not self.is_done(run.begins_with.key) else "missing"

    def note_failure(self, key: str, code: int, message: str) -> None:
        """Keep why a run failed."""
        write_text(self.folder(key) / _FAILURE, json.dumps({"exit_code": code, "message": message}) + "\n")

    def forget_failure(self, key: str) -> None:
        """It is tried again."""
        (self.folder(key) / _FAILURE).unlink(missing_ok=True)

    def describe(self, run: Run, study: str) -> None:
        """Write ``study.json`` for who looks into the folder: what the run is for, in every study that names it."""
        path = self.folder(run.key) / _NOTE
        known = self.description(run.key)
        studies = {**known.get("studies", {}), study: run.cells}
        before = run.begins_with.key if run.begins_with else None
        note = {
            "key": run.key,
            "shape": run.content.shape,
            "chain": run.chain,
            "begins_with": before,
            "studies": dict(sorted(studies.items())),
        }
        write_text(path, json.dumps(note, indent=1, ensure_ascii=False) + "\n")

    def description(self, key: str) -> dict[str, Any]:
        """What ``study.json`` says; nothing where there is none."""
        try:
            found = json.loads(read_text(self.folder(key) / _NOTE))
        except (ValueError, FileFormatError):
            return {}
        return found if isinstance(found, dict) else {}

    def named(self, study: str, code: str) -> dict[str, list[str]]:
        """Cell of a study -> the runs of a version of the code that were done for it, by their ``study.json``."""
        found: dict[str, list[str]] = {}
        for key in (key for key in self.known() if key.endswith(f"-{code}") and self.is_done(key)):
            studies = self.description(key).get("studies")
            for cell in (studies.get(study) or ()) if isinstance(studies, dict) else ():
                found.setdefault(cell, []).append(key)
        return found

    def known(self) -> list[str]:
        """Keys of all runs that lie there, sorted."""
        folder = self.root / "runs"
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def is_locked(self, key: str) -> bool:
        """Whether somebody is at work on a run."""
        return is_taken(self._lock(key))

    def held(self, key: str) -> contextlib.AbstractContextManager[int | None]:
        """Hold a run: gives the lock's file descriptor, or None where somebody else holds it, on this machine or another (`claim`).

        The lock is of the open file, so a process that inherits the descriptor holds it on when this one is killed.
        """
        return taken(self._lock(key))

    def _lock(self, key: str) -> Path:
        return self.root / "locks" / key
