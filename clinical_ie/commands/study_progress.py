"""How far a study is: a bar over its runs on a terminal, a line for each run where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from statistics import mean
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from clinical_ie.reports.durations import duration
from clinical_ie.studies.estimate import Estimate
from clinical_ie.studies.plan import Run
from clinical_ie.studies.runner import Outcome


class StudyProgress:
    """Told of each run that begins and ends.

    Args:
        runs: Those of the study.
        costs: What each will take, where that is known; others are taken to be as long as those that were done here.
    """

    def __init__(self, runs: Sequence[Run], costs: Mapping[str, Estimate]) -> None:
        self._left = {run.key: costs[run.key].seconds for run in runs}
        self._total, self._took = len(runs), list[float]()
        self._begun: tuple[str, float] | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> StudyProgress:
        if sys.stdout.isatty():
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns)
            self._task = self._bar.add_task("", total=self._total, left="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, run: Run) -> None:
        """A run begins."""
        self._begun = run.key, time.monotonic()
        self._show(run.cells[0], f"{self._done + 1}/{self._total} begins: {run.cells[0]}")

    def end(self, outcome: Outcome) -> None:
        """A run is over, or was done already."""
        self._left.pop(outcome.run.key, None)
        if outcome.seconds:
            self._took.append(outcome.seconds)
        if self._bar is not None:
            self._bar.advance(self._task)
        took = f" in {duration(outcome.seconds)}" if outcome.seconds else ""
        self._show("", f"{self._done}/{self._total} {outcome.state}{took}: {outcome.run.cells[0]}")

    @property
    def _done(self) -> int:
        return self._total - len(self._left)

    def _show(self, name: str, line: str) -> None:
        left = self._seconds_left()
        about = f"about {duration(left)} left" if left else ""
        if self._bar is not None:
            self._bar.update(self._task, description=name, left=about)
        else:
            print(", ".join(filter(None, (line, about))), flush=True)

    def _seconds_left(self) -> float:
        """Of all runs that are not over; 0 where nothing tells."""
        known = [seconds for seconds in self._left.values() if seconds is not None]
        usual = mean(self._took) if self._took else mean(known) if known else 0.0
        passed = time.monotonic() - self._begun[1] if self._begun and self._begun[0] in self._left else 0.0
        return max(0.0, sum(usual if seconds is None else seconds for seconds in self._left.values()) - passed)
