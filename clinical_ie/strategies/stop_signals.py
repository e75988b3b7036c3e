"""The signals that ask a command to stop, and what they do before there is anything to lose. Nothing heavy is imported here."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from clinical_ie.errors import Stopped
from clinical_ie.strategies.slurm_job import requeue_early

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; the end of a job's time, or of its allocation; what ``sbatch --signal=USR1@120`` sends before that."""


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """While nothing would be lost: each of the signals stops this process as Ctrl-C does, and a job of SLURM goes back into the queue."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(f"stopped by {name_of(number)}", requeue=number != signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except Stopped as stopped:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # SLURM sends some of them twice
        if stopped.requeue:
            requeue_early()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def name_of(number: int) -> str:
    """A signal as users know it."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
