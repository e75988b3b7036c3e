from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.data.mixing import Equal, Mixing, UniMax
from clinical_ie.data.plan import Plan, SharedPrefixes
from clinical_ie.errors import SettingError
from clinical_ie.tasks.task import SourceName

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)
A, B, C = (SourceName(corpus, "t") for corpus in "abc")


def plan_of(lengths: Sequence[int], budget: int, *, seed: int = 0, shuffle: bool = True, **options: Any) -> Plan:
    return Plan(lengths, lengths, [C] * len(lengths), budget, shuffle=shuffle, seed=seed, **options)


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
        given: dict[str, Any] = {"lengths": [3, 4], "targets": [1, 2], "sources": [A, B], "budget": 9, "shuffle": True, "seed": 1, **change}
        return Plan(**given).fingerprint

    changes: list[dict[str, object]] = [
        {}, {"lengths": [4, 3]}, {"targets": [1, 3]}, {"sources": [A, A]}, {"budget": 8}, {"shuffle": False}, {"seed": 2},
        {"prefixes": SharedPrefixes([0, 0], [2])}, {"prefixes": SharedPrefixes([0, 0], [1])}, {"mixing": Mixing(examples=4)},
    ]  # fmt: skip
    assert plan() == plan()
    assert len({plan(**change) for change in changes}) == len(changes)
    assert plan(mixing=Equal()) == plan(), "the same mixture by another name"


def mixture(lengths: Sequence[Sequence[int]], mixing: Mixing, budget: int, seed: int, **options: Any) -> Plan:
    """A plan of so many examples of each source."""
    sources = [SourceName(f"c{place}", "t") for place, own in enumerate(lengths) for _ in own]
    flat = list(chain.from_iterable(lengths))
    return Plan(flat, flat, sources, budget, shuffle=True, seed=seed, mixing=mixing, **options)


MIXINGS = st.sampled_from(
    [Mixing(), Mixing(corpus_weights={"c0": 3.5}), Equal(), Equal(examples=50), UniMax(max_passes=1.5), Mixing(corpus_weights={"c1": 0})]
)
SOURCES = st.lists(st.lists(st.integers(1, 300), min_size=8, max_size=40), min_size=2, max_size=4)


@given(SOURCES, MIXINGS, st.integers(50, 600), st.integers(0, 3))
def test_all_examples_of_a_source_are_used_equally_often(lengths: list[list[int]], mixing: Mixing, budget: int, seed: int) -> None:
    plan, used = mixture(lengths, mixing, budget, seed), Counter[int]()
    for epoch in range(12):
        batches = plan.epoch(epoch)
        assert len(batches) == len(plan)
        assert all(batches)
        used.update(index for batch in batches for index in batch)
        for source, size in plan.sizes.items():
            found = [used[index] for index, own in enumerate(plan.sources) if own == source]
            assert sum(found) == (epoch + 1) * plan.counts[source]
            assert max(found) - min(found) <= 1, (source, size)


@given(SOURCES, MIXINGS, st.integers(50, 600), st.integers(0, 3), st.integers(0, 50))
def test_no_padded_batch_grows_by_more_than_a_sixteenth(
    lengths: list[list[int]], mixing: Mixing, budget: int, seed: int, epoch: int
) -> None:
    plan = mixture(lengths, mixing, budget, seed)
    for batch in plan.epoch(epoch):
        assert len(batch) == 1 or max(plan.lengths[index] for index in batch) * len(batch) <= budget * 17 / 16


@pytest.mark.parametrize("mixing", [Mixing(), Mixing(examples=150), Equal(), UniMax(max_passes=2)])
@pytest.mark.parametrize("packed", [False, True])
def test_epochs_are_alike(packed: bool, mixing: Mixing) -> None:
    """Lengths from 5 to 1,500, 20 to 240 of a source: as many examples of a source, sub-words but for an example, full batches."""
    dice = random.Random(1)
    lengths = [
        [min(1500, 5 + int(dice.lognormvariate(4 + place / 2, 0.7))) for _ in range(size)] for place, size in enumerate((240, 90, 20))
    ]
    numbers = [place for place, own in enumerate(lengths) for _ in own]
    prefixes = SharedPrefixes(numbers, [0, 0, 0])
    plan = mixture(lengths, mixing, 2048, 3, **({"prefixes": prefixes} if packed else {}))
    totals = []
    for epoch in range(15):
        batches = plan.epoch(epoch)
        rows = [[plan.lengths[index] for index in batch] for batch in batches]
        assert max(sum(row) if packed else max(row) * len(row) for row in rows) <= 2048 * 17 / 16
        totals.append(sum(map(sum, rows)))
        assert Counter(plan.sources[index] for batch in batches for index in batch) == plan.counts
    assert max(totals) - min(totals) <= sum(map(max, lengths)), "of a source no more than its longest example"
    assert min(totals) > 0.6 * 2048 * len(plan)


def test_an_epoch_mixes_sources_in_its_batches() -> None:
    plan = mixture([[10] * 40, [10] * 10], Equal(), 100, 0)
    batches = plan.epoch(0)
    assert sum(len({plan.sources[index] for index in batch}) > 1 for batch in batches) > len(batches) / 2
    assert plan.members(0) != plan.members(1) != mixture([[10] * 40, [10] * 10], Equal(), 100, 1).members(1)


def test_what_an_epoch_teaches() -> None:
    """By hand: 3 of 6 examples of one source and 2 of 2 of the other; lengths are targets."""
    plan = mixture([[5] * 6, [7, 9]], Mixing(corpus_weights={"c1": 2}, examples=5), 100, 0)
    assert plan.taught(4) == {("c0/t", "examples"): 3, ("c0/t", "targets"): 15, ("c1/t", "examples"): 2, ("c1/t", "targets"): 16}
    plan = mixture([[5] * 6, [7, 9]], Mixing(), 15, 0)
    parts = [plan.taught(2, batches) for batches in range(len(plan) + 1)]
    first = plan.epoch(2)[0]
    assert sum(parts[1].values()) == sum(plan.targets[index] + 1 for index in first)
    assert parts[0] == {}
    assert parts[-1] == plan.taught(2)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="a budget of 0 sub-words"):
        plan_of([1], 0)
