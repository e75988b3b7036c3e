"""Which predicted annotation stands for which gold one, and what is wrong with it.

The counts of a score say how many are wrong; this says which. What is `correct` is what `StrictOneToOne` counts as a true positive under
strict comparison. What is left on both sides is paired by shared characters, one to one, in an order that gives an error its mildest
name: the same type at other boundaries, another type at the same boundaries, both; the rest is missed or spurious. So every gold
annotation that strict comparison does not find has exactly one name, and so has every predicted one that is not gold.

A lenient true positive is mostly `correct` or `boundary`. Correct pairs are kept here even where a matching by overlap alone would find a
pair more without them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from clinical_ie.document import Document, Entity
from clinical_ie.scoring.matching import matching, overlapping

Outcome = Literal["correct", "boundary", "type", "boundary and type", "missed", "spurious"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
ERRORS = OUTCOMES[1:]
Link = tuple[str, str, Entity, Entity]
"""What `Document.links` gives: id, type, head, tail."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A gold and a predicted annotation by their places in their documents; None where there is no counterpart."""

    outcome: Outcome
    gold: int | None
    predicted: int | None


@dataclass(frozen=True, slots=True)
class Alignment:
    """Two documents with one text, mentions that a line end breaks joined, and how their annotations correspond.

    Places of `mentions` are those in ``gold.entities`` and ``predicted.entities``, places of `links` those in `gold_links` and
    `predicted_links`.
    """

    gold: Document
    predicted: Document
    gold_links: tuple[Link, ...]
    predicted_links: tuple[Link, ...]
    mentions: tuple[Pair, ...]
    links: tuple[Pair, ...]

    @classmethod
    def of(cls, gold: Document, predicted: Document) -> Alignment:
        """Align two documents."""
        gold, predicted = gold.joined(), predicted.joined()
        ours, theirs = tuple(gold.links()), tuple(predicted.links())
        near = _overlaps(gold.entities, predicted.entities)
        mentions = _mentions(gold.entities, predicted.entities, near)
        return cls(gold, predicted, ours, theirs, mentions, _links(gold, predicted, ours, theirs, near))


def mentions_alone(document: Document) -> Document:
    """The document without links and all that is said of them, for predictions of mentions alone."""
    there = {entity.id for entity in document.entities}
    return Document(
        document.id,
        document.text,
        document.entities,
        attributes=tuple(one for one in document.attributes if one.target in there),
        normalizations=tuple(one for one in document.normalizations if one.target in there),
        comments=tuple(one for one in document.comments if one.target in there),
    )


def _overlaps(gold: Sequence[Entity], predicted: Sequence[Entity]) -> list[list[int]]:
    """For every predicted mention the gold ones that share a character, those that share most first."""
    rows = overlapping([(entity.start, entity.end) for entity in predicted], [(entity.start, entity.end) for entity in gold])
    found = []
    for entity, row in zip(predicted, rows, strict=True):
        shared = {place: _shared(entity, gold[place]) for place in row}
        found.append(sorted([place for place in row if shared[place]], key=lambda place: -shared[place]))
    return found


def _shared(one: Entity, other: Entity) -> int:
    return sum(max(0, min(b, d) - max(a, c)) for a, b in one.span.fragments for c, d in other.span.fragments)


def _mentions(gold: Sequence[Entity], predicted: Sequence[Entity], near: Sequence[Sequence[int]]) -> tuple[Pair, ...]:
    pairing = _Pairing(len(gold), len(predicted))
    pairing.equal([(one.type, one.span) for one in gold], [(one.type, one.span) for one in predicted])

    def options(wanted: Callable[[Entity, Entity], bool]) -> Callable[[int], Iterable[int]]:
        return lambda place: [other for other in near[place] if wanted(gold[other], predicted[place])]

    pairing.largest("boundary", options(lambda one, other: one.type == other.type))
    pairing.largest("type", options(lambda one, other: one.span == other.span))
    pairing.largest("boundary and type", options(lambda one, other: True))
    return pairing.pairs()


def _links(
    gold: Document, predicted: Document, ours: Sequence[Link], theirs: Sequence[Link], near: Sequence[Sequence[int]]
) -> tuple[Pair, ...]:
    pairing = _Pairing(len(ours), len(theirs))
    pairing.equal(*([(name, head.type, head.span, tail.type, tail.span) for _, name, head, tail in side] for side in (ours, theirs)))
    places = {entity.id: place for place, entity in enumerate(predicted.entities)}
    by_ends: dict[tuple[str, str], list[int]] = {}
    for place, (_, _, head, tail) in enumerate(ours):
        by_ends.setdefault((head.id, tail.id), []).append(place)

    def options(wanted: Callable[[Link, Link], bool]) -> Callable[[int], Iterable[int]]:
        def found(place: int) -> Iterable[int]:
            _, _, head, tail = theirs[place]
            for first in near[places[head.id]]:
                for second in near[places[tail.id]]:
                    for other in by_ends.get((gold.entities[first].id, gold.entities[second].id), ()):
                        if wanted(ours[other], theirs[place]):
                            yield other

        return found

    pairing.largest("boundary", options(lambda one, other: _names(one) == _names(other)))
    pairing.largest("type", options(lambda one, other: one[2].span == other[2].span and one[3].span == other[3].span))
    pairing.largest("boundary and type", options(lambda one, other: True))
    return pairing.pairs()


def _names(link: Link) -> tuple[str, str, str]:
    return link[1], link[2].type, link[3].type


class _Pairing:
    """Pairs of two lists, found round by round among those that have no partner yet."""

    def __init__(self, gold: int, predicted: int) -> None:
        self._gold: list[Pair | None] = [None] * gold
        self._predicted: list[Pair | None] = [None] * predicted

    def _join(self, outcome: Outcome, gold: int, predicted: int) -> None:
        self._gold[gold] = self._predicted[predicted] = Pair(outcome, gold, predicted)

    def equal(self, gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> None:
        """Pair equal keys, each once."""
        free: dict[Hashable, list[int]] = {}
        for place, key in enumerate(gold):
            free.setdefault(key, []).append(place)
        for row in free.values():
            row.reverse()  # so that the first comes first
        for place, key in enumerate(predicted):
            if row := free.get(key, []):
                self._join("correct", row.pop(), place)

    def largest(self, outcome: Outcome, options: Callable[[int], Iterable[int]]) -> None:
        """Pair as many of the others as can be, given the gold places that each predicted place may be paired with."""
        left = [place for place, pair in enumerate(self._predicted) if pair is None]
        rows = [[other for other in options(place) if self._gold[other] is None] for place in left]
        for place, other in matching(rows).items():
            self._join(outcome, other, left[place])

    def pairs(self) -> tuple[Pair, ...]:
        """All gold annotations in their order, then what is spurious."""
        gold = [pair or Pair("missed", place, None) for place, pair in enumerate(self._gold)]
        return (*gold, *(Pair("spurious", None, place) for place, pair in enumerate(self._predicted) if pair is None))
