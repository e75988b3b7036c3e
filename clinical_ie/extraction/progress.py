"""How far an extraction is: a bar on a terminal, lines where there is none (in a log file, under SLURM)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

_EVERY = 60.0


class NotesProgress:
    """Notes that are done, how many a second, and how long the rest takes, once it is known how many there are.

    Args:
        count: Counts all notes of the input, which may take long; in a thread of its own. None where they cannot be counted.
        done: Notes that an earlier command has done.
        every: Seconds between two lines where there is no terminal.
    """

    def __init__(self, count: Callable[[], int] | None, done: int = 0, every: float = _EVERY) -> None:
        self._done = self._before = done
        self._total: int | None = None
        self._every, self._begun, self._said = every, time.monotonic(), time.monotonic()
        self._bar: Progress | None = None
        console = Console(file=sys.stderr)
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("extract"), BarColumn(), MofNCompleteColumn(), _Speed(self), TimeElapsedColumn(), TimeRemainingColumn(),
                console=console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("extract", total=None, completed=done)
        if count is not None:
            threading.Thread(target=self._count, args=(count,), daemon=True).start()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def skip(self, notes: int) -> None:
        """So many notes were done before."""
        self._before += notes
        self.add(notes)

    def add(self, notes: int) -> None:
        """So many more notes are done."""
        self._done += notes
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
        elif notes and time.monotonic() - self._said >= self._every:
            self._said = time.monotonic()
            print(f"extract: {self.line()}", file=sys.stderr, flush=True)

    @property
    def speed(self) -> float:
        """Notes a second of this command; 0 before the first."""
        return (self._done - self._before) / max(1e-9, time.monotonic() - self._begun)

    def line(self) -> str:
        """All of it in words.

        Example:
            >>> NotesProgress(None).line()
            '0 notes, 0.0 notes/s'
        """
        total, left = self._total, ""
        if total is not None and self.speed > 0:
            minutes = (total - self._done) / self.speed / 60
            left = f", about {minutes / 60:.1f} h left" if minutes >= 90 else f", about {minutes:.0f} min left"
        of = "" if total is None else f"/{total:,}"
        return f"{self._done:,}{of} notes, {self.speed:.1f} notes/s{left}"

    def _count(self, count: Callable[[], int]) -> None:
        try:
            self._total = count()
        except Exception:  # the reader says what is wrong with the input
            return
        if self._bar is not None:
            self._bar.update(self._task, total=self._total)


class _Speed(ProgressColumn):
    def __init__(self, progress: NotesProgress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: Task) -> Text:
        return Text(f"{self._progress.speed:.1f} notes/s")
