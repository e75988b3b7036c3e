"""Token-budget batches of examples of similar length (length bucketing), and packed rows behind shared prefixes (sequence packing).

Reference: Krell et al., Efficient sequence packing without cross-contamination (2021), for packing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import Sampler

from clinical_ie.errors import SettingError

_NOISE = 0.15
_OPEN_ROWS = 8


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


def packed_batches(
    suffix_lengths: Sequence[int], prefixes: Sequence[int], prefix_lengths: Sequence[int], budget: int, *, seed: int | str = 0
) -> list[list[int]]:
    """Indices in batches that fit into one row, which holds each shared prefix once (first-fit packing).

    Args:
        suffix_lengths: Sub-words of each example without its prefix.
        prefixes: For each example, the index of its prefix.
        prefix_lengths: Sub-words of each prefix.
        budget: Most sub-words of a row; an example longer than that is a row of its own.
        seed: Of the order in which examples are packed.
    """
    order = list(range(len(suffix_lengths)))
    random.Random(seed).shuffle(order)
    batches: list[list[int]] = []
    free: list[int] = []
    open_rows: dict[int, list[int]] = {}
    for index in order:
        # the first of the last few open rows with the same prefix and enough free tokens
        rows = open_rows.setdefault(prefixes[index], [])
        found = next((row for row in rows if free[row] >= suffix_lengths[index]), None)
        if found is None:
            batches.append([])
            free.append(budget - prefix_lengths[prefixes[index]])
            found = len(batches) - 1
            rows.append(found)
            del rows[:-_OPEN_ROWS]
        batches[found].append(index)
        free[found] -= suffix_lengths[index]
    return batches


class BudgetBatchSampler(Sampler[list[Any]]):
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
        progress: Gives, when an epoch begins, its number and how many of its batches are done already.
        batches: Makes batches of a budget, noise and a seed; by default `budget_batches` of the lengths.
        targets: Target tokens of each example. With it, indices come with the sum over the whole optimizer step: all ranks
            and all batches whose gradients are accumulated.
        accumulated: Number of accumulated batches.
        limit: Gives, when an epoch begins, after how many batches it will end (``limit_train_batches``).
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
        batches: Callable[[int, float, int | str], list[list[int]]] | None = None,
        targets: Sequence[int] | None = None,
        accumulated: int = 1,
        limit: Callable[[], float] = lambda: float("inf"),
    ) -> None:
        if budget < 1 or ranks < 1 or not 0 <= rank < ranks:
            raise SettingError(f"budget {budget}, rank {rank} of {ranks}: expected a positive budget and a rank below their number")
        self.lengths, self.budget, self.shuffle, self.seed, self.rank, self.ranks = lengths, budget, shuffle, seed, rank, ranks
        self.progress = progress
        self.targets, self.accumulated, self.limit = targets, accumulated, limit
        self._batches = batches or (lambda budget, noise, seed: budget_batches(lengths, budget, noise=noise, seed=seed))
        self._fixed = self._batches(budget, 0.0, seed)

    def _plan(self, epoch: int) -> list[list[int]]:
        if not self.shuffle:
            return self._fixed
        # The number of batches must not change from epoch to epoch: schedules and progress count on it. Noise on the
        # lengths may ask for a batch more or less, so the budget gives way a little, or a large batch is halved.
        number = len(self._fixed)
        name = f"{self.seed}/{epoch}"
        budget = self.budget
        while len(plan := self._batches(budget, _NOISE, name)) > number:
            budget += max(1, budget // 32)
        while len(plan) < number:
            largest = max(range(len(plan)), key=lambda place: len(plan[place]))
            batch = plan.pop(largest)
            plan += [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        random.Random(name).shuffle(plan)
        return plan

    def __iter__(self) -> Iterator[list[Any]]:
        epoch, done = self.progress()
        plan = self._plan(epoch)
        short = -len(plan) % self.ranks
        plan = plan + [plan[index % len(plan)] for index in range(short)] if plan else plan
        mine = plan[self.rank :: self.ranks]
        if self.targets is None:
            yield from mine[done:]
            return
        width = self.accumulated * self.ranks
        plan = plan[: int(min(len(plan), self.limit() * self.ranks))]
        for number, batch in enumerate(mine[done:], done):
            step = plan[number // self.accumulated * width :][:width]
            total = sum(self.targets[index] for other in step for index in other)
            yield [(index, total) for index in batch]

    def __len__(self) -> int:
        return -(-len(self._fixed) // self.ranks)
