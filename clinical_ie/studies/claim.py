"""Who is at work on a run, on whichever machine.

The kernel's lock (`flock`) ends with the processes that hold it, however they do, but on some network file systems it holds on one machine
only, and on some not at all. So beside it stands a note of who holds it, made by an exclusive creation, which is atomic everywhere, and
touched as long as its owner lives. It needs one clock, that of the file system, and a root that all machines see.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

BEAT = 20.0
"""Seconds between two touches of a note."""
FRESH = 180.0
"""Seconds after which an untouched note of another machine is one that its owner has left; NFS shows times that are up to 60 s old."""


@cache
def machine() -> str:
    """This machine until it is started again: those that share it share the kernel's locks."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def is_taken(path: Path) -> bool:
    """Whether somebody holds the lock of that file; nothing is changed."""
    if not path.exists():
        return False
    with contextlib.closing(_File(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)) as file:
        locked = file.lock()
        if locked is False:
            return True
        note = _note_of(path)
        return note.exists() and not _is_left(note, _read(note), locked=bool(locked))


@contextlib.contextmanager
def taken(path: Path) -> Iterator[int | None]:
    """Hold the lock of that file: gives a file descriptor, or None where somebody else holds it.

    A process that inherits the descriptor holds it on, on this machine, when this one is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(_File(path, os.O_CREAT | os.O_RDWR)) as file:
        locked = file.lock()
        own = {"machine": machine(), "host": socket.gethostname(), "pid": os.getpid(), **_start(), "token": uuid.uuid4().hex}
        if locked is False or not _take(_note_of(path), own, locked=bool(locked)):
            yield None
            return
        with _touching(_note_of(path), own):
            yield file.descriptor


class _File:
    """An open file that can be locked."""

    def __init__(self, path: Path, flags: int) -> None:
        self.descriptor = os.open(path, flags, 0o666)

    def lock(self) -> bool | None:
        """Whether it is ours now; None on a file system without locks."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True

    def close(self) -> None:
        os.close(self.descriptor)


def _take(note: Path, own: dict[str, Any], *, locked: bool) -> bool:
    """Make the note ours, unless it is that of a living owner."""
    for _ in range(3):
        with contextlib.suppress(FileExistsError):
            with note.open("x", encoding="utf-8") as file:
                json.dump(own, file)
            return True
        other = _read(note)
        if not _is_left(note, other, locked=locked):
            return False
        aside = note.with_name(f"{note.name}.{own['token']}")
        try:
            note.rename(aside)
        except FileNotFoundError:
            continue
        try:
            if _read(aside) != other:  # somebody else was faster, and this is theirs
                with contextlib.suppress(FileExistsError):
                    os.link(aside, note)
                return False
        finally:
            aside.unlink(missing_ok=True)
    return False


@contextlib.contextmanager
def _touching(note: Path, own: dict[str, Any]) -> Iterator[None]:
    """Touch the note from time to time; in the end remove it."""
    over = threading.Event()

    def touch() -> None:
        while not over.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(note)

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if _read(note) == own:
            note.unlink(missing_ok=True)


def _is_left(note: Path, other: dict[str, Any] | None, *, locked: bool) -> bool:
    """Whether the owner of a note has ended without removing it.

    Args:
        note: The note.
        other: What it says; None where it is just being written, or gone.
        locked: Whether the kernel's lock is ours, so that nobody on this machine has it.
    """
    if other is not None and other.get("machine") == machine():
        return locked or not _lives(other.get("pid"))
    if other is not None and _is_earlier(other):
        return True
    return _age(note) > FRESH


def _is_earlier(other: dict[str, Any]) -> bool:
    """Whether a note is of this very job, before it was queued again: SLURM has ended all of that start.

    The job alone does not say so: steps of one start run side by side, on several nodes. Notes that say no start (of versions before they
    were counted) may be of ours, and are waited for.
    """
    start, theirs = _start(), other.get("restarts")
    if not start["job"] or any(other.get(name) != start[name] for name in ("cluster", "job")):
        return False
    return isinstance(theirs, int) and theirs < start["restarts"]


def _age(note: Path) -> float:
    """Seconds since it was touched, by the clock of the file system where that can be asked; 0 where it is gone."""
    clock, now = note.with_name(f".clock.{uuid.uuid4().hex}"), time.time()
    with contextlib.suppress(OSError):  # who may only read the folder takes this machine's clock
        clock.touch()
        now = clock.stat().st_mtime
        clock.unlink()
    try:
        return now - note.stat().st_mtime
    except OSError:
        return 0.0


def _lives(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _read(note: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.owner")


def _start() -> dict[str, Any]:
    """Which start of which job this is, and which step of it; empty outside of SLURM. The ids of jobs are those of one cluster."""
    names = {"cluster": "SLURM_CLUSTER_NAME", "job": "SLURM_JOB_ID", "step": "SLURM_STEP_ID"}
    restarts = os.environ.get("SLURM_RESTART_COUNT", "")
    found = {key: os.environ.get(name, "") for key, name in names.items()}
    return {**found, "restarts": int(restarts) if restarts.isdecimal() else 0}
