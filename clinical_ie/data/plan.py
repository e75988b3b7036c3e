"""Which examples make up the batches of every epoch, over all ranks."""

from __future__ import annotations

import hashlib
import heapq
import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from clinical_ie.data.batching import budget_batches, packed_batches
from clinical_ie.errors import SettingError
from clinical_ie.tasks.task import SourceName

_NOISE = 0.15


@dataclass(frozen=True, slots=True)
class SharedPrefixes:
    """Prefixes that a row holds once for all its examples: the number of each example's prefix, and the sub-words of each prefix."""

    numbers: Sequence[int]
    lengths: Sequence[int]


class Plan:
    """Batches of every epoch: a function of the examples, the seed and the number of the epoch, whoever takes which batch.

    Every epoch has the same number of batches, since schedules and progress count on it.

    Args:
        lengths: Sub-words of each example.
        targets: What each example teaches, in the terms of its task's loss.
        sources: Corpus and task of each example.
        budget: Most sub-words of a batch; a few per cent more in shuffled epochs.
        shuffle: New batches in new order each epoch.
        seed: Of that.
        prefixes: With them a batch is one packed row; without, rows are padded to the longest.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        targets: Sequence[int],
        sources: Sequence[SourceName],
        budget: int,
        *,
        shuffle: bool,
        seed: int = 0,
        prefixes: SharedPrefixes | None = None,
    ) -> None:
        if budget < 1:
            raise SettingError(f"a budget of {budget} sub-words; expected a positive number")
        self.lengths, self.targets, self.sources, self.prefixes = lengths, targets, sources, prefixes
        self.budget, self.shuffle, self.seed = budget, shuffle, seed
        self._fixed = self._batches(budget, 0.0, seed)

    def __len__(self) -> int:
        return len(self._fixed)

    def _batches(self, budget: int, noise: float, seed: int | str) -> list[list[int]]:
        if self.prefixes is None:
            return budget_batches(self.lengths, budget, noise=noise, seed=seed)
        numbers, shared = self.prefixes.numbers, self.prefixes.lengths
        own = [length - shared[number] for length, number in zip(self.lengths, numbers, strict=True)]
        return packed_batches(own, numbers, shared, budget, seed=seed)

    def epoch(self, number: int) -> list[list[int]]:
        """Indices of examples in batches, in the order of training."""
        if not self.shuffle:
            return self._fixed
        # Noise on the lengths may ask for a batch more or less than planned, so the budget gives way a little, or a large batch is halved.
        name = f"{self.seed}/{number}"
        budget = self.budget
        while len(plan := self._batches(budget, _NOISE, name)) > len(self):
            budget += max(1, budget // 32)
        largest = [(-len(batch), place, batch) for place, batch in enumerate(plan)]
        heapq.heapify(largest)
        while len(largest) < len(self):
            _, place, batch = heapq.heappop(largest)
            middle = len(batch) // 2
            for half, where in ((batch[:middle], place), (batch[middle:], len(largest) + 1)):
                heapq.heappush(largest, (-len(half), where, half))
        plan = [batch for _, _, batch in sorted(largest, key=lambda entry: entry[1])]
        random.Random(name).shuffle(plan)
        return plan

    @property
    def fingerprint(self) -> str:
        """A digest of all that the plan follows from."""
        digest = hashlib.sha256(repr((self.budget, self.shuffle, self.seed)).encode())
        numbers = [self.lengths, self.targets]
        if self.prefixes is not None:
            numbers += [self.prefixes.numbers, self.prefixes.lengths]
        for row in numbers:
            digest.update(array("q", row).tobytes() + b"/")
        digest.update("\n".join(map(str, self.sources)).encode())
        return digest.hexdigest()[:16]
