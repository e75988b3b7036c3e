"""Predicted annotations one by one: how sure the model was of each, and whether it is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from clinical_ie.document import Document, Entity, bare_role
from clinical_ie.scoring.counts import Kind


@dataclass(frozen=True, slots=True)
class Judged:
    """A predicted annotation.

    Attributes:
        kind: What it is.
        type: Its type; of an argument its role.
        confidence: The probability that the model gave it; None where it gave none.
        right: Whether gold has it: strictly, with all fragments, and each annotation of gold once.
    """

    kind: Kind
    type: str
    confidence: float | None
    right: bool


def judged(gold: Document, predicted: Document) -> list[Judged]:
    """The predicted mentions, links and attributes of a document, held against gold as under ``strict-one-to-one``.

    Of equal predictions, as many are right as gold has, the surest first.
    """
    left = Counter((kind, key) for kind, _, key, _ in _annotations(gold.joined()))
    found: list[Judged] = []
    for kind, name, key, confidence in sorted(_annotations(predicted.joined()), key=lambda each: -(each[3] or 0)):
        right = left[kind, key] > 0
        left[kind, key] -= right
        found.append(Judged(kind, name, confidence, right))
    return found


def _annotations(document: Document) -> Iterator[tuple[Kind, str, Hashable, float | None]]:
    anchors = document.anchors()
    for entity in document.entities:
        yield "entities", entity.type, _key(entity), entity.confidence
    for relation in document.relations:
        key = relation.type, _key(anchors[relation.head]), _key(anchors[relation.tail])
        yield "relations", relation.type, key, relation.confidence
    for event in document.events:
        confidences = event.argument_confidences or (None,) * len(event.arguments)
        for (role, target), confidence in zip(event.arguments, confidences, strict=True):
            name = bare_role(role)
            yield "relations", name, (name, _key(anchors[event.trigger]), _key(anchors[target])), confidence
    for attribute in document.attributes:
        if attribute.target in anchors:  # of mentions and events, not of relations and other attributes
            yield "attributes", attribute.type, (attribute.type, attribute.value, _key(anchors[attribute.target])), attribute.confidence


def _key(entity: Entity) -> Hashable:
    return entity.type, entity.span.fragments
