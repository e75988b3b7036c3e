"""Ranks' shares of a plan, what their optimizer steps teach, and going on in the middle of an epoch."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from clinical_ie.data.plan import Plan
from clinical_ie.data.sampler import PlannedBatch, PlanSampler
from clinical_ie.errors import SettingError
from clinical_ie.tasks.task import SourceName

LENGTHS = [3, 5, 2, 7, 4, 6, 1, 8, 9, 2, 3]
TARGETS = [10, 1, 100, 7, 20, 3, 50, 2, 9, 30, 4]


def sampler_of(
    rank: int = 0, ranks: int = 1, accumulated: int = 1, *, shuffle: bool = True, seed: int = 5, limit: float = float("inf"),
    lengths: Sequence[int] = LENGTHS, targets: Sequence[int] = TARGETS,
) -> PlanSampler:  # fmt: skip
    plan = Plan(lengths, targets, [SourceName("c", "t")] * len(lengths), 10, shuffle=shuffle, seed=seed)
    return PlanSampler(plan, rank=rank, ranks=ranks, accumulated=lambda: accumulated, limit=lambda: limit)


def batches_of(sampler: PlanSampler, epoch: int) -> list[PlannedBatch]:
    sampler.set_epoch(epoch)
    sampler.begin()
    return list(sampler)


@pytest.mark.parametrize("limit", [float("inf"), 3])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("accumulated", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_example_counts_once_in_a_step_that_knows_its_sum(ranks: int, accumulated: int, shuffle: bool, limit: float) -> None:
    for epoch in (0, 1):
        samplers = [sampler_of(rank, ranks, accumulated, shuffle=shuffle, limit=limit) for rank in range(ranks)]
        each = [batches_of(sampler, epoch) for sampler in samplers]
        assert {len(batches) for batches in each} == {int(min(limit, len(samplers[0])))}, "all ranks take equally many micro-steps"
        for first in range(0, len(each[0]), accumulated):
            step = [batch for batches in each for batch in batches[first : first + accumulated]]
            wanted = sum(TARGETS[index] for batch in step if batch.targets for index in batch.examples)
            assert {batch.step_targets for batch in step} == {wanted}
            assert sum(batch.targets for batch in step) == wanted
        seen = Counter(index for batches in each for batch in batches if batch.targets for index in batch.examples)
        assert set(seen.values()) == {1}, "what pads the last micro-step teaches nothing"
        if limit > len(each[0]):
            assert set(seen) == set(range(len(LENGTHS)))


def test_a_plan_by_hand() -> None:
    """Budget 10: lengths 1 2 2 | 3 3 | 4 5 | 6 | 7 | 8 | 9, so rows of their indices as below; two micro-steps make a step."""
    rows = [[6, 2, 9], [0, 10], [4, 1], [5], [3], [7], [8]]
    own = [180, 14, 21, 3, 7, 2, 9]
    one = [194, 194, 24, 24, 9, 9, 9]
    assert batches_of(sampler_of(0, 1, 2, shuffle=False), 0) == list(zip(rows, own, one, strict=True))
    two = [218, 218, 18, 18]
    assert batches_of(sampler_of(0, 2, 2, shuffle=False), 0) == list(zip(rows[::2], own[::2], two, strict=True))
    filled = [[0, 10], [5], [7], [6, 2, 9]]
    assert batches_of(sampler_of(1, 2, 2, shuffle=False), 0) == list(zip(filled, [14, 3, 2, 0], two, strict=True))


def test_epochs_in_turn_without_being_told_of_a_state() -> None:
    sampler = sampler_of()
    assert batches_of(sampler, 0) == batches_of(sampler, 0) != batches_of(sampler, 1)


@pytest.mark.parametrize("accumulated", [1, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_resumed_epoch_goes_on_as_if_nothing_had_been(ranks: int, accumulated: int) -> None:
    for rank in range(ranks):
        whole = batches_of(sampler_of(rank, ranks, accumulated), 3)
        for done in range(0, len(whole) + 1, accumulated):
            before, after = sampler_of(rank, ranks, accumulated), sampler_of(rank, ranks, accumulated)
            batches_of(before, 3)
            for _ in range(done):
                before.advance()
            after.load_state_dict(before.state_dict())
            assert batches_of(after, 3) == whole[done:]
            assert batches_of(after, 4) == batches_of(before, 4)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_other_ranks_share_out_what_is_left(before: int, after: int) -> None:
    """Nothing twice, nothing never, and steps end where Lightning ends them: counted back from an epoch's last micro-step."""
    dice = random.Random(2)
    lengths, targets = [dice.randint(1, 9) for _ in range(40)], [dice.randint(1, 50) for _ in range(40)]
    first = [sampler_of(rank, before, lengths=lengths, targets=targets) for rank in range(before)]
    shares = [batches_of(sampler, 2) for sampler in first]
    done = 4
    for _ in range(done):
        first[0].advance()
    state = first[0].state_dict()
    rest = [sampler_of(rank, after, 2, lengths=lengths, targets=targets) for rank in range(after)]
    for sampler in rest:
        sampler.load_state_dict(state)
    later = [batches_of(sampler, 2) for sampler in rest]
    seen = [batch for share in shares for batch in share[:done]] + [batch for share in later for batch in share]
    assert Counter(index for batch in seen if batch.targets for index in batch.examples) == Counter(range(40))
    micro_steps, left = len(rest[0]), len(later[0])
    steps: dict[int, list[PlannedBatch]] = {}
    for share in later:
        for number, batch in enumerate(share, micro_steps - left):
            steps.setdefault(number // 2, []).append(batch)
    for batches in steps.values():
        assert {batch.step_targets for batch in batches} == {sum(batch.targets for batch in batches)}


def test_a_state_of_another_plan_is_refused() -> None:
    with pytest.raises(SettingError, match="not those that the checkpoint is in the middle of"):
        sampler_of(seed=1).load_state_dict(sampler_of(seed=2).state_dict())


def test_a_rank_outside_its_number_is_refused() -> None:
    with pytest.raises(SettingError, match="rank 2 of 2"):
        sampler_of(2, 2)
