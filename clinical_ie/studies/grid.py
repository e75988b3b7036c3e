"""The cells of a study: each grid's product of values, less what it leaves out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from clinical_ie.errors import did_you_mean
from clinical_ie.fields import MalformedDataError
from clinical_ie.studies.study import Axes, Grid, Reference, Study

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of a study's tables.

    Attributes:
        grid: The name of its grid.
        axes: Axis -> value, in the order of the study's axes.
        chain: Names of configurations, and options, of the run that it needs; empty where it is read from another cell's run.
        tested: Corpora whose scores it shows; all that its run scores when empty.
        init_from: The name of the cell whose weights its run begins with.
        read_from: The name of the cell whose run it is read from.
    """

    grid: str
    axes: Axes
    chain: tuple[str, ...]
    tested: tuple[str, ...]
    init_from: str | None = None
    read_from: str | None = None

    @property
    def name(self) -> str:
        """What people and files call it, as ``in_domain model=minilm target=demo``."""
        return _name(self.grid, self.axes)


def cells(study: Study) -> list[Cell]:
    """All cells of a study, in the order of its grids and values.

    Raises:
        FileFormatError: A rule that leaves nothing out, a placeholder of no axis, or a reference to no cell, with its line.
    """
    found: dict[str, Cell] = {}
    rows: dict[tuple[Any, ...], str] = {}
    try:
        for grid in study.grids:
            for cell in _of_grid(grid, study, found):
                found[cell.name] = cell
                _row_of_its_own(cell, grid, study, rows)
    except MalformedDataError as error:
        raise study.file.failure(error) from None
    return list(found.values())


def _row_of_its_own(cell: Cell, grid: Grid, study: Study, rows: dict[tuple[Any, ...], str]) -> None:
    """Refuse a cell that a table could not tell from one of another grid: their scores would be averaged as if they were repeats."""
    axes = {axis: value for axis, value in cell.axes.items() if axis not in study.repeats}
    other = rows.setdefault((grid.about, tuple(axes.items())), grid.name)
    if other != grid.name:
        raise MalformedDataError(
            grid.place,
            f"{cell.name} stands in one row of a table with a cell of {other}",
            expected="one grid for each row of a table",
            remedy="give one of them a title (about) of its own, or an axis that tells them apart",
        )


def _of_grid(grid: Grid, study: Study, above: dict[str, Cell]) -> list[Cell]:
    axes = [dict(zip(grid.axes, values, strict=True)) for values in product(*grid.axes.values())]
    for place, rule in grid.leaves_out:
        left = [one for one in axes if any(one[axis] not in values for axis, values in rule.items())]
        if len(left) == len(axes):
            raise MalformedDataError(place, "leaves nothing out", remedy="remove it, or name values of this grid that no rule above names")
        axes = left
    if not axes:
        raise MalformedDataError(grid.place, "leaves all of its cells out", remedy="remove the grid")
    return [_cell(grid, one, study, above) for one in axes]


def _cell(grid: Grid, axes: Axes, study: Study, above: dict[str, Cell]) -> Cell:
    init_from, read_from = (_found(reference, grid, axes, study, above) for reference in (grid.init_from, grid.read_from))
    given: Sequence[str] = ()
    if read_from is None:
        given = [*(part for axis, value in axes.items() for part in study.axes[axis][value]), *study.more, *grid.more]
    chain = tuple(_filled(part, axes, grid) for part in given)
    return Cell(grid.name, axes, chain, tuple(_filled(name, axes, grid) for name in grid.tested), init_from, read_from)


def _found(reference: Reference | None, grid: Grid, axes: Axes, study: Study, above: dict[str, Cell]) -> str | None:
    """The name of the cell that a reference means; behind one that is read from another run, that other one."""
    if reference is None:
        return None
    other = next(one for one in study.grids if one.name == reference.grid)
    wanted = {axis: _filled(reference.axes[axis], axes, grid) if axis in reference.axes else axes[axis] for axis in other.axes}
    name = _name(other.name, wanted)
    if name not in above:
        expected = f"a cell of {other.name} for every cell of {grid.name}"
        raise MalformedDataError(reference.place, f"there is no cell {name}", expected=expected, remedy="leave the same cells out of both")
    return above[name].read_from or name


def _filled(text: str, axes: Axes, grid: Grid) -> str:
    """A name or an option with values in place of ``{axis}``."""
    for axis in _PLACEHOLDER.findall(text):
        if axis not in axes:
            near = did_you_mean(axis, axes).removeprefix("; ")
            problem = f"{text!r} names {{{axis}}}, which is no axis of these cells"
            raise MalformedDataError(grid.place, problem, expected=f"one of {', '.join(axes)}", remedy=near)
    return _PLACEHOLDER.sub(lambda match: axes[match[1]], text)


def _name(grid: str, axes: Axes) -> str:
    return " ".join([grid, *(f"{axis}={value}" for axis, value in axes.items())])
