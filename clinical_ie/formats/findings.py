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

from clinical_ie.errors import FileFormatError


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
    """

    strict: bool = True
    items: list[Finding] = field(default_factory=list)
    _seen: set[Finding] = field(default_factory=set, repr=False)

    def error(self, path: Path | str, line: int, code: str, problem: str, *, expected: str = "", remedy: str = "") -> None:
        """Note an error.

        Raises:
            FileFormatError: In strict mode.
        """
        failure = FileFormatError(path, line, problem, expected=expected, remedy=remedy)
        if self.strict:
            raise failure
        message = "; ".join(part for part in (problem, f"expected {expected}" if expected else "", remedy) if part)
        self._add(Finding(str(path), line, code, message, error=True))

    def warning(self, path: Path | str, line: int, code: str, message: str) -> None:
        """Note a warning."""
        self._add(Finding(str(path), line, code, message, error=False))

    def _add(self, finding: Finding) -> None:
        """Keep a finding once, however often its file is read."""
        if finding not in self._seen:
            self._seen.add(finding)
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
