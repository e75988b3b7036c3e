from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.data.batching import BudgetBatchSampler, budget_batches
from clinical_ie.errors import SettingError

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 600))
def test_every_example_once_and_no_batch_over_budget(lengths: list[int], budget: int) -> None:
    batches = budget_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= budget


@given(LENGTHS, st.integers(50, 600), st.integers(0, 5), st.integers(1, 3))
def test_ranks_share_an_epoch(lengths: list[int], budget: int, epoch: int, ranks: int) -> None:
    samplers = [
        BudgetBatchSampler(lengths, budget, shuffle=True, seed=3, rank=rank, ranks=ranks, progress=lambda: (epoch, 0))
        for rank in range(ranks)
    ]
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(samplers[0])}
    assert {index for share in shares for batch in share for index in batch} == set(range(len(lengths)))


def test_same_seed_same_plan_and_epochs_differ() -> None:
    lengths = [random.Random(1).randint(5, 90) for _ in range(80)]

    def plan(seed: int, epoch: int, done: int = 0) -> list[list[int]]:
        return list(BudgetBatchSampler(lengths, 200, shuffle=True, seed=seed, progress=lambda: (epoch, done)))

    assert plan(1, 2) == plan(1, 2)
    assert plan(1, 2) != plan(1, 3)
    assert plan(1, 2) != plan(2, 2)
    assert plan(1, 2, done=4) == plan(1, 2)[4:]
    assert len({len(plan(1, epoch)) for epoch in range(20)}) == 1


def test_little_is_padding() -> None:
    dice = random.Random(0)
    lengths = [dice.randint(5, 300) for _ in range(400)]
    sampler = BudgetBatchSampler(lengths, 1024, shuffle=True, progress=lambda: (1, 0))
    slots = sum(max(lengths[index] for index in batch) * len(batch) for batch in sampler)
    assert sum(lengths) / slots > 0.8
    plain = [list(range(start, min(start + 8, 400))) for start in range(0, 400, 8)]
    assert slots < 0.8 * sum(max(lengths[index] for index in batch) * len(batch) for batch in plain)


def test_a_rank_outside_its_number_is_refused() -> None:
    with pytest.raises(SettingError, match="rank 2 of 2"):
        BudgetBatchSampler([1], 10, shuffle=False, rank=2, ranks=2)
