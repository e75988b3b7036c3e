"""A corpus seen through fewer types, or flat."""

from __future__ import annotations

from dataclasses import dataclass, field

from clinical_ie.document import Document, Entity
from clinical_ie.schema import Schema


@dataclass(slots=True)
class View:
    """Takes out of documents what a schema does not show, with all that refers to it.

    Args:
        base: The schema of the files.
        entity_types: Types to keep; all when None.
        flat: Keep only contiguous mentions that do not overlap: earliest start first, then longest.

    `left_out` counts what `flat` took out, per type, so that nothing goes silently.
    """

    base: Schema
    entity_types: list[str] | None = None
    flat: bool = False
    schema: Schema = field(init=False)
    left_out: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        whole = self.entity_types is None and not self.flat
        self.schema = self.base if whole else self.base.restricted(self.entity_types, single_layer=self.flat)

    def __call__(self, document: Document) -> Document:
        """The document as this view shows it."""
        if self.schema is self.base:
            return document
        names = set(self.schema.entity_names)
        mentions = [entity for entity in document.entities if entity.type in names]
        if self.flat:
            chosen = self._without_overlaps([entity for entity in document.joined().entities if entity.type in names])
            mentions = [entity for entity in mentions if entity.id in chosen]
        return keep(document, mentions)

    def types(self, document: Document) -> set[str]:
        """The types of a document's mentions that this view shows."""
        return {entity.type for entity in document.entities} & set(self.schema.entity_names)

    def _without_overlaps(self, mentions: list[Entity]) -> set[str]:
        """Ids of the mentions to keep."""
        chosen: set[str] = set()
        end = 0
        for entity in sorted(mentions, key=lambda entity: (entity.start, -entity.end)):
            if entity.start >= end and not entity.span.discontinuous:
                chosen.add(entity.id)
                end = entity.end
            else:
                self.left_out[entity.type] = self.left_out.get(entity.type, 0) + 1
        return chosen


def keep(document: Document, entities: list[Entity]) -> Document:
    """The document with these of its entities only, and without anything that refers to others."""
    nodes = {entity.id for entity in entities}
    events = [event for event in document.events if event.trigger in nodes]
    nodes.update(event.id for event in events)
    relations = tuple(relation for relation in document.relations if relation.head in nodes and relation.tail in nodes)
    known = nodes | {relation.id for relation in relations}
    attributes: set[str] = set()
    while more := {a.id for a in document.attributes if a.target in known | attributes} - attributes:
        attributes |= more  # an attribute may have another as its target
    known |= attributes
    return Document(
        document.id,
        document.text,
        tuple(entities),
        relations,
        tuple(
            type(event)(event.id, event.type, event.trigger, tuple(pair for pair in event.arguments if pair[1] in nodes))
            for event in events
        ),
        tuple(attribute for attribute in document.attributes if attribute.id in attributes),
        tuple(group for group in document.equivalences if all(member in known for member in group.members)),
        tuple(entry for entry in document.normalizations if entry.target in known),
        tuple(comment for comment in document.comments if comment.target in known),
    )
