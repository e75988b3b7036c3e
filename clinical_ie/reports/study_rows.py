"""The rows of a study's tables: scores of a cell over its repeats, with interval, difference to the control, and what qualifies them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

from clinical_ie.errors import InputError
from clinical_ie.reports.results import Results
from clinical_ie.reports.score_rows import rows as score_rows
from clinical_ie.scoring.clusters import Clustered
from clinical_ie.scoring.intervals import Interval, interval
from clinical_ie.scoring.paired import approximate_randomisation, holm, smallest_visible_difference

Axes = Mapping[str, str]
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class StudyCell:
    """A cell of a study as a report sees it.

    Attributes:
        section: The title of the tables that it stands in.
        axes: Axis -> value.
        tested: Corpora whose scores are shown; all that are there when empty.
        key: Of the run that holds its scores.
        results: Its ``results.json``; None where it is not done.
        state: What has become of the run.
        message: Why it failed.
    """

    section: str
    axes: Axes
    tested: tuple[str, ...]
    key: str
    results: Path | None
    state: str
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """F1 less that of the control, on the same documents.

    Attributes:
        control: The axes of the control where they are others.
        value: The difference.
        ends: Its interval.
        p: Of approximate randomisation; None where the two have different numbers of runs.
        holm: The same over all rows of the table.
    """

    control: Axes
    value: float
    ends: Interval
    p: float | None
    holm: float | None = None


@dataclass(slots=True)
class Row:
    """A score: a cell's runs, which differ in seeds and draws, on one corpus and task.

    Attributes:
        strict: Rows of `score_rows.rows`, one for each run, under strict matching.
        lenient: The same under lenient matching.
        runs: What ``results.json`` says of each run.
        keys: Of the runs.
        repeated: The values of each run on the axes over which scores are averaged.
        units: Of each run what its shots are drawn by, where several training seeds share them (`Clustered.units`).
        cells: How many runs the cell has, done or not.
        problem: Why runs cannot be taken together.
        varying: The axes on which cells of the section differ.
        label: The axes that tell its cell from others: those that vary and, of cells with one corpus, say more than the corpus does; all
            that vary where these would leave two cells alike.
    """

    section: str
    axes: Axes
    corpus: str
    task: str
    kind: str
    cells: int
    strict: list[dict[str, Any]] = field(default_factory=list)
    lenient: list[dict[str, Any]] = field(default_factory=list)
    runs: list[Mapping[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    repeated: list[Axes] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    clustered: Clustered | None = None
    ends: Interval | None = None
    differences: list[Difference] = field(default_factory=list)
    problem: str = ""
    varying: frozenset[str] = frozenset()
    label: Axes = field(default_factory=dict)

    @property
    def f1(self) -> float:
        """Mean strict F1 of the runs, over those that share their shots first."""
        of: dict[str, list[float]] = {}
        for unit, point in zip(self.units, self.points, strict=True):
            of.setdefault(unit, []).append(point)
        return mean(mean(points) for points in of.values())

    @property
    def points(self) -> list[float]:
        """Strict F1 of each run."""
        return [float(one["f1"]) for one in self.strict]

    @property
    def own(self) -> dict[str, str]:
        """Axes on which cells of the section differ."""
        return {axis: value for axis, value in self.axes.items() if axis in self.varying}

    @property
    def source(self) -> str:
        """Corpus and task, as ``CORPUS/TASK``."""
        return f"{self.corpus}/{self.task}"

    @property
    def visible(self) -> float | None:
        """The smallest visible difference of these runs on this test set."""
        return smallest_visible_difference(self.clustered) if self.clustered is not None else None

    def mean_of(self, *keys: str) -> float | None:
        """The mean over runs of a number in their strict rows; None where one lacks it."""
        found: list[float] = []
        for one in self.strict:
            value: Any = one
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            if not isinstance(value, int | float):
                return None
            found.append(float(value))
        return mean(found) if found else None


def study_rows(cells: Sequence[StudyCell], repeats: Sequence[str], controls: Axes) -> list[Row]:
    """All rows, in the order of the cells; of cells with no run that is done there are none.

    Args:
        cells: Those of a study.
        repeats: Axes over which scores are averaged, the outer one first: of ``[draw, seed]`` the seeds are nested in the draws.
        controls: Axis -> the value that others are compared with.
    """
    varied = varying(cells)
    found: dict[tuple[Any, ...], Row] = {}
    counts: dict[tuple[Any, ...], int] = {}
    for cell in cells:
        axes = {axis: value for axis, value in cell.axes.items() if axis not in repeats}
        place = (cell.section, *axes.items())
        counts[place] = counts.get(place, 0) + 1
        if cell.results is None:
            continue
        run = Results.load(cell.results).run
        for score in score_rows(cell.results.parent):
            if score["split"] != "test" or (cell.tested and score["corpus"] not in cell.tested):
                continue
            what = (*place, score["corpus"], score["task"], score["kind"])
            row = found.setdefault(what, Row(cell.section, axes, score["corpus"], score["task"], score["kind"], 0))
            if score["mode"] == "lenient":
                row.lenient.append(score)
            else:
                row.strict.append(score)
                row.runs.append(run)
                row.keys.append(cell.key)
                row.repeated.append({axis: value for axis, value in cell.axes.items() if axis in repeats})
    for row in found.values():
        row.cells = counts[row.section, *row.axes.items()]
        row.varying = varied[row.section]
        row.units = _units(row.repeated, repeats)
        _cluster(row)
    _name(list(found.values()))
    _compare(list(found.values()), controls)
    return list(found.values())


def varying(cells: Iterable[StudyCell]) -> dict[str, frozenset[str]]:
    """Section -> the axes on which its cells differ."""
    values: dict[str, list[Axes]] = {}
    for cell in cells:
        values.setdefault(cell.section, []).append(cell.axes)
    return {
        section: frozenset(axis for axes in of for axis, value in axes.items() if any(other.get(axis) != value for other in of))
        for section, of in values.items()
    }


def _units(repeated: Sequence[Axes], repeats: Sequence[str]) -> list[str]:
    """What runs share: their value on the outer of the axes on which they differ."""
    differing = (axis for axis in repeats if len({one.get(axis) for one in repeated}) > 1)
    axis = next(differing, None)
    return [one.get(axis, "") if axis is not None else str(place) for place, one in enumerate(repeated)]


def _name(rows: Sequence[Row]) -> None:
    """Labels that are short, and different for different cells of a section."""
    alike: dict[tuple[Any, ...], list[Row]] = {}
    corpora: dict[tuple[Any, ...], set[str]] = {}
    for row in rows:
        corpora.setdefault((row.section, *row.axes.items()), set()).add(row.corpus)
    for row in rows:
        one = len(corpora[row.section, *row.axes.items()]) == 1  # else a corpus that is held out would be in no line with the others
        row.label = {axis: value for axis, value in row.own.items() if value != row.corpus or not one}
        alike.setdefault((row.section, row.corpus, row.task, row.kind, *row.label.items()), []).append(row)
    for several in (found for found in alike.values() if len(found) > 1):
        for row in several:
            row.label = row.own


def _cluster(row: Row) -> None:
    tables = [one["per_document"] for one in row.strict]
    if not all(tables):
        return  # rules of events have no counts by document
    try:
        row.clustered = Clustered.of(tables, row.strict[0]["groups"], row.units)
    except InputError as error:
        row.problem = str(error)
        return
    row.ends = interval(row.clustered)


def _compare(rows: Sequence[Row], controls: Axes) -> None:
    """Hold rows against those that differ in one controlled axis only, of their own section before others."""
    by_place: dict[tuple[Any, ...], Row] = {}
    for row in reversed(rows):
        what = (*sorted(row.axes.items()), row.corpus, row.task, row.kind)
        by_place[what] = by_place[row.section, *what] = row
    tables: dict[str, list[tuple[Row, int]]] = {}
    for row in rows:
        for axis, value in controls.items():
            if row.axes.get(axis, value) == value:
                continue
            what = (*sorted({**row.axes, axis: value}.items()), row.corpus, row.task, row.kind)
            other = by_place.get((row.section, *what), by_place.get(what))
            if other is None or row.clustered is None or other.clustered is None or row.clustered.names != other.clustered.names:
                continue
            p = approximate_randomisation(row.clustered, other.clustered) if row.clustered.units == other.clustered.units else None
            ends = interval(row.clustered, other.clustered)
            row.differences.append(Difference({axis: value}, row.clustered.f1 - other.clustered.f1, ends, p))
            tables.setdefault(row.section, []).append((row, len(row.differences) - 1))
    for places in tables.values():
        tested = [(row, number) for row, number in places if row.differences[number].p is not None]
        raised = holm([row.differences[number].p or 0.0 for row, number in tested])
        for (row, number), adjusted in zip(tested, raised, strict=True):
            row.differences[number] = replace(row.differences[number], holm=adjusted)
