"""What a reader found wrong, as a list that can be counted and shown.

Two kinds: an *error* breaks the format and stops a strict reader, a lenient one mends it; a
*warning* leaves no doubt about the meaning (the text file wins over a damaged copy of the
covered text) and never stops anyone. Both are always counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clinical_ie.errors import FileFormatError, printable


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem at one place; `message` never holds note text."""

    path: str
    line: int
    code: str
    message: str
    error: bool

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.message} [{self.code}]"


@dataclass(slots=True)
class Findings:
    """Collects findings while files are read.

    Args:
        strict: Raise on the first error instead of mending and counting it.
        as_errors: Codes of warnings that count as errors here.

    `losses` counts what a written format could not hold, by kind of annotation.
    """

    strict: bool = True
    as_errors: frozenset[str] = frozenset()
    items: list[Finding] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)
    _kept: Counter[Finding] = field(default_factory=Counter, repr=False)
    _met: Counter[Finding] = field(default_factory=Counter, repr=False)

    def begin(self) -> None:
        """Start to read a folder or a file, maybe not for the first time.

        A corpus without official splits is read once for each of them. Findings that an earlier reading noted are not
        counted again, while equal findings of one reading (two comments on one annotation) are counted each.
        """
        self._met.clear()

    def clear(self) -> None:
        """Forget all findings, for readers that tell them as they come."""
        self.items.clear()
        self._kept.clear()
        self._met.clear()

    def error(self, path: Path | str, line: int, code: str, problem: str, *, expected: str = "", remedy: str = "") -> None:
        """Note an error.

        Raises:
            FileFormatError: In strict mode.
        """
        self.failure(FileFormatError(path, line, problem, expected=expected, remedy=remedy), code)

    def failure(self, failure: FileFormatError, code: str) -> None:
        """Note an error that was raised already, such as that of a file that cannot be read.

        Raises:
            FileFormatError: In strict mode.
        """
        if self.strict:
            raise failure
        self._add(Finding(failure.path, failure.line, code, failure.details, error=True))

    def warning(self, path: Path | str, line: int, code: str, message: str, *, remedy: str = "") -> None:
        """Note a warning; the remedy is shown where this code counts as an error.

        Raises:
            FileFormatError: The code is one of `as_errors`, in strict mode.
        """
        if code in self.as_errors:
            self.error(path, line, code, message, remedy=remedy)
        else:
            self._add(Finding(printable(path), line, code, message, error=False))

    def _add(self, finding: Finding) -> None:
        self._met[finding] += 1
        if self._met[finding] > self._kept[finding]:
            self._kept[finding] += 1
            self.items.append(finding)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    @property
    def errors(self) -> list[Finding]:
        """Findings that a strict reader would have stopped at."""
        return [finding for finding in self.items if finding.error]

    @property
    def warnings(self) -> list[Finding]:
        """Findings that stop nobody."""
        return [finding for finding in self.items if not finding.error]

    def counts(self) -> Counter[str]:
        """Findings per code."""
        return Counter(finding.code for finding in self.items)
