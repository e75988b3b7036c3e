"""A run's ``results.json`` as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinical_ie.reports.entry import RATIOS, Entry
from clinical_ie.reports.results import Results
from clinical_ie.scoring.counts import MODES, Counts, Kind


def show_run(results: Results, console: Console | None = None) -> None:
    """One table for each split, corpus, task and kind of annotation, and what the run cost."""
    console = console or Console()
    for split, corpora in results.splits.items():
        rows = [(corpus, task, entry) for corpus, tasks in corpora.items() for task, entry in tasks.items()]
        for corpus, task, entry in rows:
            head = f"{corpus}, {task}, {split}, {entry.rules}, {entry.documents} documents"
            _say_survival(entry, console)
            if entry.events is not None and entry.overall is not None:
                console.print(_event_table(head, entry.events, entry.overall))
            for kind in [kind for kind in entry.kinds if entry.scores[kind]["strict"].types]:
                title = head if kind == "entities" else f"{head}, {kind} {_setting(entry)}"
                console.print(_table(title, entry, kind))
                _say_beside(entry, kind, console)
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
    _say_mixture(cost.get("mixing", {}), console)


def _say_mixture(mixing: Mapping[str, Mapping[str, int]], console: Console) -> None:
    """What a run of several corpora or tasks was trained on."""
    total = sum(counts["trained_targets"] for counts in mixing.values())
    shares = [
        f"{source} {counts['trained_examples']:,} ({counts['trained_targets'] / max(1, total):.0%} of targets)"
        for source, counts in mixing.items()
    ]
    if len(shares) > 1:
        console.print(f"examples trained on: {', '.join(shares)}", highlight=False, markup=False)


def _setting(entry: Entry) -> str:
    return "on gold entities" if entry.relation_setting == "gold entities" else "end to end"


def _table(title: str, entry: Entry, kind: Kind) -> Table:
    table = Table(title=Text(title), title_justify="left")
    table.add_column("type")
    for name in ("P", "R", "strict F1", "lenient F1"):
        table.add_column(name, justify="right")
    table.add_column("gold", justify="right")
    strict, lenient = entry.scores[kind]["strict"], entry.scores[kind]["lenient"]
    for name, row in strict.types.items():
        table.add_row(Text(name), *_cells(row, lenient.types.get(name, Counts())))
    table.add_section()
    table.add_row("micro", *_cells(strict.micro, lenient.micro))
    if entry.intervals:
        ends = [entry.intervals[f"{kind}/{mode}"] for mode in MODES]
        table.add_row("95 % interval", "", "", *(f"{interval.low:.3f}-{interval.high:.3f}" for interval in ends), "")
    macro = strict.macro
    table.add_row("macro", *(f"{macro[name]:.3f}" for name in RATIOS), f"{lenient.macro['f1']:.3f}", "")
    return table


def _cells(strict: Counts, lenient: Counts) -> list[str]:
    ratios = (strict.precision, strict.recall, strict.f1, lenient.f1)
    return [*(f"{ratio:.3f}" for ratio in ratios), f"{strict.tp + strict.fn:,}"]


def _say_beside(entry: Entry, kind: Kind, console: Console) -> None:
    """What stands beside a score: what the test set can tell apart, strings without offsets, and what training has seen of them."""
    said = []
    if interval := entry.intervals.get(f"{kind}/strict"):
        said.append(f"{interval.method} interval over {interval.clusters:,} clusters")
    if visible := entry.smallest_visible_difference.get(f"{kind}/strict"):
        said.append(f"smallest visible difference {visible:.3f}")
    if kind in entry.strings:
        said.append(f"F1 of strings {entry.strings[kind].f1:.3f}")
    if kind == "entities" and entry.seen is not None and entry.unseen is not None:
        parts = (f"{found.recall:.3f} of {found.gold:,} {what}" for what, found in (("seen", entry.seen), ("unseen", entry.unseen)))
        said.append(f"recall {' and '.join(parts)} in training")
    if said:
        console.print("; ".join(said), highlight=False)


def _event_table(title: str, rows: Iterable[Mapping[str, Any]], overall: Counts) -> Table:
    """Rows of event rules, subtypes of an argument together."""
    table = Table(title=Text(title), title_justify="left")
    table.add_column("event")
    table.add_column("argument")
    for name in ("P", "R", "F1", "gold"):
        table.add_column(name, justify="right")
    sums: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        total = sums.setdefault((row["event"], row["argument"]), [0, 0, 0])
        for place, name in enumerate(("gold", "predicted", "tp")):
            total[place] += row[name]
    for (event, argument), (gold, predicted, tp) in sums.items():
        precision, recall = tp / predicted if predicted else 0.0, tp / gold if gold else 0.0
        f1 = 2 * tp / (gold + predicted) if gold + predicted else 0.0
        table.add_row(Text(event), Text(argument), f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", f"{gold:,}")
    table.add_section()
    cells = (f"{overall.precision:.3f}", f"{overall.recall:.3f}", f"{overall.f1:.3f}", f"{overall.tp + overall.fn:,}")
    table.add_row("overall", "", *cells)
    return table


def _say_survival(entry: Entry, console: Console) -> None:
    """The share of gold that comes back of gold outputs; more than that no model can learn."""
    survival = entry.survival
    if survival is None or entry.coverage is None:
        return
    causes = ", ".join(f"{count:,} {cause}" for cause, count in survival["causes"].items())
    ceiling = entry.coverage["recall_ceiling"]  # None under rules whose rows are no mentions or links
    console.print(
        f"gold that comes back: {survival['share']:.4f} of {survival['gold']:,} {survival['of']}"
        + (f" [yellow]({causes})[/]" if causes else "")
        + (f"; strict F1 can reach {2 * ceiling / (1 + ceiling):.3f}" if causes and ceiling is not None else ""),
        highlight=False,
    )


def _say_losses(entry: Entry, console: Console) -> None:
    coverage = entry.coverage
    if coverage is not None and coverage.get("unknown_words"):
        console.print(
            f"[yellow]{coverage['unknown_words']:,} of {coverage['words']:,} words are unknown to the tokenizer[/];"
            f" {coverage['mentions_with_unknown_words']:,} mentions hold one",
            highlight=False,
        )
    if left_out := entry.left_out_by_flat_view:
        console.print(f"[yellow]the flat view leaves out {sum(left_out.values())} overlapping gold mentions[/]", highlight=False)
    if outcomes := entry.outcomes:
        console.print(Text("outcomes of completions: " + ", ".join(f"{count:,} {name}" for name, count in outcomes.items())))
    if entry.missing:
        console.print(f"[bold yellow]{entry.missing} documents have no prediction[/]")
