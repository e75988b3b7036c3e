"""``study run`` started by srun as several tasks: one of them holds locks and decides, all of them take part in each run.

A run on several GPUs needs a process for each, so the whole command is started as many times. The first task writes down which run it
begins, in a file that all nodes see; the others begin the same run, and so meet it there. Nothing else can start processes on other nodes
from inside a container.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from clinical_ie.errors import RunError, Stopped

_END = "end"


@dataclass(frozen=True, slots=True)
class Ranks:
    """The tasks of this step of a SLURM job.

    Args:
        rank: Which this is.
        path: The file that the first writes and the others read.
    """

    rank: int
    path: Path

    @classmethod
    def of(cls, environment: Mapping[str, str], root: Path) -> Ranks | None:
        """From the variables of a task; None where it is the only one, or srun did not start it.

        Args:
            environment: Variables.
            root: The folder that runs share.
        """
        if (tasks_of(environment) or 1) < 2:
            return None
        names = ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")  # ids of jobs are those of one cluster
        path = root / "locks" / "steps" / ".".join(environment.get(name) or "0" for name in names)
        return cls(int(environment["SLURM_PROCID"]), path)

    def begin(self, key: str) -> None:
        """The first begins a run."""
        self._write(key)

    def end(self) -> None:
        """The first is done."""
        self._write(_END)

    def _write(self, line: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def follow(self, start: Callable[[str], int], pause: float = 0.5) -> None:
        """Take part in each run that the first begins, until it is done.

        Args:
            start: Does one, by its key; its exit code.
            pause: Seconds between two looks.

        Raises:
            Stopped: A signal ended a run.
            RunError: The first begins a run that this task does not know.
        """
        done = 0
        while True:
            lines = self.path.read_text(encoding="utf-8").split("\n")[:-1] if self.path.exists() else []  # whole lines
            if len(lines) == done:
                time.sleep(pause)
                continue
            if lines[done] == _END:
                return
            try:
                code = start(lines[done])
            except KeyError:
                raise RunError(
                    f"the first task begins {lines[done]}, which this one does not know: do all nodes see the same files?"
                ) from None
            if code == Stopped.exit_code:
                raise Stopped(f"rank {self.rank} was stopped")
            done += 1


def tasks_of(environment: Mapping[str, str]) -> int | None:
    """How many processes srun has started; None of one that it has not."""
    if "SLURM_STEP_ID" not in environment:
        return None
    return int(environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or 1)


@contextmanager
def stopping() -> Iterator[None]:
    """While nothing is under way: SIGTERM and SIGUSR1 stop this process as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(f"stopped by {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
