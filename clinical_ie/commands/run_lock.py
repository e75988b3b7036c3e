"""One command at a time trains in a run's folder: two would write into each other's checkpoints."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from clinical_ie.errors import SettingError


@contextlib.contextmanager
def training_in(folder: Path, rank: int) -> Iterator[None]:
    """Hold a run's folder for one of the processes that train there; the system lets go of it when that process ends, however it does.

    Every process has a lock of its own, so that all of a second command are refused. Where the file system knows no locks, nobody is.

    Raises:
        SettingError: The process of that rank of another command holds it.
    """
    path = folder / f".rank{rank}.lock"
    folder.mkdir(parents=True, exist_ok=True)
    file = _locked(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _locked(path: Path) -> IO[str]:
    while True:
        file = path.open("w", encoding="ascii")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.close()
            raise SettingError(
                f"{path.parent}: another command is training there; wait for its end, or give another --run_dir (where none is, as after a"
                f" machine has died, remove {path})"
            ) from None
        except OSError:  # a file system without locks
            return file
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()  # who held it has ended, and removed it, in the meantime
