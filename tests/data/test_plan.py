from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.data.plan import Plan, SharedPrefixes
from clinical_ie.errors import SettingError
from clinical_ie.tasks.task import SourceName

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)

ONE, OTHER = SourceName("c", "find"), SourceName("c", "link")


def plan_of(lengths: Sequence[int], budget: int, *, seed: int = 0, shuffle: bool = True, **options: object) -> Plan:
    return Plan(lengths, lengths, [ONE] * len(lengths), budget, shuffle=shuffle, seed=seed, **options)  # type: ignore[arg-type]


@given(LENGTHS, st.integers(50, 600), st.integers(0, 9))
def test_every_example_once_in_equally_many_batches(lengths: list[int], budget: int, epoch: int) -> None:
    plan = plan_of(lengths, budget)
    batches = plan.epoch(epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert len(batches) == len(plan)
    assert all(batches)


def test_same_seed_same_plan_and_epochs_differ() -> None:
    lengths = [random.Random(1).randint(5, 90) for _ in range(80)]
    assert plan_of(lengths, 200, seed=1).epoch(2) == plan_of(lengths, 200, seed=1).epoch(2)
    assert plan_of(lengths, 200, seed=1).epoch(2) != plan_of(lengths, 200, seed=1).epoch(3)
    assert plan_of(lengths, 200, seed=1).epoch(2) != plan_of(lengths, 200, seed=2).epoch(2)
    assert plan_of(lengths, 200, seed=1, shuffle=False).epoch(2) == plan_of(lengths, 200, seed=2, shuffle=False).epoch(3)


def test_little_is_padding() -> None:
    dice = random.Random(0)
    lengths = [dice.randint(5, 300) for _ in range(400)]
    slots = sum(max(lengths[index] for index in batch) * len(batch) for batch in plan_of(lengths, 1024).epoch(1))
    assert sum(lengths) / slots > 0.8
    plain = [list(range(start, min(start + 8, 400))) for start in range(0, 400, 8)]
    assert slots < 0.8 * sum(max(lengths[index] for index in batch) * len(batch) for batch in plain)


def test_a_row_has_one_prefix() -> None:
    numbers = [0, 1, 0, 1, 0, 1, 0]
    plan = plan_of([12, 25, 11, 27, 15, 22, 10], 40, prefixes=SharedPrefixes(numbers, [10, 20]))
    rows = plan.epoch(0)
    assert sorted(index for row in rows for index in row) == list(range(7))
    assert all(len({numbers[index] for index in row}) == 1 for row in rows)
    assert len(rows) == 2, "2 + 1 + 5 + 0 behind a prefix of 10, and 5 + 7 + 2 behind one of 20"


def test_the_fingerprint_is_of_all_that_matters() -> None:
    def plan(**change: object) -> str:
        given = {
            "lengths": [3, 4],
            "targets": [1, 2],
            "sources": [ONE, OTHER],
            "budget": 9,
            "shuffle": True,
            "seed": 1,
            **change,
        }
        return Plan(**given).fingerprint  # type: ignore[arg-type]

    changes: list[dict[str, object]] = [
        {}, {"lengths": [4, 3]}, {"targets": [1, 3]}, {"sources": [ONE, ONE]}, {"budget": 8}, {"shuffle": False}, {"seed": 2},
        {"prefixes": SharedPrefixes([0, 0], [2])}, {"prefixes": SharedPrefixes([0, 0], [1])},
    ]  # fmt: skip
    assert plan() == plan()
    assert len({plan(**change) for change in changes}) == len(changes)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="a budget of 0 sub-words"):
        plan_of([1], 0)
