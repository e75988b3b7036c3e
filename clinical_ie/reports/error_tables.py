"""Errors as tables on a terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, fields
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinical_ie.reports.error_counts import ErrorCounts, ErrorTable
from clinical_ie.reports.outcomes import OutcomeRow


def show_errors(counts: ErrorCounts, console: Console | None = None) -> None:
    """Print all tables."""
    console = console or Console()
    console.print(f"{counts.documents:,} documents")
    if counts.missing:
        console.print(f"[bold yellow]{counts.missing:,} gold documents have no prediction: all they hold is missed[/]")
    if counts.extra:
        console.print(f"[bold yellow]{counts.extra:,} predicted documents have no gold: all they hold is spurious[/]")
    if counts.links_apart:
        console.print(f"[yellow]{counts.links_apart:,} gold links are not compared: the predictions hold mentions alone[/]")
    if counts.attributes_apart:
        console.print(f"[yellow]{counts.attributes_apart:,} gold attributes are not compared: the predictions hold none[/]")
    for table in counts.tables():
        console.print()
        console.print(_table(table))
        if table.note:
            console.print(Text(table.note, style="dim"))


_SHORT = {"boundary and type": "both", "boundary": "bound.", "spurious": "spur.", "precision": "P", "recall": "R"}
"""Of columns, so that a table of errors fits a terminal of 80."""


def _table(table: ErrorTable) -> Table:
    shown = Table(title=Text(table.title, style="bold"), title_justify="left", box=None, padding=(0, 1, 0, 0))
    numbers = [all(not isinstance(row[place], str) or _is_ratio(row[place]) for row in table.rows) for place in range(len(table.columns))]
    for name, number in zip(table.columns, numbers, strict=True):
        shown.add_column(_SHORT.get(name, name), justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in table.rows:
        cells = (Text(f"{cell:,}" if isinstance(cell, int) else cell) for cell in row)
        shown.add_row(*cells, style="bold" if row[0] == "all" else "")
    return shown


def _is_ratio(cell: object) -> bool:
    return (isinstance(cell, str) and cell.replace(".", "", 1).isdecimal()) or not cell


def errors_json(counts: ErrorCounts) -> dict[str, Any]:
    """All tables as plain values; a row is an object with the table's columns as names."""
    tables = {table.title: [dict(zip(table.columns, row, strict=True)) for row in table.rows] for table in counts.tables()}
    apart = {"links_apart": counts.links_apart, "attributes_apart": counts.attributes_apart}
    return {"documents": counts.documents, "missing": counts.missing, "extra": counts.extra, **apart, "tables": tables}


def write_rows(rows: Iterable[OutcomeRow], file: IO[str], *, texts: bool) -> None:
    """One line for every mention and link, right or wrong, under a line of names."""
    names = [field.name for field in fields(OutcomeRow)]
    last = len(names) if texts else len(names) - 1  # the words of a mention come last
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names[:last])
    for row in rows:
        writer.writerow(["" if value is None else value for value in astuple(row)[:last]])
