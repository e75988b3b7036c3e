"""What `clinical-ie doctor` found: each with how bad it is and what to do about it, as a table or as lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from clinical_ie.errors import ClinicalIEError

Level = Literal["ok", "warning", "problem"]
_COLOURS: dict[Level, str] = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def gigabytes(value: float) -> str:
    """Bytes as people read them.

    Example:
        >>> gigabytes(16.06e9), gigabytes(2.5e6)
        ('16.1 GB', '2.5 MB')
    """
    return f"{value / 1e9:,.1f} GB" if value >= 1e8 else f"{value / 1e6:,.1f} MB"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        level: A problem stops a run or spoils it; a warning may be meant so.
        subject: What was looked at, in a word or two.
        text: How it is.
        remedy: What to do about it; empty where nothing is to be done.
    """

    level: Level
    subject: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.level:<8} {self.subject}: {self.text}{remedy}"


class Report:
    """Findings in the order in which they were made."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def add(self, findings: Iterable[Finding]) -> None:
        """Add what a check found."""
        self.findings.extend(findings)

    @contextmanager
    def checking(self, subject: str) -> Iterator[None]:
        """Take an error of ours for a problem of this subject: its message says what was expected, and the remedy."""
        try:
            yield
        except ClinicalIEError as error:
            self.findings.append(Finding("problem", subject, str(error)))

    @property
    def exit_code(self) -> int:
        """0, also with warnings; 2 where a problem stands."""
        return 2 if any(finding.level == "problem" for finding in self.findings) else 0

    def show(self) -> None:
        """Print a table on a terminal, else a line for each finding, which `grep` and a job's log can read."""
        count = {level: sum(finding.level == level for finding in self.findings) for level in _COLOURS}
        summary = f"{count['problem']} problems, {count['warning']} warnings, {count['ok']} fine"
        if not sys.stdout.isatty():
            for finding in self.findings:
                print(finding)
            print(summary, flush=True)
            return
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(show_lines=True)
        for name in ("", "what", "how it is", "what to do"):
            table.add_column(name, overflow="fold")
        for finding in self.findings:
            colour = _COLOURS[finding.level]
            table.add_row(f"[{colour}]{finding.level}[/]", escape(finding.subject), escape(finding.text), escape(finding.remedy))
        console = Console()
        console.print(table)
        console.print(summary, highlight=False)
