"""A study's rows as tables of words and numbers, for every form that a report has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from clinical_ie.reports.study_rows import SIGNIFICANT, Difference, Row, StudyCell, varying
from clinical_ie.scoring.paired import better_on_at_least

NOTHING = "-"
MISSING = "missing"
OUTCOMES = {
    "unparsed": ("malformed lines", "mentions of an unknown type", "links of an unknown label", "links to an unknown mention"),
    "ungrounded": ("mentions, none", "links to an ungrounded mention", "answers that touch no mention of a legal type"),
    "truncated": ("completions truncated",),
}
"""Column -> the outcomes of completions that it counts; the table of outcomes has all of them."""
_COUNTED = {"entities": "mentions", "relations": "links", "attributes": "attributes"}
"""Kind of a row -> what its gold annotations are called where they are counted."""


@dataclass(slots=True)
class StudyTable:
    """Rows of cells under a head.

    Attributes:
        title: What stands above.
        columns: Names; the first `words` of them hold words, the others numbers.
        note: What stands below.
    """

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    words: int = 1
    note: str = ""


def overview(rows: Sequence[Row], cells: Sequence[StudyCell], repeats: Iterable[str]) -> list[StudyTable]:
    """Strict F1 by corpus, a table for each kind of annotation; cells that are not done say so."""
    found = []
    waiting, varied = _unfinished(cells, set(repeats)), varying(cells)
    corpora = list(dict.fromkeys([*(row.corpus for row in rows), *(corpus for of in waiting.values() for corpus in of)]))
    for kind in dict.fromkeys(row.kind for row in rows):
        lines: dict[tuple[str, str, str], dict[str, str]] = {}
        for row in rows:
            if row.kind == kind:
                lines.setdefault((row.section, words(row.label), row.task), {})[row.corpus] = _f1(row)
        for (section, axes), of in waiting.items():
            for corpus in of or corpora:
                label = words({axis: value for axis, value in axes if (value != corpus or len(of) != 1) and axis in varied[section]})
                same = [line for line in lines if line[:2] == (section, label)] or [(section, label, NOTHING)]
                for line in same:
                    lines.setdefault(line, {}).setdefault(corpus, MISSING)
        table = StudyTable(f"{kind}: strict F1 by corpus", ["table", "cell", "task", *corpora], words=3)
        table.rows = [[*line, *(values.get(corpus, NOTHING) for corpus in corpora)] for line, values in lines.items()]
        table.note = "Mean over repeats [95 % interval by cluster, repeats nested]."
        found.append(table)
    return found


def score_table(title: str, rows: Sequence[Row]) -> StudyTable:
    """The whole row of each score."""
    axes = list(dict.fromkeys(axis for row in rows for axis in row.axes))
    columns = [
        *(*axes, "source", "kind"),
        *("runs", "F1 strict", "difference to the control", "visible", "lenient", "strings", "unseen recall", "gold surviving"),
        *(*OUTCOMES, "types seen by name", "tokens", "hours", "fingerprint"),
    ]
    table = StudyTable(title, columns, words=len(axes) + 2)
    for row in rows:
        table.rows.append(
            [
                *(row.axes.get(axis, NOTHING) for axis in axes),
                *(row.source, _kind(row)),
                f"{len(row.strict)}/{row.cells}",
                _f1(row),
                "; ".join(_difference(one) for one in row.differences) or NOTHING,
                number(row.visible),
                number(mean(float(one["f1"]) for one in row.lenient)) if row.lenient else NOTHING,
                number(row.mean_of("strings", row.kind, "f1")),
                number(_unseen(row)),
                number(_survival(row)),
                *(_outcome(row, *names) for names in OUTCOMES.values()),
                _seen_by_name(row),
                _mean(row.runs, "training_subwords", "{:,.0f}"),
                _mean(row.runs, "seconds", "{:.2f}", 3600),
                " ".join(dict.fromkeys(str(run.get("fingerprint") or NOTHING)[:8] for run in row.runs)),
            ]
        )
    table.note = (
        "F1 strict [95 % interval over clusters of documents, repeats nested]; the difference is to the same cell with the named value,"
        f" on the same documents, * where p of approximate randomisation is below {SIGNIFICANT} after Holm over this table;"
        " visible: the smallest difference that this test set shows with 80 % power; outcomes are counts over all runs."
    )
    return table


def corpora_table(rows: Sequence[Row]) -> StudyTable:
    """Over corpora: the mean difference to the control, and on how many of them a cell is better at least."""
    columns = ["table", "cell", "control", "task", "kind", "corpora", "mean difference", "better on at least"]
    table = StudyTable("differences over corpora", columns, words=5)
    table.note = f"Partial conjunction at {SIGNIFICANT} of one-sided p-values, one for each corpus."
    found: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for row in rows:
        for one in row.differences:
            if one.p is not None:
                p = one.p / 2 if one.value > 0 else 1 - one.p / 2
                found.setdefault((row.section, words(row.label), words(one.control), row.task, row.kind), []).append((one.value, p))
    for line, tests in found.items():
        better = better_on_at_least([p for _, p in tests], SIGNIFICANT)
        table.rows.append([*line, str(len(tests)), f"{mean(value for value, _ in tests):+.3f}", f"{better} of {len(tests)}"])
    return table


def cost_table(rows: Sequence[Row]) -> StudyTable:
    """What runs took, by cell."""
    columns = ["table", "cell", "runs", "trained", "peak memory, MB", "seconds", "sub-words/s", "steps", "adapter, MB"]
    table = StudyTable("cost of training", columns, words=2, note="Means over runs; the adapter is what a checkpoint holds of the model.")
    lines: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        lines.setdefault((row.section, words(row.own)), {}).update({str(run.get("fingerprint")): run for run in row.runs})
    for (section, cell), found in lines.items():
        runs = list(found.values())
        shares = [run["trainable_parameters"] / run["parameters"] for run in runs if run.get("parameters")]
        cells = [
            f"{mean(shares):.2%}" if shares else NOTHING,
            _mean(runs, "peak_memory_bytes", "{:,.0f}", 1e6),
            _mean(runs, "seconds", "{:,.0f}"),
            _mean(runs, "subwords_per_second", "{:,.0f}"),
            _mean(runs, "steps", "{:,.0f}"),
            _mean(runs, "checkpoint_model_bytes", "{:,.1f}", 1e6),
        ]
        table.rows.append([section, cell, str(len(runs)), *cells])
    return table


def outcome_table(rows: Sequence[Row]) -> StudyTable:
    """What became of completions and answers, sums over runs."""
    names = sorted({name for row in rows for one in row.strict for name in one.get("outcomes") or {}})
    table = StudyTable("outcomes of completions", ["table", "cell", "corpus", "task", *names], words=4)
    for row in rows:
        if any(one.get("outcomes") for one in row.strict):
            line = [row.section, words(row.label), row.corpus, row.task, *(_outcome(row, name) for name in names)]
            if line not in table.rows:
                table.rows.append(line)
    return table


def shots_table(rows: Sequence[Row]) -> StudyTable:
    """How much the documents of few-shot runs hold."""
    table = StudyTable("shots", ["table", "cell", "corpus", "documents", "mentions", "types", "links"], words=3)
    for row in rows:
        for run in row.runs:
            found = (run.get("shots") or {}).get(row.corpus) if isinstance(run.get("shots"), Mapping) else None
            if found:
                held = found.get("mentions", {})
                line = [row.section, words(row.own), row.corpus, str(found.get("documents", NOTHING)), str(sum(held.values()))]
                line += [str(sum(1 for count in held.values() if count)), str(sum(found.get("links", {}).values()))]
                if line not in table.rows:
                    table.rows.append(line)
    return table


def shift_table(rows: Sequence[Row]) -> StudyTable:
    """How training had seen the types of a corpus that was held out: how many there are of each way, and of its test gold."""
    ways = ("name", "definition", "other meaning", "not at all")
    table = StudyTable(
        "label shift: types of held-out corpora, by how training had seen them", ["table", "cell", "corpus", "kind", *ways], words=4
    )
    table.note = "Types (share of the gold annotations of the test part)."
    for row in rows:
        for run in row.runs[:1]:
            kinds = _shift(run, row.corpus)
            for kind, found in kinds.items():
                labels, shares = list(found.get("labels", {}).values()), found.get("shares", {})
                cells = [f"{labels.count(way)}" + (f" ({shares[way]:.1%})" if way in shares else "") for way in ways]
                line = [row.section, words(row.label), row.corpus, kind, *cells]
                if line not in table.rows:
                    table.rows.append(line)
    return table


def meaning_table(rows: Sequence[Row]) -> StudyTable:
    """Names that corpora of a run have for different things, and what was renamed before mixing."""
    table = StudyTable("names with two meanings", ["name", "corpus", "meaning"], words=3)
    for run in [run for row in rows for run in row.runs]:
        shift = run.get("label_shift") or {}
        lines = [[name, corpus, meaning] for name, of in shift.get("two_meanings", {}).items() for corpus, meaning in of.items()]
        lines += [[old, corpus, f"renamed to {new}"] for corpus, names in shift.get("renamed", {}).items() for old, new in names.items()]
        table.rows += [line for line in lines if line not in table.rows]
    table.rows.sort()
    return table


def _shift(run: Mapping[str, Any], corpus: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (run.get("label_shift") or {}).get("corpora", {}).get(corpus, {})
    return found


def _seen_by_name(row: Row) -> str:
    """The share of test gold whose type training had seen by name; nothing where the corpus was not held out."""
    kind = "links" if row.kind == "relations" else row.kind
    shares = [share for run in row.runs if (share := _shift(run, row.corpus).get(kind, {}).get("shares", {}).get("name")) is not None]
    return f"{mean(shares):.1%}" if shares else NOTHING


def problem_table(cells: Sequence[StudyCell], rows: Sequence[Row]) -> StudyTable:
    """Cells that are not done, and why; scores that cannot be taken together."""
    table = StudyTable("missing cells and failures", ["table", "cell", "state", "run", "message"], words=5)
    for cell in cells:
        if cell.results is None:
            table.rows.append([cell.section, words(cell.axes), cell.state, cell.key, cell.message or NOTHING])
            continue
        shown = {row.corpus for row in rows if row.section == cell.section and row.axes.items() <= cell.axes.items()}
        for corpus in cell.tested:
            if corpus not in shown:
                table.rows.append([cell.section, words(cell.axes), "no scores", cell.key, f"its run did not test {corpus}"])
    for row in rows:
        if row.problem:
            table.rows.append([row.section, words(row.own), "no interval", row.corpus, row.problem])
    return table


def words(axes: Mapping[str, str]) -> str:
    """Axes and values on a line."""
    return ", ".join(f"{axis} {value}" for axis, value in axes.items()) or NOTHING


def number(value: float | None) -> str:
    """A share of 1 with three digits."""
    return NOTHING if value is None else f"{value:.3f}"


def _kind(row: Row) -> str:
    """What is found, and, of relations, between which mentions."""
    settings = sorted({str(one["setting"]) for one in row.strict if one.get("setting")})
    return row.kind + (f", {', '.join(settings)}" if settings else "")


def _f1(row: Row) -> str:
    ends = f" [{row.ends.low:.3f}, {row.ends.high:.3f}]" if row.ends is not None else ""
    partial = f" ({len(row.strict)} of {row.cells} runs)" if len(row.strict) < row.cells else ""
    return f"{row.f1:.3f}{ends}{partial}"


def _difference(found: Difference) -> str:
    mark = "*" if found.holm is not None and found.holm < SIGNIFICANT else ""
    ends = f"[{found.ends.low:+.3f}, {found.ends.high:+.3f}]"
    p = f", p {found.holm:.3f}" if found.holm is not None else ""
    return f"{found.value:+.3f}{mark} {ends}{p} to {words(found.control)}"


def _outcome(row: Row, *names: str) -> str:
    """A count over all runs; nothing where no run counts outcomes."""
    tables = [one["outcomes"] for one in row.strict if one.get("outcomes")]
    return str(sum(table.get(name, 0) for table in tables for name in names)) if tables else NOTHING


def _unseen(row: Row) -> float | None:
    """Recall of mentions whose string training had not seen, of rows of mentions, over the runs that have any."""
    found = [one["unseen"]["recall"] for one in row.strict if one.get("unseen") and one["unseen"]["gold"]]
    return mean(found) if found and row.kind == "entities" else None


def _survival(row: Row) -> float | None:
    """The share of gold that survives, where it was counted of what the row is of."""
    own = _COUNTED.get(row.kind)  # events are counted by rules of their own
    others = {(one.get("survival") or {}).get("of", own) for one in row.strict} - {own}
    return None if own is not None and others else row.mean_of("survival", "share")


def _mean(runs: Sequence[Mapping[str, Any]], key: str, shown: str, unit: float = 1.0) -> str:
    values = [run[key] / unit for run in runs if isinstance(run.get(key), int | float)]
    return shown.format(mean(values)) if values else NOTHING


def _unfinished(cells: Sequence[StudyCell], repeats: set[str]) -> dict[tuple[str, tuple[tuple[str, str], ...]], tuple[str, ...]]:
    """Section and axes -> corpora, of cells none of whose runs is done."""
    done: dict[tuple[str, tuple[tuple[str, str], ...]], bool] = {}
    corpora = {}
    for cell in cells:
        place = cell.section, tuple((axis, value) for axis, value in cell.axes.items() if axis not in repeats)
        done[place] = done.get(place, False) or cell.results is not None
        corpora[place] = cell.tested
    return {place: corpora[place] for place, finished in done.items() if not finished}
