"""How many examples of each source an epoch has: proportional, equal, temperature and UniMax mixing.

A source is a corpus and a task. Shares are of examples; they are rounded by largest remainders, so that an epoch has as many as it should.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.tasks.task import SourceName

_DIGITS = 9
"""Shares that differ by less are equal, so that the last bit of a power decides nothing."""


class Mixing:
    """Proportional mixing: sources in proportion to their sizes, which without weights is every example once an epoch.

    Args:
        corpus_weights: Corpus -> what its shares are multiplied by; 1 where it is not named, 0 leaves it out of training and of what
            chooses the best checkpoint.
        task_weights: Task -> likewise.
        most_documents: Corpus -> most of its training documents, by hash of their ids: fewer are among more.
        examples: Of an epoch; by default as many as there are of the sources that have a weight.

    Raises:
        SettingError: A weight that is no number from 0, or an epoch or a corpus of nothing.
    """

    def __init__(
        self,
        *,
        corpus_weights: dict[str, float] | None = None,
        task_weights: dict[str, float] | None = None,
        most_documents: dict[str, int] | None = None,
        examples: int | None = None,
    ) -> None:
        self.corpus_weights, self.task_weights = dict(corpus_weights or {}), dict(task_weights or {})
        self.most_documents, self.examples = dict(most_documents or {}), examples
        for setting, weights in (("corpus_weights", self.corpus_weights), ("task_weights", self.task_weights)):
            for name, weight in weights.items():
                if not 0 <= weight < math.inf:
                    raise SettingError(f"data.mixing.{setting}.{name} is {weight}; expected a number from 0, which leaves it out")
        for name, most in self.most_documents.items():
            if most < 1:
                raise SettingError(
                    f"data.mixing.most_documents.{name} is {most}; expected 1 or more, or leave the corpus out (corpus_weights.{name}: 0)"
                )
        if examples is not None and examples < 1:
            raise SettingError(f"data.mixing.examples is {examples}; expected 1 or more, or null for as many as there are")

    def check(self, corpora: Collection[str], tasks: Collection[str], left_out: Collection[str] = ()) -> None:
        """Hold names against those that there are.

        Args:
            corpora: Those that take part.
            tasks: Likewise.
            left_out: Corpora that may stand for nothing.

        Raises:
            SettingError: A name of none of them.
        """
        for setting, given, kind, known in (
            ("corpus_weights", self.corpus_weights, "corpora", corpora),
            ("most_documents", self.most_documents, "corpora", corpora),
            ("task_weights", self.task_weights, "tasks", tasks),
        ):
            others = left_out if kind == "corpora" else ()
            for name in sorted(given.keys() - set(known) - set(others)):
                there = f"the {kind} are {', '.join(sorted(known))}{did_you_mean(name, known)}"
                raise SettingError(f"data.mixing.{setting} names {name!r}; {there}")

    def base(self, size: int) -> float:
        """What the share of a source of so many examples is in proportion to, before weights."""
        return size

    def most(self, size: int) -> float:
        """Most examples that an epoch may have of a source of so many."""
        return math.inf

    def counts(self, sizes: Mapping[SourceName, int]) -> dict[SourceName, int]:
        """How many examples of each source an epoch has.

        What a source may not have (`most`) is shared out among the others, beginning with the source that reaches its end first.

        Args:
            sizes: Examples of each source, at least one.

        Returns:
            The sources in the order in which they were given; 0 for those that a weight leaves out.

        Raises:
            SettingError: Nothing has a weight, an epoch would be longer than may be, or would have nothing of a source.
        """
        weights = {source: self.weight(source) * self.base(size) for source, size in sizes.items()}
        mixed = {source: weight for source, weight in weights.items() if weight > 0}
        if not mixed:
            raise SettingError(f"data.mixing gives no weight to any of {_listed(sizes)}; give one of them a weight above 0")
        examples = sum(sizes[source] for source in mixed) if self.examples is None else self.examples
        most = {source: self.most(sizes[source]) for source in mixed}
        if (longest := sum(most.values())) < examples:
            raise SettingError(
                f"an epoch of {examples:,} examples is longer than data.mixing allows, {int(longest):,}; give fewer (data.mixing.examples)"
                " or more passes (data.mixing.max_passes)"
            )
        quotas: dict[SourceName, float] = {}
        for source in sorted(mixed, key=lambda source: (most[source] / mixed[source], source)):
            left = examples - sum(quotas.values())
            share = mixed[source] / sum(weight for other, weight in mixed.items() if other not in quotas)
            quotas[source] = round(min(left * share, most[source]), _DIGITS)
        found = _rounded(quotas, examples)
        if nothing := [source for source in mixed if not found[source]]:
            raise SettingError(
                f"an epoch of {examples:,} examples would have none of {_listed(nothing)}; give more examples (data.mixing.examples), more"
                " weight, or the weight 0, which leaves it out"
            )
        return {source: found.get(source, 0) for source in sizes}

    def weight(self, source: SourceName) -> float:
        """What the share of a source is multiplied by; 0 leaves it out of training and of the choice of the best checkpoint."""
        return self.corpus_weights.get(source.corpus, 1.0) * self.task_weights.get(source.task, 1.0)


class Equal(Mixing):
    """Equal mixing: as many examples of each source, however small it is.

    Args:
        options: See `Mixing`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def base(self, size: int) -> float:  # noqa: D102
        return 1.0


