"""Attributes of mentions (negation, assertion, polarity): what a schema lets be said of which mentions, and what was said of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from clinical_ie.document import Attribute, Document, Entity, next_id
from clinical_ie.schema import Schema
from clinical_ie.tasks.coverage import Coverage, Target, target


class AttributeLabels:
    """All that a schema lets be said of mentions, in declared order: each value of each attribute, and flags.

    A mention has at most one value of each attribute, which is its class: 0 is none, 1 the first value (or that a flag stands), and so on.

    Args:
        schema: Declares attributes, their values, and what may bear them.
    """

    def __init__(self, schema: Schema) -> None:
        self.attributes = schema.attributes
        self.names = tuple(label for attribute in schema.attributes for label in attribute.labels)
        self._places = {attribute.name: place for place, attribute in enumerate(schema.attributes)}

    def borne_by(self, entity_type: str) -> tuple[int, ...]:
        """Places of the attributes that a mention of this type may bear."""
        return tuple(place for place, attribute in enumerate(self.attributes) if attribute.allows(entity_type))

    def class_of(self, attribute: Attribute, bearer: Entity) -> tuple[int, int] | None:
        """Place and class of an annotated attribute; None where the schema does not allow it."""
        place = self._places.get(attribute.type)
        if place is None or not self.attributes[place].allows(bearer.type) or attribute.value not in self.attributes[place].options:
            return None
        return place, self.attributes[place].options.index(attribute.value) + 1

    def rank_of(self, place: int, chosen: int) -> int:
        """Where the label of a class stands among all `names`."""
        return sum(len(attribute.options) for attribute in self.attributes[:place]) + chosen - 1

    def class_at(self, rank: int) -> tuple[int, int]:
        """The place and class of a label."""
        for place, attribute in enumerate(self.attributes):
            if rank < len(attribute.options):
                return place, rank + 1
            rank -= len(attribute.options)
        raise IndexError(rank)

    def said(self, place: int, chosen: int) -> tuple[str, str | None]:
        """Type and value of a class that is not none."""
        return self.attributes[place].name, self.attributes[place].options[chosen - 1]


def gold_classes(document: Document, labels: AttributeLabels, reasons: Mapping[str, str], coverage: Coverage) -> dict[str, dict[int, int]]:
    """Mention -> place of an attribute -> its class, as much as an output can say; the rest is counted.

    Args:
        document: Joined, with gold attributes.
        labels: Of its schema.
        reasons: Mentions that cannot be asked about, and why.
        coverage: Where to.
    """
    found: dict[str, dict[int, int]] = {}
    number = 0
    for attribute, bearer in document.mention_attributes():
        number += 1
        at = labels.class_of(attribute, bearer)
        if at is None:
            coverage.unrepresentable["the schema does not allow it"] += 1
        elif bearer.id in reasons:
            coverage.unrepresentable[reasons[bearer.id]] += 1
        elif (known := found.get(bearer.id, {}).get(at[0])) is not None:
            coverage.unrepresentable["annotated twice" if known == at[1] else "second value of its mention"] += 1
        else:
            found.setdefault(bearer.id, {})[at[0]] = at[1]
    coverage.gold += number
    coverage.not_of_mentions += len(document.attributes) - number
    _count_reachable(document, labels, reasons, coverage)
    return found


def self_links(document: Document, schema: Schema) -> Iterator[tuple[Entity, Entity, int | None]]:
    """Gold attributes as links of mentions to themselves, as `LinkLabels.gold` gives links; one value of each attribute."""
    labels = AttributeLabels(schema)
    gold = gold_classes(document, labels, {}, Coverage())
    for entity in document.entities:
        for place, chosen in gold.get(entity.id, {}).items():
            yield entity, entity, labels.rank_of(place, chosen)


def _count_reachable(document: Document, labels: AttributeLabels, reasons: Mapping[str, str], coverage: Coverage) -> None:
    """Mentions of one type and place are the same to a scorer: each of them can say another value."""
    asked: dict[Target, int] = {}
    for entity in document.entities:
        asked[target(entity, False)] = asked.get(target(entity, False), 0) + (entity.id not in reasons)
    wanted: dict[tuple[Target, int], int] = {}
    for attribute, bearer in document.mention_attributes():
        coverage.countable["strict-one-to-one"] += 1
        at = labels.class_of(attribute, bearer)
        if at is not None:
            key = target(bearer, False), at[0]
            wanted[key] = wanted.get(key, 0) + 1
    coverage.reachable["strict-one-to-one"] += sum(min(count, asked[key]) for (key, _), count in wanted.items())


def with_attributes(document: Document, said: Iterable[tuple[str, int, int, float | None]], labels: AttributeLabels) -> Document:
    """A document's mentions with their attributes, and nothing else of it.

    Args:
        document: Its id, text and entities are used.
        said: Mention, place of an attribute, its class, and the probability of that.
        labels: Of its schema.
    """
    order = {entity.id: rank for rank, entity in enumerate(document.entities)}
    mentions = Document(document.id, document.text, document.entities)
    ids = _free_ids(mentions)
    attributes = tuple(
        Attribute(next(ids), name, mention, value, confidence)
        for mention, place, chosen, confidence in sorted(said, key=lambda one: (order[one[0]], *one[1:3]))
        for name, value in [labels.said(place, chosen)]
    )
    return replace(mentions, attributes=attributes)


def joined_with(document: Document, found: Document) -> Document:
    """A document that other models made, with the attributes that were then found of its mentions.

    What it says already stays as it is: the value of an argument came with the link to it.
    """
    known = {(attribute.type, bearer.id) for attribute, bearer in document.mention_attributes()}
    ids = _free_ids(document)
    more = [replace(one, id=next(ids)) for one in found.attributes if (one.type, one.target) not in known]
    return replace(document, attributes=(*document.attributes, *more))


def _free_ids(document: Document) -> Iterator[str]:
    taken = {one.id for listed in (document.entities, document.relations, document.events, document.attributes) for one in listed}
    number = int(next_id("A", taken)[1:])
    while True:
        yield f"A{number}"
        number += 1
