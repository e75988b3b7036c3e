"""The exceptions of the package.

::

    ClinicalIEError
    ├── InputError             what the user gave is wrong (exit code 2)
    │   ├── FileFormatError    a file breaks its format: names file, line, expectation, remedy
    │   ├── DocumentError      annotations that contradict their text or each other
    │   └── SettingError       a setting, a name or a combination that cannot work
    └── RunError               a run cannot go on although its input was fine (exit code 1)

    Stopped                    a signal ended a command before it was done (exit code 75)

No message holds note text: document ids, offsets and line numbers say where to look.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path


class ClinicalIEError(Exception):
    """Anything that this package raises on purpose."""


class InputError(ClinicalIEError):
    """What the user gave is wrong; the command line answers with exit code 2."""


class FileFormatError(InputError):
    """A file that breaks its format.

    Args:
        path: The file.
        line: Its line, from 1; 0 where no single line is at fault.
        problem: What was found (never note text).
        expected: What should have stood there.
        remedy: What the user can do about it.
    """

    def __init__(self, path: Path | str, line: int, problem: str, *, expected: str = "", remedy: str = "") -> None:
        self.path, self.line, self.problem = printable(path), line, problem
        self.details = "; ".join(part for part in (problem, f"expected {expected}" if expected else "", remedy) if part)
        where = f"{self.path}:{line}" if line else self.path
        super().__init__(f"{where}: {self.details}")


class DocumentError(InputError):
    """Annotations that contradict their text or each other."""


class SettingError(InputError):
    """A setting, a name or a combination of them that cannot work."""


class RunError(ClinicalIEError):
    """A run cannot go on although its input was fine."""


class Stopped(KeyboardInterrupt):
    """A signal ended a command where it can be gone on with; as with Ctrl-C, nothing on the way may take that for a failure.

    Args:
        reason: What stopped it, and where.
        requeue: Whether a job of SLURM is still to go back into the queue.
    """

    def __init__(self, reason: str, *, requeue: bool = False) -> None:
        super().__init__(reason)
        self.requeue = requeue

    exit_code = 75
    """``EX_TEMPFAIL`` of sysexits.h, "try again": neither a shell, nor Python, nor SLURM ends with it by itself."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that proposes the nearest of the known names, or nothing where none is near.

    Case doesn't count, and neither does the difference between ``-`` and ``_``.

    Args:
        name: What was given.
        known: The names that would have been right.

    Returns:
        ``"; did you mean 'phee'?"``, or an empty string.
    """

    def plain(word: str) -> str:
        return word.casefold().replace("-", "_")

    by_plain = {plain(word): word for word in known}
    nearest = difflib.get_close_matches(plain(name[:100]), by_plain, n=1)
    return f"; did you mean {by_plain[nearest[0]]!r}?" if nearest else ""


def did_you_mean_path(path: Path | str) -> str:
    """Likewise for a path that does not exist: the nearest name where it goes wrong, if what is behind it is there.

    Returns:
        ``"; did you mean 'runs/demo/config.yaml'?"``, or an empty string.
    """
    good = wrong = Path(path).expanduser()
    while not good.exists() and good != good.parent:
        wrong, good = good, good.parent
    rest = Path(path).expanduser().relative_to(wrong)
    try:
        beside = [entry.name for entry in islice(good.iterdir(), 10_000)] if good.is_dir() else []
    except OSError:
        beside = []
    known = [printable(good / name / rest) for name in difflib.get_close_matches(wrong.name, beside) if (good / name / rest).exists()]
    return f"; did you mean {known[0]!r}?" if known and wrong != good else ""


def printable(name: Path | str) -> str:
    r"""A path or an id that can stand in a message: bytes that are not UTF-8 and control characters are escaped.

    Example:
        >>> print(printable("note\udce9.txt"))
        note\udce9.txt
    """
    text = os.fspath(name)
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


_LONGEST_ID = 64


def shown(name: str) -> str:
    """A name or id from a file as a message may show it: only where it cannot be note text.

    Where fields of a file are swapped, an id may be a word or a sentence of a note.

    Returns:
        The name, if it holds a digit, at most 64 characters, and neither white space nor control characters, or is of one
        character; else its length.

    Example:
        >>> shown("ward/note1"), shown("denies chest pain")
        ('ward/note1', '<17 characters>')
    """
    whole = len(name) <= _LONGEST_ID and name.isprintable() and not any(sign.isspace() for sign in name)
    return name if whole and (len(name) == 1 or any(sign.isdigit() for sign in name)) else f"<{len(name)} characters>"
