"""What became of each attribute of a mention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from clinical_ie.document import Attribute, Document, Entity
from clinical_ie.scoring.alignment import Alignment, Outcome

Side = list[tuple[Attribute, Entity]]
AttributePair = tuple[Outcome, tuple[Attribute, Entity] | None, tuple[Attribute, Entity] | None]
"""What became of it, as in gold, as predicted."""


def attribute_pairs(alignment: Alignment) -> Iterator[AttributePair]:
    """All attributes of mentions, of events those of their triggers.

    Attributes are compared where their mentions are paired: *correct* has type, value and mention as in gold, *boundary* another
    mention in its place (other boundaries or another type of mention), *type* another value, *boundary and type* both.
    """
    ours, theirs = _by_mention(alignment.gold), _by_mention(alignment.predicted)
    for pair in alignment.mentions:
        gold = [] if pair.gold is None else ours.get(alignment.gold.entities[pair.gold].id, [])
        predicted = [] if pair.predicted is None else theirs.get(alignment.predicted.entities[pair.predicted].id, [])
        exact = pair.outcome == "correct"
        yield from _joined(gold, predicted, "correct" if exact else "boundary", "label")
        yield from _joined(gold, predicted, "type" if exact else "boundary and type", "type")
        yield from (("missed", one, None) for one in gold)
        yield from (("spurious", None, one) for one in predicted)


def _joined(gold: Side, predicted: Side, outcome: Outcome, by: Literal["label", "type"]) -> Iterator[AttributePair]:
    """Take away those of both sides that are equal in this respect, each once."""
    for one in list(gold):
        match = next((other for other in predicted if getattr(other[0], by) == getattr(one[0], by)), None)
        if match is not None:
            gold.remove(one)
            predicted.remove(match)
            yield outcome, one, match


def _by_mention(document: Document) -> dict[str, Side]:
    found: dict[str, Side] = {}
    for attribute, mention in document.mention_attributes():
        found.setdefault(mention.id, []).append((attribute, mention))
    return found
