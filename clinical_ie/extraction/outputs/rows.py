"""Tables: a row for each mention, each link and each attribute of a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from clinical_ie.document import Document, Event, Span


class MentionRow(NamedTuple):
    """A mention. `start` and `end` are its first character and one past its last; `fragments` are all (``3-8;9-12``)."""

    document: str
    id: str
    type: str
    start: int
    end: int
    fragments: str
    text: str
    confidence: float | None


class LinkRow(NamedTuple):
    """A relation, an event, or an argument of an event: `kind` says which.

    `type` is the relation's or the argument's role, `event` the type of the event. `head` and `tail` are ids of mentions; events stand for
    their triggers, and the row of an event itself has its trigger in both places.
    """

    document: str
    id: str
    kind: str
    type: str
    event: str | None
    head: str
    tail: str
    confidence: float | None


class AttributeRow(NamedTuple):
    """A property of a mention, an event or a relation; `target` is its id, and the trigger's where it is an event's.

    `value` is none for a mere flag.
    """

    document: str
    id: str
    target: str
    type: str
    value: str | None
    confidence: float | None


def mention_rows(document: Document) -> Iterator[MentionRow]:
    """Mentions in the order of the document."""
    for e in document.entities:
        yield MentionRow(document.id, e.id, e.type, e.start, e.end, ranges(e.span), document.covered(e.span), e.confidence)


def link_rows(document: Document) -> Iterator[LinkRow]:
    """Relations, then each event with its arguments behind it."""
    anchors = document.anchors()
    for r in document.relations:
        yield LinkRow(document.id, r.id, "relation", r.type, None, anchors[r.head].id, anchors[r.tail].id, r.confidence)
    for event in document.events:
        trigger = event.trigger
        yield LinkRow(document.id, event.id, "event", "", event.type, trigger, trigger, event.confidence)
        for (role, target), confidence in zip(event.arguments, _confidences(event), strict=True):
            yield LinkRow(document.id, event.id, "argument", role, event.type, trigger, anchors[target].id, confidence)


def attribute_rows(document: Document) -> Iterator[AttributeRow]:
    """Attributes in the order of the document."""
    triggers = {event.id: event.trigger for event in document.events}
    for a in document.attributes:
        yield AttributeRow(document.id, a.id, triggers.get(a.target, a.target), a.type, a.value, a.confidence)


def ranges(span: Span) -> str:
    """The fragments of a span.

    Example:
        >>> ranges(Span(((3, 8), (9, 12))))
        '3-8;9-12'
    """
    return ";".join([f"{start}-{end}" for start, end in span.fragments])


def _confidences(event: Event) -> tuple[float | None, ...]:
    return event.argument_confidences or (None,) * len(event.arguments)
