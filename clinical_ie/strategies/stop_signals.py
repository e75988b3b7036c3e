"""The signals that ask a command to stop, and what they do before there is anything to lose. Nothing heavy is imported here."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from clinical_ie.errors import Stopped
from clinical_ie.strategies.slurm_job import requeue_early

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; the end of a job's time, or of its allocation; what ``sbatch --signal=USR1@120`` sends before that."""
_PATIENCE = 4.0
"""Seconds in which the main thread may take notice of a signal, less than ranks give the first one to ask for a requeue.

Python's handlers run in that thread alone, and not while it waits in a library's own code for another rank, which may have left by
then, as the signal was for both.
"""
_WATCHED: set[int] = set()
"""Ids of processes whose signals a thread reads: this one's, or none."""


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """While nothing would be lost: each of the signals stops this process as Ctrl-C does, and a job of SLURM goes back into the queue."""
    noticed = threading.Event()

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        noticed.set()
        raise Stopped(f"stopped by {name_of(number)}", requeue=number != signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        with _watched(noticed, stop):
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


@contextmanager
def _watched(noticed: threading.Event, stop: Callable[..., NoReturn]) -> Iterator[None]:
    """Have a thread read the signals that arrive, and stop this process where its main thread cannot.

    Args:
        noticed: Set by the main thread's handler.
        stop: That handler; where another one has taken its place, it sees to the signal.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    _WATCHED.add(os.getpid())
    thread = threading.Thread(target=_watch, args=(reading, noticed, stop), name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        _WATCHED.discard(os.getpid())
        writing.close()
        thread.join()
        reading.close()


def _watch(reading: socket.socket, noticed: threading.Event, stop: Callable[..., NoReturn]) -> None:
    while arrived := reading.recv(64):
        for number in (one for one in arrived if one in SIGNALS):
            if signal.getsignal(number) is stop and not noticed.wait(_PATIENCE) and signal.getsignal(number) is stop:
                print(f"clinical-ie: stopped by {name_of(number)} while it waited; the same command goes on", file=sys.stderr, flush=True)
                if number != signal.SIGINT:
                    requeue_early()
                os._exit(Stopped.exit_code)


def _leave_to_parent() -> None:
    """In a process that was forked: its signals are none of the one that it comes from, whose thread reads what is written here."""
    if _WATCHED:
        _WATCHED.clear()
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_leave_to_parent)


def name_of(number: int) -> str:
    """A signal as users know it."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
