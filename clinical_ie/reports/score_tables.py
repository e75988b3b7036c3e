"""Scores as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from clinical_ie.formats.findings import Findings
from clinical_ie.scoring.counts import MODES, Counts, Kind, Mode, total
from clinical_ie.scoring.score import Score


def show(
    score: Score,
    findings: Mapping[str, Findings] | None = None,
    *,
    other: Score | None = None,
    samples: int = 0,
    names: tuple[str, str | None] = ("", None),
    console: Console | None = None,
) -> None:
    """Print what was scored, what was not, and all figures.

    `findings` are those of each side: gold, predicted, compare.
    """
    console = console or Console()
    averages = "micro average over all rows" if score.macro_over == "rows" else f"macro averages over {score.macro_over}"
    console.print(f"{len(score.documents)} documents under {score.rules} ({averages})")
    _show_files(score, console)
    for side, found in (findings or {}).items():
        for code, count in sorted(found.counts().items()):
            console.print(f"[yellow]{count} x {code}[/] while reading {side}", highlight=False)
    _show_empty_sides(score, console)
    if score.macro_over == "rows":
        console.print(_event_table(score))
        return
    for kind in score.kinds:
        if any(score.types(kind, mode) for mode in MODES):
            console.print(_table(score, kind, samples))
            if other is not None:
                _compare(score, other, kind, names, console)


def _show_files(score: Score, console: Console) -> None:
    counted = score.files != "intersection"
    if score.missing:
        what = "counted as missed" if counted else "NOT SCORED, as the official script does, which flatters the system"
        console.print(f"[bold yellow]{len(score.missing)} gold documents have no prediction: {what}[/] (first: {escape(score.missing[0])})")
    if score.extra:
        what = "all they hold counted as wrong" if counted else "not scored"
        console.print(f"[bold yellow]{len(score.extra)} predicted documents have no gold: {what}[/] (first: {escape(score.extra[0])})")


def _show_empty_sides(score: Score, console: Console) -> None:
    """Say where zeros come from: a side without anything that the rules count."""
    if score.macro_over == "rows":
        counts, what = score.events_overall(), f"events, all that {score.rules} counts (strict-one-to-one counts mentions and relations)"
    else:
        counts = total(score.micro(kind, "strict") for kind in score.kinds)
        what = "mentions and no relations" + (" (it does not count arguments of events)" if score.rules == "n2c2-2018" else "")
    empty = [side for side, number in (("gold", counts.tp + counts.fn), ("predicted", counts.tp + counts.fp)) if not number]
    if score.documents and empty:
        console.print(f"[bold yellow]the {' and the '.join(empty)} documents have no {what}[/]")


def _table(score: Score, kind: Kind, samples: int) -> Table:
    """Figures of one kind; wide enough for a terminal of 80 columns without cutting a number."""
    title = kind if kind == "entities" else f"{kind} ({'on gold entities' if score.setting == 'gold entities' else 'end to end'})"
    table = Table(title=title, title_justify="left", padding=(0, 0), pad_edge=False)
    table.add_column("type", overflow="fold", ratio=1)
    for mode in MODES:
        for name in ("P", "R", "F1"):
            table.add_column(f"{mode}\n{name}" if name == "P" else f"\n{name}", justify="right", no_wrap=True)
    for name in ("tp", "fp", "fn"):
        table.add_column(f"strict\n{name}" if name == "tp" else f"\n{name}", justify="right", no_wrap=True)
    types = {mode: score.types(kind, mode) for mode in MODES}
    for name in sorted(types["strict"].keys() | types["lenient"].keys()):
        _row(table, name, {mode: types[mode].get(name, Counts()) for mode in MODES})
    table.add_section()
    _row(table, "micro", {mode: score.micro(kind, mode) for mode in MODES})
    macro = {mode: score.macro(kind, mode) for mode in MODES}
    table.add_row("macro", *(f"{macro[mode][name]:.4f}" for mode in MODES for name in ("precision", "recall", "f1")), "", "", "")
    if samples:
        from clinical_ie.scoring.clusters import Clustered
        from clinical_ie.scoring.intervals import interval

        cells = []
        for mode in MODES:
            found = interval(Clustered.of([score.rows(kind, mode)]), samples=samples)
            cells += ["", "", f"{found.low:.4f}\n{found.high:.4f}"]
        table.add_row("95 % of F1", *cells, "", "", "")
    return table


def _row(table: Table, name: str, counts: dict[Mode, Counts]) -> None:
    ratios = [f"{ratio:.4f}" for mode in MODES for ratio in (counts[mode].precision, counts[mode].recall, counts[mode].f1)]
    strict = counts["strict"]
    table.add_row(Text(name), *ratios, str(strict.tp), str(strict.fp), str(strict.fn))


def _compare(score: Score, other: Score, kind: Kind, names: tuple[str, str | None], console: Console) -> None:
    from clinical_ie.scoring.clusters import Clustered
    from clinical_ie.scoring.intervals import interval
    from clinical_ie.scoring.paired import approximate_randomisation, smallest_visible_difference

    table = Table(title=Text(f"{kind}: {names[0]} against {names[1]}"), title_justify="left")
    for name in ("mode", "F1", "other F1", "difference", "95 % of it", "p"):
        table.add_column(name, justify="left" if name == "mode" else "right")
    compared, visible = 0, None
    for mode in MODES:
        one, two = (Clustered.of([rows]) for rows in score.pair(other, kind, mode))
        compared = one.clusters
        found, p = interval(one, two), approximate_randomisation(one, two)
        visible = smallest_visible_difference(one, two) if mode == "strict" else visible
        ends = f"{found.low:+.4f} {found.high:+.4f}"
        table.add_row(mode, f"{one.f1:.4f}", f"{two.f1:.4f}", f"{one.f1 - two.f1:+.4f}", ends, f"{p:.4f}")
    console.print(table)
    console.print(
        f"over {compared} documents; 95 % of it: {found.method} interval of the paired difference, {found.samples:,} samples;"
        " p: paired approximate randomisation, 10,000 exchanges"
        + (f"; smallest visible difference (80 % power, strict): {visible:.4f}" if visible is not None else ""),
        highlight=False,
    )
    scored = {document.id for each in (score, other) for document in each.documents}
    if left := len(scored) - compared:
        console.print(f"[bold yellow]{left} documents that only one of the systems is scored on are not compared[/]")


def _event_table(score: Score) -> Table:
    table = Table(title="events", title_justify="left", padding=(0, 0), pad_edge=False)
    for name in ("event", "argument", "subtype"):
        table.add_column(name, overflow="fold", ratio=1)
    for name in ("gold", "predicted", "tp", "P", "R", "F1"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [(row["event"], row["argument"], row["subtype"], row["gold"], row["predicted"], row["tp"]) for row in score.events()]
    for event, argument, subtype, gold, predicted, tp in rows:
        counts = Counts(tp, predicted - tp, gold - tp)
        ratios = (f"{counts.precision:.4f}", f"{counts.recall:.4f}", f"{counts.f1:.4f}")
        table.add_row(Text(event), Text(argument), Text(subtype), str(gold), str(predicted), str(tp), *ratios)
    overall = score.events_overall()
    table.add_section()
    ratios = (f"{overall.precision:.4f}", f"{overall.recall:.4f}", f"{overall.f1:.4f}")
    sums = (str(overall.tp + overall.fn), str(overall.tp + overall.fp), str(overall.tp))
    table.add_row("OVERALL", "", "", *sums, *ratios)
    return table
