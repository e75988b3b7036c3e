"""Which examples make up the batches of every epoch, over all ranks."""

from __future__ import annotations

import hashlib
import heapq
import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clinical_ie.data.batching import budget_batches, packed_batches
from clinical_ie.data.mixing import Mixing, Taught, taught
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

    An epoch takes of each source as many examples as `mixing` says: by systematic sampling from its examples in order of length, one
    place further with each epoch. So all examples of a source are used equally often (counts differ by one at most, whatever the number
    of epochs), all epochs have examples of about the same lengths, and no epoch depends on another. Every epoch has the same number of
    batches, since schedules and progress count on it.

    Args:
        lengths: Sub-words of each example.
        targets: What each example teaches, in the terms of its task's loss.
        sources: The corpus and task of each example.
        budget: Most sub-words of a batch; up to a sixteenth more in shuffled epochs. Packed rows of a few dozen batches may need more.
        shuffle: New batches in new order each epoch.
        seed: Of that.
        prefixes: With them a batch is one packed row; without, rows are padded to the longest.
        mixing: How many examples of each source an epoch has; each once where it is None.

    Raises:
        SettingError: A budget of nothing, or no such mixture.

    Reference: Madow and Madow, On the theory of systematic sampling (1944).
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
        mixing: Mixing | None = None,
    ) -> None:
        if budget < 1:
            raise SettingError(f"a budget of {budget} sub-words; expected a positive number")
        self.lengths, self.targets, self.sources, self.prefixes = lengths, targets, sources, prefixes
        self.budget, self.shuffle, self.seed = budget, shuffle, seed
        self._order: dict[SourceName, list[int]] = {}
        for index, source in enumerate(sources):
            self._order.setdefault(source, []).append(index)
        self.sizes = {source: len(members) for source, members in self._order.items()}
        self.counts = (mixing or Mixing()).counts(self.sizes)
        self._first: dict[SourceName, int] = {}
        for source, members in self._order.items():
            dice = random.Random(f"{seed}/{source}")
            dice.shuffle(members)
            members.sort(key=lengths.__getitem__)
            self._first[source] = dice.randrange(len(members))
        self._batches_of_longest = len(self._batches(sorted(self._longest()), budget, 0.0, seed))

    def __len__(self) -> int:
        return self._batches_of_longest

    def members(self, epoch: int) -> list[int]:
        """Indices of an epoch's examples, in order; several times where a source is passed over more than once."""
        found: list[int] = []
        for source, order in self._order.items():
            size, count, first = len(order), self.counts[source], self._first[source] + epoch
            found += [order[(first + place * size // count) % size] for place in range(count)]
        return sorted(found)

    def _longest(self) -> Iterator[int]:
        """What no epoch is longer than: of each source its longest examples, as far apart as those of an epoch.

        Of the longest ``n`` examples of a source an epoch has at most ``n * count / size``, rounded up, so its k-th longest is no longer
        than the k-th of these.
        """
        for source, order in self._order.items():
            size, count = len(order), self.counts[source]
            yield from (order[size - 1 - place * size // count] for place in range(count))

    def _batches(self, members: list[int], budget: int, noise: float, seed: int | str) -> list[list[int]]:
        lengths = [self.lengths[index] for index in members]
        if self.prefixes is None:
            batches = budget_batches(lengths, budget, noise=noise, seed=seed)
        else:
            numbers, shared = [self.prefixes.numbers[index] for index in members], self.prefixes.lengths
            own = [length - shared[number] for length, number in zip(lengths, numbers, strict=True)]
            batches = packed_batches(own, numbers, shared, budget, seed=seed)
        return [[members[place] for place in batch] for batch in batches]

    def epoch(self, number: int) -> list[list[int]]:
        """Indices of examples in batches, in the order of training."""
        members = self.members(number)
        if not self.shuffle:
            return self._filled(self._batches(members, self.budget, 0.0, self.seed))
        name = f"{self.seed}/{number}"
        plan = self._filled(next(plan for plan in self._tries(members, name) if len(plan) <= len(self)))
        random.Random(name).shuffle(plan)
        return plan

    def _tries(self, members: list[int], name: str) -> Iterator[list[list[int]]]:
        """Ways to batch the examples, until one needs no more batches than are planned.

        Noise on the lengths may ask for more, so the budget gives way a little, and then the noise, without which padded rows are as
        few as planned. Packed rows know no noise: their order may ask for more, and only the budget gives way.
        """
        if self.prefixes is None:
            for noise in (_NOISE, _NOISE / 3):
                for more in (0, self.budget // 32, self.budget // 16):
                    yield self._batches(members, self.budget + more, noise, name)
        budget = self.budget
        while True:
            yield self._batches(members, budget, 0.0, name)
            budget += max(1, budget // 32)

    def _filled(self, plan: list[list[int]]) -> list[list[int]]:
        """As many batches as are planned: the largest are halved."""
        largest = [(-len(batch), place, batch) for place, batch in enumerate(plan)]
        heapq.heapify(largest)
        while len(largest) < len(self):
            _, place, batch = heapq.heappop(largest)
            middle = len(batch) // 2
            for half, where in ((batch[:middle], place), (batch[middle:], len(largest) + 1)):
                heapq.heappush(largest, (-len(half), where, half))
        return [batch for _, _, batch in sorted(largest, key=lambda entry: entry[1])]

    def taught(self, epoch: int, batches: float = float("inf")) -> Taught:
        """What the first so many batches of an epoch teach, by source."""
        whole = batches >= len(self)
        indices = self.members(epoch) if whole else [index for batch in self.epoch(epoch)[: int(batches)] for index in batch]
        return taught((self.sources[index] for index in indices), (self.targets[index] for index in indices))

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
        digest.update(repr([(str(source), number) for source, number in self.counts.items()]).encode())
        return digest.hexdigest()[:16]
