"""The table of encoders in ``docs/backbones.md`` is what its script finds: cells of four architectures that differ in what they can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.encoder_matrix import KINDS, TASKS, TUNINGS, Cell, Matrix, read_table

pytestmark = pytest.mark.filterwarnings("ignore")
DOCS = read_table((Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8").partition("## Decoders")[0])


def cells(kind: str) -> list[Cell]:
    """Every task, every way of tuning, and half precision."""
    found = [(kind, task, "full", "32-true") for task in TASKS]
    return [*found, *((kind, "tagging", tuning, "32-true") for tuning in TUNINGS), (kind, "tagging", "full", "bf16-mixed")]


def test_every_architecture_has_a_row() -> None:
    assert list(DOCS) == list(KINDS)
    assert all(
        {"tagging", "pairs, single", "reading, single", "full", "frozen", "lora", "32-true"} <= set(marks) for marks in DOCS.values()
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["modernbert", "deberta", "longformer", "albert"])
def test_cells_are_as_the_table_has_them(kind: str, tmp_path: Path) -> None:
    matrix = Matrix(tmp_path)
    for cell in cells(kind):
        outcome = matrix.outcome(cell)
        if set(cell[1:]) <= set(DOCS[kind]):
            assert outcome == "yes", cell
        else:
            assert outcome.startswith("refused: "), cell
            assert any(remedy in outcome for remedy in ("set data.tasks", "take ", "give --trainer.precision")), outcome
