"""A study's plan as a table and as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from clinical_ie.studies.estimate import Estimate
from clinical_ie.studies.plan import Run
from clinical_ie.studies.store import State, Store


def plan_data(runs: Sequence[Run], states: Mapping[str, State], costs: Mapping[str, Estimate], store: Store) -> dict[str, Any]:
    """Runs with what they depend on, their state and cost, and the sums over those that are not done."""
    rows = [
        {
            "key": run.key,
            "cells": run.cells,
            "chain": list(run.chain),
            "depends_on": run.begins_with.key if run.begins_with else None,
            "state": states[run.key],
            "message": store.failure(run.key),
            "absent_corpora": list(run.content.absent),
            "tokens": costs[run.key].tokens,
            "seconds": costs[run.key].seconds,
            "measured": costs[run.key].measured,
        }
        for run in runs
    ]
    left = [costs[run.key] for run in runs if states[run.key] != "done"]
    return {
        "runs": rows,
        "states": dict(sorted(Counter(states.values()).items())),
        "left": {
            "runs": len(left),
            "tokens": sum(cost.tokens or 0 for cost in left),
            "seconds": sum(cost.seconds or 0.0 for cost in left),
            "without_tokens": sum(cost.tokens is None for cost in left),
            "without_seconds": sum(cost.seconds is None for cost in left),
        },
    }


def plan_table(data: Mapping[str, Any]) -> Table:
    """One row for each run; a number in front of it is what others depend on."""
    table = Table(title_justify="left")
    for name in ("run", "for", "after", "state", "tokens", "seconds"):
        table.add_column(name, justify="left" if name in ("for", "state") else "right")
    numbers = {row["key"]: str(number) for number, row in enumerate(data["runs"], 1)}
    for row in data["runs"]:
        absent = f", no data: {', '.join(row['absent_corpora'])}" if row["absent_corpora"] else ""
        table.add_row(
            numbers[row["key"]],
            Text("\n".join(row["cells"])),
            numbers.get(row["depends_on"], ""),
            Text(row["state"] + absent + (f"\n{row['message']}" if row["message"] else "")),
            _number(row["tokens"], row["measured"]),
            _number(row["seconds"], row["measured"]),
        )
    return table


def plan_summary(data: Mapping[str, Any]) -> str:
    """States and what is left, in a line."""
    left = data["left"]
    states = ", ".join(f"{count} {state}" for state, count in data["states"].items())
    unknown = [f"{left[f'without_{what}']} runs without an estimate of {what}" for what in ("tokens", "seconds") if left[f"without_{what}"]]
    rest = f"left: {left['tokens']:,} tokens, {left['seconds'] / 3600:.1f} h of training" + (f" ({'; '.join(unknown)})" if unknown else "")
    return f"{len(data['runs'])} runs: {states}; {rest}; ~ is steps times the batch budget, the others were measured"


def _number(value: float | None, measured: bool) -> str:
    return "?" if value is None else f"{'' if measured else '~'}{value:,.0f}"
