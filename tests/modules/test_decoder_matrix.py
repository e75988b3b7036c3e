"""The table of decoders in docs/backbones.md is what the cells do: each trains and answers, or is refused before training.

All cells are run by benchmarks/decoder_matrix.py, which prints the table; here tasks and precisions take turns.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.errors import SettingError
from clinical_ie.models.decoder import Decoder
from tests.models.decoder_families import FAMILIES, save_family
from tests.models.tiny_decoders import save_tokenizer
from tests.modules.decoder_cells import KINDS, PRECISIONS, TUNINGS, outcome, save_notes
from tests.modules.tiny_training import WARNINGS_OF_TRAINING

pytestmark = [
    WARNINGS_OF_TRAINING,
    pytest.mark.filterwarnings(
        "ignore:.*gradient_checkpointing.* is deprecated",  # PEFT asks transformers so
        "ignore:.*have no logger configured",
        "ignore:.*does not have many workers",
        "ignore:`max_epochs` was not set",
        "ignore:fan_in_fan_out is set to False",  # of GPT-2's layers; PEFT then does what is right
        "ignore:The following (rank|alpha)_pattern keys did not match",  # PEFT's, of experts, which all-linear leaves alone
    ),
]


def documented() -> dict[str, list[str]]:
    """Family -> its cells in the tables of decoders."""
    text = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8")
    section = text.partition("## Decoders\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")]
    return {name: cells for name, *cells in rows if name in FAMILIES}


TASKS = tuple(KINDS)
TABLE = documented()
TRAINED = {family: dict(zip(("packing", *TUNINGS), cells, strict=True)) for family, cells in TABLE.items() if len(cells) > 1}


def test_every_family_is_documented() -> None:
    assert TABLE.keys() == FAMILIES.keys()
    assert set(TRAINED["Llama"].values()) == {"yes"}


def test_packing_is_refused_before_training_where_examples_are_not_kept_apart(tmp_path: Path) -> None:
    folder, notes = save_family("MPT", tmp_path / "model", save_tokenizer(tmp_path / "model")), save_notes(tmp_path / "notes")
    found = outcome(folder, notes, "entities", "full", "32-true", packing=True, root=tmp_path)
    assert found.startswith("no:  cannot keep packed examples apart: behind another one, an example gets other logits")
    assert found.endswith("give data.packing: false")


@pytest.mark.slow
@pytest.mark.parametrize("family", TRAINED)
def test_cells_are_as_documented(family: str, tmp_path: Path) -> None:
    """Every way of tuning, in the task and the precision whose turn it is."""
    folder, notes = save_family(family, tmp_path / "model", save_tokenizer(tmp_path / "model")), save_notes(tmp_path / "notes")
    packing = TRAINED[family]["packing"] == "yes"
    assert (Decoder(folder).packing_problem is None) == packing
    row = list(TRAINED).index(family)
    for column, tuning in enumerate(TUNINGS):
        task, precision = TASKS[(row + column) % len(TASKS)], PRECISIONS[(row // len(TASKS) + column) % len(PRECISIONS)]
        found = outcome(folder, notes, task, tuning, precision, packing=packing, root=tmp_path)
        assert found.partition(":")[0] == TRAINED[family][tuning].partition(":")[0], (task, tuning, precision, found)


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in TABLE if family not in TRAINED])
def test_refused_families_are_as_documented(family: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as refused:
        Decoder(save_family(family, tmp_path))
    assert TABLE[family][0].partition("(up to")[0] in str(refused.value)
