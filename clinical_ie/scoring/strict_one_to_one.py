"""The default rules: every annotation is matched at most once, as many as can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from clinical_ie.document import Document, Entity, Span
from clinical_ie.scoring.counts import KINDS, Counts, DocumentCounts, Mode, TypeCounts
from clinical_ie.scoring.matching import (
    LinkKey,
    MentionKey,
    lenient_matching_size,
    link_partners,
    matching_size,
    overlapping_keys,
)
from clinical_ie.scoring.rule_set import RuleSet

AttributeKey = tuple[str, MentionKey]
"""Type with its value, and the mention that bears it."""
K = TypeVar("K", MentionKey, LinkKey, AttributeKey)


class StrictOneToOne(RuleSet):
    """Ours, the default: every document counts, every annotation is matched once, the matching is maximal.

    Strict compares type and all fragments, lenient type and any shared character. Fragments that only white space
    parts, such as those of a mention that a line end breaks, are joined on both sides first. Event arguments count as
    relations from the trigger, named by their role. Attributes of mentions (and of events, whose triggers stand for them) are
    compared by type, value and mention, and named by type and value (``POLARITY=NEG``).
    """

    name = "strict-one-to-one"
    files = "union"
    macro = "types"
    kinds = KINDS

    def count(self, gold: Document, predicted: Document) -> DocumentCounts:
        """The counts of one document."""
        gold, predicted = gold.joined(), predicted.joined()
        ours, theirs = _mention_keys(gold), _mention_keys(predicted)
        our_links = [(name, _key(head), _key(tail)) for _, name, head, tail in gold.links()]
        their_links = [(name, _key(head), _key(tail)) for _, name, head, tail in predicted.links()]
        entities: dict[Mode, TypeCounts] = {"strict": _equal_keys(ours, theirs), "lenient": self._lenient_mentions(gold, predicted)}
        relations: dict[Mode, TypeCounts] = {
            "strict": _equal_keys(our_links, their_links),
            "lenient": self._lenient_links(ours, theirs, our_links, their_links),
        }
        return DocumentCounts(gold.id, entities, relations, attributes=self._attributes(gold, predicted))

    @staticmethod
    def _attributes(gold: Document, predicted: Document) -> dict[Mode, TypeCounts]:
        if not gold.attributes and not predicted.attributes:
            return {"strict": {}, "lenient": {}}
        ours, theirs = ([(a.label, _key(mention)) for a, mention in one.mention_attributes()] for one in (gold, predicted))
        spans: tuple[dict[tuple[str, str], list[Span]], ...] = ({}, {})
        for side, keys in zip(spans, (ours, theirs), strict=True):
            for label, (kind, fragments) in keys:
                side.setdefault((label, kind), []).append(Span(fragments))
        lenient: TypeCounts = {}
        for group in spans[0].keys() | spans[1].keys():
            left, right = (side.get(group, []) for side in spans)
            tp = lenient_matching_size(left, right) if left and right else 0
            lenient[group[0]] = lenient.get(group[0], Counts()) + Counts(tp, len(right) - tp, len(left) - tp)
        return {"strict": _equal_keys(ours, theirs), "lenient": lenient}

    @staticmethod
    def _lenient_mentions(gold: Document, predicted: Document) -> TypeCounts:
        ours, theirs = _by_type(gold.entities), _by_type(predicted.entities)
        found: TypeCounts = {}
        for name in ours.keys() | theirs.keys():
            left, right = ours.get(name, []), theirs.get(name, [])
            tp = lenient_matching_size(left, right) if left and right else 0
            found[name] = Counts(tp, len(right) - tp, len(left) - tp)
        return found

    @staticmethod
    def _lenient_links(
        ours: list[MentionKey], theirs: list[MentionKey], our_links: list[LinkKey], their_links: list[LinkKey]
    ) -> TypeCounts:
        places: dict[LinkKey, list[int]] = {}
        for place, link in enumerate(our_links):
            places.setdefault(link, []).append(place)
        partners = link_partners(overlapping_keys(theirs, ours), our_links, their_links)
        rows: dict[str, list[list[int]]] = {}
        for link in their_links:
            rows.setdefault(link[0], []).append([place for option in partners[link] for place in places[option]])
        totals = Counter(link[0] for link in our_links)
        found: TypeCounts = {}
        for name in totals.keys() | rows.keys():
            row = rows.get(name, [])
            tp = matching_size(row)
            found[name] = Counts(tp, len(row) - tp, totals[name] - tp)
        return found


def _key(entity: Entity) -> MentionKey:
    return entity.type, entity.span.fragments


def _mention_keys(document: Document) -> list[MentionKey]:
    return [(entity.type, entity.span.fragments) for entity in document.entities]


def _by_type(entities: Iterable[Entity]) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    for entity in entities:
        found.setdefault(entity.type, []).append(entity.span)
    return found


def _equal_keys(gold: Sequence[K], predicted: Sequence[K]) -> TypeCounts:
    """Counts where only equal keys match, each once."""
    found: TypeCounts = {}
    ours, theirs = Counter(gold), Counter(predicted)
    for key, count in ours.items():
        counts = found.setdefault(key[0], Counts())
        hits = min(count, theirs.get(key, 0))
        counts.tp += hits
        counts.fn += count - hits
    for key, count in theirs.items():
        surplus = count - ours.get(key, 0)
        if surplus > 0:
            found.setdefault(key[0], Counts()).fp += surplus
    return found