class Temperature(Mixing):
    """Temperature-scaled mixing: shares in proportion to sizes to the power of 1/T; 1 is proportional, more comes nearer to equal.

    Args:
        temperature: T, above 0.
        options: See `Mixing`.

    Raises:
        SettingError: No such temperature.

    Reference: Raffel et al., Exploring the limits of transfer learning (2020), section 3.5.2, without its limit on sizes.
    """

    def __init__(self, *, temperature: float, **options: Any) -> None:
        super().__init__(**options)
        if not 0 < temperature < math.inf:
            raise SettingError(f"data.mixing.temperature is {temperature}; expected a number above 0, such as 2 (1 is proportional)")
        self.temperature = temperature

    def base(self, size: int) -> float:  # noqa: D102
        return float(size ** (1 / self.temperature))


class UniMax(Equal):
    """UniMax: equal shares, but at most so many passes over a small source; the rest is shared out among the larger ones.

    Args:
        max_passes: Most passes over a source in an epoch.
        options: See `Mixing`.

    Raises:
        SettingError: So few passes that an epoch has nothing.

    Reference: Chung et al., UniMax (2023), algorithm 1, with examples in place of characters and an epoch in place of a training.
    """

    def __init__(self, *, max_passes: float, **options: Any) -> None:
        super().__init__(**options)
        if not max_passes > 0:
            raise SettingError(f"data.mixing.max_passes is {max_passes}; expected a number above 0, such as 2")
        self.max_passes = max_passes

    def most(self, size: int) -> float:  # noqa: D102
        return self.max_passes if math.isinf(self.max_passes) else math.floor(self.max_passes * size)


Taught = Counter[tuple[str, str]]
"""``CORPUS/TASK`` and ``examples`` or ``targets`` -> how many."""


def taught(sources: Iterable[SourceName], targets: Iterable[int]) -> Taught:
    """Count examples, and what they teach, by source."""
    found: Taught = Counter()
    for source, count in zip(sources, targets, strict=True):
        found[str(source), "examples"] += 1
        found[str(source), "targets"] += count
    return found


def _rounded(quotas: Mapping[SourceName, float], total: int) -> dict[SourceName, int]:
    """Whole numbers that add up: the largest remainders are rounded up, of equal ones those whose names come first."""
    found = {source: math.floor(quota) for source, quota in quotas.items()}
    remainders = sorted(quotas, key=lambda source: (round(found[source] - quotas[source], _DIGITS), source))
    for source in remainders[: total - sum(found.values())]:
        found[source] += 1
    return found


def _listed(sources: Iterable[SourceName]) -> str:
    return ", ".join(map(str, sources))
