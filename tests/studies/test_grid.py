"""Grids of a study, held against cells that were written down by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.errors import FileFormatError
from clinical_ie.studies.grid import Cell, cells
from clinical_ie.studies.study import Study

STUDY = """\
name: tiny
repeats: [draw]
controls: {start: base}
curve: shots
tested: ["{target}"]
axes:
  model: {small: [model/minilm], large: [model/bert_large]}
  target: [uw, phee]
  start: [others, base]
  shots: [0, 5]
  draw: [0, 1]
with: [--trainer.max_steps=7]
grids:
  loo:
    cells: {model: all, target: all}
    except: [{model: large, target: phee}]
    with: ["--data.split.held_out={target}"]
  zero:
    cells: {model: all, target: uw, start: others, shots: 0}
    read_from: {grid: loo}
  few:
    cells: {model: [small], target: uw, start: others, shots: [5], draw: all}
    init_from: {grid: zero, shots: 0}
    with: ["--data.split.shots={shots}", "--data.split.shots_seed={draw}"]
    tested: []
"""


def written(tmp_path: Path, text: str = STUDY) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_grid_is_the_product_of_its_values_less_what_it_leaves_out(tmp_path: Path) -> None:
    found = cells(Study.load(written(tmp_path)))
    assert [cell.name for cell in found] == [
        "loo model=small target=uw",
        "loo model=small target=phee",
        "loo model=large target=uw",
        "zero model=small target=uw start=others shots=0",
        "zero model=large target=uw start=others shots=0",
        "few model=small target=uw start=others shots=5 draw=0",
        "few model=small target=uw start=others shots=5 draw=1",
    ]
    assert found[1] == Cell(
        "loo",
        {"model": "small", "target": "phee"},
        ("model/minilm", "--trainer.max_steps=7", "--data.split.held_out=phee"),
        ("phee",),
    )
    assert (found[4].read_from, found[4].chain) == ("loo model=large target=uw", ())
    # behind a cell that is read from another run stands that run
    assert found[6].init_from == "loo model=small target=uw"
    assert found[6].chain[-2:] == ("--data.split.shots=5", "--data.split.shots_seed=1")
    assert found[6].tested == ()


def test_a_reference_may_take_a_value_from_another_axis(tmp_path: Path) -> None:
    text = STUDY.replace("  draw: [0, 1]\n", "  draw: [0, 1]\n  held_out: [uw, phee]\n").replace(
        '    cells: {model: all, target: all}\n    except: [{model: large, target: phee}]\n    with: ["--data.split.held_out={target}"]',
        "    cells: {model: all, held_out: all}\n    tested: []",
    )
    text = text.replace("read_from: {grid: loo}", 'read_from: {grid: loo, held_out: "{target}"}')
    zero = next(cell for cell in cells(Study.load(written(tmp_path, text))) if cell.grid == "zero")
    assert zero.read_from == "loo model=small held_out=uw"
    with pytest.raises(FileFormatError, match=r"names \{tagret\}.*did you mean 'target'"):
        cells(Study.load(written(tmp_path, text.replace('held_out: "{target}"', 'held_out: "{tagret}"'))))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("repeats: [draw]", "repeats: [drew]", r"yaml:2: repeats: 'drew' is not an axis; .*did you mean 'draw'"),
        ("model: all, target: all}", "model: al, target: all}", r"yaml:15: grids.loo.cells.model: 'al' is not a value of model"),
        ("{model: large, target: phee}", "{draw: 0}", r"yaml:16: .*'draw' is not an axis of the grid's cells"),
        ("{model: large, target: phee}", "{model: large}, {target: uw, model: large}", "leaves nothing out"),
        ("held_out={target}", "held_out={targt}", r"names \{targt\}.*did you mean 'target'"),
        ("read_from: {grid: loo}", "read_from: {grid: few}", r"'few' is not a grid that stands above; expected one of loo"),
        ("target: uw, start: others, shots: 0", "target: all, start: others, shots: 0", "no cell loo model=large target=phee"),
        ("name: tiny\n", "nam: tiny\n", r"unknown key 'nam'.*did you mean 'name'"),
        ("curve: shots", "curve: model", "expected an axis of numbers"),
        ("controls: {start: base}", "controls: {start: bases}", r"'bases' is not a value of start.*did you mean 'base'"),
        ("cells: {model: all, target: all}", "cells: {target: all}", "'model' is not an axis of the grid's cells"),
        ("init_from: {grid: zero, shots: 0}", "init_from: {grid: zero, shot: 0}", "'shot' is not an axis of zero"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(before: str, after: str, message: str, tmp_path: Path) -> None:
    assert STUDY.count(before) == 1
    with pytest.raises(FileFormatError, match=message):
        cells(Study.load(written(tmp_path, STUDY.replace(before, after))))


def test_two_grids_that_a_table_could_not_tell_apart_are_refused(tmp_path: Path) -> None:
    more = """\
  again:
    about: few
    cells: {model: small, target: uw, start: others, shots: 5, draw: 0}
    with: [--trainer.max_steps=9]
"""
    with pytest.raises(FileFormatError, match=r"again model=small .* stands in one row of a table with a cell of few") as caught:
        cells(Study.load(written(tmp_path, STUDY + more)))
    assert "give one of them a title (about) of its own" in str(caught.value)
    assert len(cells(Study.load(written(tmp_path, STUDY + more.replace("about: few", "about: fewer"))))) == 8
