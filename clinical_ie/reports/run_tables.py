"""A run's ``results.json`` as tables on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinical_ie.reports.results import Results
from clinical_ie.reports.score_rows import kinds_of


def show_run(results: Results, console: Console | None = None) -> None:
    """One table for each split, corpus, task and kind of annotation, and what the run cost."""
    console = console or Console()
    for split, corpora in results.splits.items():
        rows = [(corpus, task, entry) for corpus, tasks in corpora.items() for task, entry in tasks.items()]
        for corpus, task, entry in rows:
            head = f"{corpus}, {task}, {split}, {entry['rules']}, {entry['documents']} documents"
            if "events" in entry:
                console.print(_event_table(head, entry))
            for kind in [kind for kind in kinds_of(entry) if entry[kind]["strict"]["types"]]:
                title = head if kind == "entities" else f"{head}, relations {_setting(entry)}"
                console.print(_table(title, entry, kind))
            _say_losses(entry, console)
    cost = results.run
    if "epochs" in cost:
        speed = cost["subwords_per_second"] or 0
        console.print(
            f"{cost['epochs']} epochs, {cost['steps']} steps, {cost['seconds']:.0f} s; {speed:,.0f} real sub-words/s in training;"
            f" {cost['parameters'] / 1e6:.1f} M parameters, {100 * cost['trainable_parameters'] / cost['parameters']:.2f} % trained;"
            f" {cost['precision']}; seed {cost['seed']}",
            highlight=False,
        )


def _setting(entry: dict[str, Any]) -> str:
    return "on gold entities" if entry["relation_setting"] == "gold entities" else "end to end"


def _table(title: str, entry: dict[str, Any], kind: str) -> Table:
    table = Table(title=Text(title), title_justify="left")
    table.add_column("type")
    for name in ("P", "R", "strict F1", "lenient F1"):
        table.add_column(name, justify="right")
    table.add_column("gold", justify="right")
    strict, lenient = entry[kind]["strict"], entry[kind]["lenient"]
    for name, row in strict["types"].items():
        other = lenient["types"].get(name, {"f1": 0.0})
        gold = row["tp"] + row["fn"]
        cells = (f"{row['precision']:.3f}", f"{row['recall']:.3f}", f"{row['f1']:.3f}", f"{other['f1']:.3f}", f"{gold:,}")
        table.add_row(Text(name), *cells)
    table.add_section()
    micro = strict["micro"]
    scores = [f"{micro[name]:.3f}" for name in ("precision", "recall", "f1")]
    table.add_row("micro", *scores, f"{lenient['micro']['f1']:.3f}", f"{micro['tp'] + micro['fn']:,}")
    if entry["intervals"]:
        ends = [entry["intervals"][f"{kind}/{mode}"] for mode in ("strict", "lenient")]
        table.add_row("95 % interval", "", "", *(f"{interval['low']:.3f}-{interval['high']:.3f}" for interval in ends), "")
    macro = strict["macro"]
    cells = (f"{macro['precision']:.3f}", f"{macro['recall']:.3f}", f"{macro['f1']:.3f}", f"{lenient['macro']['f1']:.3f}", "")
    table.add_row("macro", *cells)
    return table


def _event_table(title: str, entry: dict[str, Any]) -> Table:
    """Rows of event rules, subtypes of an argument together."""
    table = Table(title=Text(title), title_justify="left")
    table.add_column("event")
    table.add_column("argument")
    for name in ("P", "R", "F1", "gold"):
        table.add_column(name, justify="right")
    sums: dict[tuple[str, str], list[int]] = {}
    for row in entry["events"]:
        total = sums.setdefault((row["event"], row["argument"]), [0, 0, 0])
        for place, name in enumerate(("gold", "predicted", "tp")):
            total[place] += row[name]
    for (event, argument), (gold, predicted, tp) in sums.items():
        precision, recall = tp / predicted if predicted else 0.0, tp / gold if gold else 0.0
        f1 = 2 * tp / (gold + predicted) if gold + predicted else 0.0
        table.add_row(Text(event), Text(argument), f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", f"{gold:,}")
    table.add_section()
    whole = entry["overall"]
    cells = (f"{whole['precision']:.3f}", f"{whole['recall']:.3f}", f"{whole['f1']:.3f}", f"{whole['tp'] + whole['fn']:,}")
    table.add_row("overall", "", *cells)
    return table


def _say_losses(entry: dict[str, Any], console: Console) -> None:
    coverage = entry.get("coverage")
    if coverage is not None and coverage["unrepresentable"]:
        lost = coverage["unrepresentable"]
        reasons = ", ".join(f"{count} {reason}" for reason, count in lost.items())
        ceiling = coverage["recall_ceiling"]  # None under rules whose rows are no mentions or links
        console.print(
            f"[yellow]{sum(lost.values())} of {coverage['gold']} gold {coverage['of']} cannot be expressed[/] ({reasons})"
            + (f"; strict recall can reach {ceiling:.3f}" if ceiling is not None else ""),
            highlight=False,
        )
    if coverage is not None and coverage.get("unknown_words"):
        console.print(
            f"[yellow]{coverage['unknown_words']:,} of {coverage['words']:,} words are unknown to the tokenizer[/];"
            f" {coverage['mentions_with_unknown_words']:,} mentions hold one",
            highlight=False,
        )
    if left_out := entry.get("left_out_by_flat_view"):
        console.print(f"[yellow]the flat view leaves out {sum(left_out.values())} overlapping gold mentions[/]", highlight=False)
    if outcomes := entry.get("outcomes"):
        console.print(Text("outcomes of completions: " + ", ".join(f"{count:,} {name}" for name, count in outcomes.items())))
    if entry["missing"]:
        console.print(f"[bold yellow]{entry['missing']} documents have no prediction[/]")
