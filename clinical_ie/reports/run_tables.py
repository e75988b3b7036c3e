"""A run's ``results.json`` as tables on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from clinical_ie.reports.results import Results


def show_run(results: Results, console: Console | None = None) -> None:
    """One table for each split and corpus, and what the run cost."""
    console = console or Console()
    for split, corpora in results.splits.items():
        for corpus, entry in corpora.items():
            if "entities" in entry:
                console.print(_table(f"{corpus}, {split}, {entry['rules']}, {entry['documents']} documents", entry))
                _say_losses(entry, console)
    cost = results.run
    if "epochs" in cost:
        speed = cost["subwords_per_second"] or 0
        console.print(
            f"{cost['epochs']} epochs, {cost['steps']} steps, {cost['seconds']:.0f} s; {speed:,.0f} real sub-words/s in training;"
            f" {cost['parameters'] / 1e6:.1f} M parameters; {cost['precision']}; seed {cost['seed']}",
            highlight=False,
        )


def _table(title: str, entry: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("type")
    for name in ("P", "R", "strict F1", "lenient F1"):
        table.add_column(name, justify="right")
    table.add_column("gold", justify="right")
    strict, lenient = entry["entities"]["strict"], entry["entities"]["lenient"]
    for name, row in strict["types"].items():
        other = lenient["types"].get(name, {"f1": 0.0})
        gold = row["tp"] + row["fn"]
        table.add_row(name, f"{row['precision']:.3f}", f"{row['recall']:.3f}", f"{row['f1']:.3f}", f"{other['f1']:.3f}", f"{gold:,}")
    table.add_section()
    micro = strict["micro"]
    scores = [f"{micro[name]:.3f}" for name in ("precision", "recall", "f1")]
    table.add_row("micro", *scores, f"{lenient['micro']['f1']:.3f}", f"{micro['tp'] + micro['fn']:,}")
    ends = [entry["intervals"][f"entities/{mode}"] for mode in ("strict", "lenient")]
    table.add_row("95 % interval", "", "", *(f"{interval['low']:.3f}-{interval['high']:.3f}" for interval in ends), "")
    macro = strict["macro"]
    cells = (f"{macro['precision']:.3f}", f"{macro['recall']:.3f}", f"{macro['f1']:.3f}", f"{lenient['macro']['f1']:.3f}")
    table.add_row("macro", *cells, "")
    return table


def _say_losses(entry: dict[str, Any], console: Console) -> None:
    coverage = entry["coverage"]
    lost = coverage["unrepresentable"]
    if lost:
        reasons = ", ".join(f"{count} {reason}" for reason, count in lost.items())
        console.print(
            f"[yellow]{sum(lost.values())} of {coverage['mentions']} gold mentions cannot be expressed as tags[/] ({reasons});"
            f" recall can reach {coverage['recall_ceiling']:.3f}",
            highlight=False,
        )
    if left_out := entry.get("left_out_by_flat_view"):
        console.print(f"[yellow]the flat view leaves out {sum(left_out.values())} overlapping gold mentions[/]", highlight=False)
    if entry["missing"]:
        console.print(f"[bold yellow]{entry['missing']} documents have no prediction[/]")
