"""Every example is in one row, within the budget, behind a copy of its own prefix."""

from __future__ import annotations

import pytest

from clinical_ie.data.response_rows import dummy_row, rows_of_responses
from clinical_ie.tasks.instruction import InstructionExample


def example(number: int, prefix: int, own: int, response: int) -> InstructionExample:
    return InstructionExample(
        id=str(number), corpus="c", task="entity_instruction", document_id="d", prefix_ids=(prefix,) * 4, input_ids=(100 + number,) * own,
        response=(200 + number,) * response, segment=(0, 1), given=(), types=(), labels=(),
    )  # fmt: skip


@pytest.mark.parametrize("packed", [True, False])
def test_rows_hold_all_examples_once(packed: bool) -> None:
    examples = [example(0, 1, 3, 2), example(1, 2, 5, 4), example(2, 1, 2, 1), example(3, 1, 40, 3), example(4, 2, 1, 1)]
    rows = rows_of_responses(examples, 20, 0, packed=packed)
    assert sorted(name for row in rows for name in row["example_ids"]) == ["0", "1", "2", "3", "4"]
    for row in rows:
        assert row["input_ids"].numel() <= 20 or row["example_ids"] == ["3"], "what is longer than the budget is alone"
        assert len(row["targets"]) == sum(len(examples[int(name)].response) for name in row["example_ids"])
        before = row["input_ids"].flatten()[row["loss_positions"]]
        last_of_prompt = {100 + int(name) for name in row["example_ids"]}
        assert last_of_prompt <= set(before.tolist()) <= last_of_prompt | set(row["targets"].tolist())
    assert len(rows) == (3 if packed else 4)


def test_nothing_makes_no_row() -> None:
    assert rows_of_responses([], 20, 0, packed=True) == []


def test_a_dummy_row_predicts_one_token() -> None:
    row = dummy_row(7)
    assert row["input_ids"].shape == row["segment_ids"].shape == (1, 1)
    assert row["targets"].tolist() == [7]
    assert row["loss_positions"].tolist() == [0]
