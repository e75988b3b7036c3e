"""A study's YAML: axes, grids of cells over them, and what a report compares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinical_ie.corpora.yaml_file import YamlFile
from clinical_ie.errors import did_you_mean
from clinical_ie.fields import Fields, MalformedDataError, elements, kind_of

Axes = Mapping[str, str]
"""Axis -> value: what a cell is."""
ALL = "all"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*").fullmatch
_NAMED = "letters, digits, '_', '.', '+' and '-'"
_KEYS = ("name", "about", "repeats", "controls", "curve", "tested", "with", "axes", "grids")
_GRID_KEYS = ("about", "cells", "except", "with", "tested", "init_from", "read_from")


@dataclass(frozen=True, slots=True)
class Reference:
    """A cell by its grid, and by its values on the axes where it differs from the cell that refers to it, which ``{axis}`` may name."""

    grid: str
    axes: Axes
    place: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A product of values.

    Attributes:
        name: What other grids and tables call it.
        about: Its title.
        axes: Axis -> values, in the order of the study's axes.
        leaves_out: Cells that are not there: axis -> values, each rule with its place in the file.
        more: Configurations and options behind those of the axes.
        tested: Corpora whose scores are shown, here or for the whole study; all that a run scores when empty.
        init_from: The cell whose weights a cell begins with.
        read_from: The cell whose run holds a cell's scores, so that it needs none of its own.
        place: Where it stands in the file.
    """

    name: str
    about: str
    axes: Mapping[str, tuple[str, ...]]
    leaves_out: tuple[tuple[str, Mapping[str, tuple[str, ...]]], ...]
    more: tuple[str, ...]
    tested: tuple[str, ...]
    init_from: Reference | None
    read_from: Reference | None
    place: str


@dataclass(frozen=True, slots=True)
class Study:
    """What a study's file says.

    Attributes:
        name: What its files are called.
        about: What it asks.
        axes: Axis -> value -> the configurations and options that it stands for.
        more: Configurations and options of every run, behind those of its axes.
        grids: In the order of the file; a grid refers to those above it.
        repeats: Axes over which scores are averaged: seeds and draws.
        controls: Axis -> the value that others are compared with.
        curve: The axis of numbers along which figures are drawn, such as shots; none when empty.
    """

    name: str
    about: str
    axes: Mapping[str, Mapping[str, tuple[str, ...]]]
    more: tuple[str, ...]
    grids: tuple[Grid, ...]
    repeats: tuple[str, ...]
    controls: Axes
    curve: str
    file: YamlFile = field(repr=False, compare=False)

    @classmethod
    def load(cls, path: Path | str) -> Study:
        """The study that a file describes.

        Raises:
            FileFormatError: Not YAML, an unknown key, or a value of the wrong type, with its line.
        """
        file = YamlFile(path, expected="name, axes and grids of a study")
        try:
            return _study(file)
        except MalformedDataError as error:
            raise file.failure(error) from None


def _study(file: YamlFile) -> Study:
    fields = Fields(file.data)
    fields.only(*_KEYS)
    axes = {_name(name, "axes"): _values(value, f"axes.{name}") for name, value in Fields(fields.get("axes"), "axes").data.items()}
    repeats = tuple(fields.strings("repeats"))
    for axis in repeats:
        _known(axis, axes, "repeats", "an axis")
    controls = {}
    for axis, value in Fields(fields.data.get("controls") or {}, "controls").data.items():
        _known(axis, axes, "controls", "an axis")
        controls[axis] = _known(_plain(value, f"controls.{axis}"), axes[axis], f"controls.{axis}", f"a value of {axis}")
    curve = fields.string_or("curve", "")
    if curve and not all(value.isdecimal() for value in axes[_known(curve, axes, "curve", "an axis")]):
        raise MalformedDataError(
            "curve", f"{curve} has values that are no numbers", expected="an axis of numbers, such as shots: [0, 5, 20]"
        )
    grids: dict[str, Grid] = {}
    tested = tuple(fields.strings("tested"))
    for name, value in Fields(fields.get("grids"), "grids").data.items():
        grids[name] = _grid(_name(name, "grids"), Fields(value, f"grids.{name}"), axes, grids, tested)
    if not grids:
        raise MalformedDataError("grids", "found no grid", expected="a name for each, such as in_domain: {cells: {model: all}}")
    name, about, more = _name(fields.string("name"), "name"), fields.string_or("about", ""), tuple(fields.strings("with"))
    return Study(name, about, axes, more, tuple(grids.values()), repeats, controls, curve, file)


