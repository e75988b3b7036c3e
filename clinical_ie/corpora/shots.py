"""Few-shot samples: a few documents of many, so that fewer are always among more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from clinical_ie.corpora.splits import position

T = TypeVar("T")


def choose(things: Sequence[T], count: int, seed: int, *, of: Callable[[T], str]) -> list[T]:
    """So many of some things, in their order, by the hash of their names: fewer are among more, and one more thing replaces one at most.

    Args:
        things: To choose from.
        count: How many; all where there are no more.
        seed: Another seed, another choice.
        of: The name of a thing.
    """
    places = sorted(range(len(things)), key=lambda place: position(of(things[place]), seed), reverse=True)
    return [things[place] for place in sorted(places[:count])]


def stratified(types: Mapping[str, Collection[str]], seed: int) -> list[str]:
    """Documents in an order whose beginnings hold as many types as they can, rare ones first: the first 5 are among the first 20.

    Step by step, the type that the fewest documents so far hold is wanted, of several the one that is rarest in all documents; the first
    document by hash (`position`) that holds it comes next. So a type gets a second document when all have one. A type that one
    document alone holds brings that document into every sample, whatever the seed: what varies is what can.

    Args:
        types: Document -> types of its mentions.
        seed: Another seed, another order.

    Reference:
        Yang and Katiyar, EMNLP 2020, Algorithm 1 (greedy sampling of sentences, rare types first); ours has no end, so that it nests.

    Example:
        >>> stratified({"a": ["Drug"], "b": ["Drug"], "c": ["Drug", "Allergy"], "d": []}, seed=0)[0]
        'c'
    """
    waiting = dict.fromkeys(sorted(types, key=lambda name: (position(name, seed), name), reverse=True))
    left = Counter(kind for kinds in types.values() for kind in set(kinds))
    rarity = {kind: place for place, kind in enumerate(sorted(left, key=lambda kind: (left[kind], kind)))}
    covered = dict.fromkeys(rarity, 0)
    found: list[str] = []
    while waiting:
        wanted = min((kind for kind in covered if left[kind]), key=lambda kind: (covered[kind], rarity[kind]), default=None)
        name = next(name for name in waiting if wanted is None or wanted in types[name])
        del waiting[name]
        found.append(name)
        for kind in set(types[name]):
            left[kind] -= 1
            covered[kind] += 1
    return found
