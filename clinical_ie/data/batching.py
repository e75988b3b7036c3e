"""Batches by a budget of sub-words: examples of like length together, so that little is padding."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import Sampler

from clinical_ie.errors import SettingError

_NOISE = 0.15


def budget_batches(lengths: Sequence[int], budget: int, *, noise: float = 0.0, seed: int | str = 0) -> list[list[int]]:
    """Indices in batches whose longest example times their number stays within a budget.

    Args:
        lengths: Sub-words of each example.
        budget: Most sub-words of a batch, padding included; an example longer than that is a batch of its own.
        noise: Lengths are compared after multiplying with a random factor in ``[1 - noise, 1 + noise]``, so that
            batches differ from epoch to epoch.
        seed: Of that factor.
    """
    generator = random.Random(seed)
    keys = [length * (1 + noise * (2 * generator.random() - 1)) for length in lengths] if noise else list(lengths)
    batches: list[list[int]] = []
    current: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda index: keys[index]):
        longest = max(longest, lengths[index])
        if current and longest * (len(current) + 1) > budget:
            batches.append(current)
            current, longest = [], lengths[index]
        current.append(index)
    if current:
        batches.append(current)
    return batches


class BudgetBatchSampler(Sampler[list[int]]):
    """Batches of one rank, the same on every start from the same seed and epoch.

    The plan of an epoch depends on seed and epoch alone; ranks take turns in it, and the last turn is
    filled up from the plan's beginning so that all ranks take the same number of steps. A resumed run goes
    on in the middle of an epoch by leaving out the batches that were done.

    Args:
        lengths: Sub-words of each example.
        budget: Most sub-words of a batch.
        shuffle: New batches in new order each epoch.
        seed: Of that.
        rank: Which share.
        ranks: How many shares.
        progress: Tells, when a pass begins, the epoch and how many of its batches are done already.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        budget: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        progress: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        if budget < 1 or ranks < 1 or not 0 <= rank < ranks:
            raise SettingError(f"budget {budget}, rank {rank} of {ranks}: expected a positive budget and a rank below their number")
        self.lengths, self.budget, self.shuffle, self.seed, self.rank, self.ranks = lengths, budget, shuffle, seed, rank, ranks
        self.progress = progress
        self._fixed = budget_batches(lengths, budget)

    def _plan(self, epoch: int) -> list[list[int]]:
        if not self.shuffle:
            return self._fixed
        # The number of batches must not change from epoch to epoch: schedules and progress count on it. Noise on the
        # lengths may ask for a batch more or less, so the budget gives way a little, or a large batch is halved.
        number = len(self._fixed)
        name = f"{self.seed}/{epoch}"
        budget = self.budget
        while len(plan := budget_batches(self.lengths, budget, noise=_NOISE, seed=name)) > number:
            budget += max(1, budget // 32)
        while len(plan) < number:
            largest = max(range(len(plan)), key=lambda place: len(plan[place]))
            batch = plan.pop(largest)
            plan += [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        random.Random(name).shuffle(plan)
        return plan

    def __iter__(self) -> Iterator[list[int]]:
        epoch, done = self.progress()
        plan = self._plan(epoch)
        short = -len(plan) % self.ranks
        plan = plan + [plan[index % len(plan)] for index in range(short)] if plan else plan
        yield from plan[self.rank :: self.ranks][done:]

    def __len__(self) -> int:
        return -(-len(self._fixed) // self.ranks)