def _grid(name: str, fields: Fields, axes: Mapping[str, Mapping[str, Any]], above: Mapping[str, Grid], tested: tuple[str, ...]) -> Grid:
    fields.only(*_GRID_KEYS)
    cells = _selection(fields.get("cells"), fields.at("cells"), axes)
    chosen = {axis: cells[axis] for axis in axes if axis in cells}
    leaves_out = []
    for rule in fields.mappings("except"):
        found = _selection(rule.data, rule.place, axes)
        for axis in found:
            _known(axis, chosen, rule.place, "an axis of the grid's cells")
        leaves_out.append((rule.place, found))
    if "init_from" in fields and "read_from" in fields:
        raise MalformedDataError(fields.place, "found init_from and read_from", expected="one of them: a run of its own, or none")
    references = {key: _reference(fields, key, chosen, axes, above) for key in ("init_from", "read_from")}
    if references["read_from"] is not None and "with" in fields:
        raise MalformedDataError(fields.at("with"), "found options of cells that are read from other runs", remedy="leave them out")
    about = fields.string_or("about", name.replace("_", " "))
    more, tested = tuple(fields.strings("with")), tuple(fields.strings("tested")) if "tested" in fields else tested
    return Grid(name, about, chosen, tuple(leaves_out), more, tested, references["init_from"], references["read_from"], fields.place)


def _reference(
    fields: Fields, key: str, own: Mapping[str, Any], axes: Mapping[str, Mapping[str, Any]], above: Mapping[str, Grid]
) -> Reference | None:
    """The grid that a reference names, and its values; every axis of that grid must have one."""
    if key not in fields:
        return None
    inner = Fields(fields.get(key), fields.at(key))
    grid = inner.string("grid")
    _known(grid, above, inner.at("grid"), "a grid that stands above")
    found = {}
    for axis, value in inner.data.items():
        if axis != "grid":
            _known(axis, above[grid].axes, inner.place, f"an axis of {grid}")
            plain = _plain(value, inner.at(axis))
            found[axis] = plain if "{" in plain else _known(plain, axes[axis], inner.at(axis), f"a value of {axis}")
    if missing := [axis for axis in above[grid].axes if axis not in found and axis not in own]:
        raise MalformedDataError(
            inner.place, f"says nothing of {', '.join(missing)}", expected=f"a value for each axis of {grid} that this grid has not"
        )
    return Reference(grid, found, inner.place)


def _selection(value: object, place: str, axes: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Axis -> the values that a mapping names: one, a list of them, or ``all``."""
    found = {}
    for axis, given in Fields(value, place).data.items():
        where = f"{place}.{axis}"
        _known(axis, axes, place, "an axis")
        if given == ALL:
            found[axis] = tuple(axes[axis])
            continue
        names = [_plain(one, where) for one in (given if isinstance(given, list) else [given])]
        if not names:
            raise MalformedDataError(where, "found no value", expected=f"some of {', '.join(axes[axis])}, or {ALL}")
        found[axis] = tuple(dict.fromkeys(_known(one, axes[axis], where, f"a value of {axis}") for one in names))
    return found


def _values(value: object, place: str) -> dict[str, tuple[str, ...]]:
    """Value -> what it stands for, of an axis: a mapping, or a list of names that stand for nothing but themselves."""
    if isinstance(value, list):
        return {_name(_plain(one, f"{place}[{number}]"), f"{place}[{number}]"): () for number, one in enumerate(value)}
    found = {}
    for name, given in Fields(value, place).data.items():
        own = _name(_plain(name, place), place)
        parts = [] if given is None else elements(given, f"{place}.{name}")
        for number, part in enumerate(parts):
            if type(part) is not str:
                expected = "the name of a configuration, or an option such as --trainer.max_steps=100"
                raise MalformedDataError(f"{place}.{name}[{number}]", f"found {kind_of(part)}", expected=expected)
        found[own] = tuple(parts)
    return found


def _plain(value: object, place: str) -> str:
    if type(value) not in (str, int, float):
        raise MalformedDataError(place, f"found {kind_of(value)}", expected="a name or a number")
    return str(value)


def _name(name: object, place: str) -> str:
    if type(name) is not str or not _NAME(name) or name == ALL:
        raise MalformedDataError(place, f"found {str(name)[:60]!r} for a name", expected=f"{_NAMED}, and not {ALL!r}")
    return name


def _known(name: str, known: Mapping[str, Any] | Sequence[str], place: str, what: str) -> str:
    if name not in known:
        near = did_you_mean(str(name), [str(one) for one in known]).removeprefix("; ")
        raise MalformedDataError(place, f"{str(name)[:60]!r} is not {what}", expected=f"one of {', '.join(map(str, known))}", remedy=near)
    return name
