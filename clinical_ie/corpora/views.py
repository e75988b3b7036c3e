"""A corpus seen through fewer types, flat, or under other names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from clinical_ie.document import Document, Entity, bare_role
from clinical_ie.schema import Schema


@dataclass(slots=True)
class View:
    """Takes out of documents what a schema does not show, with all that refers to it, and renames what it calls otherwise.

    Args:
        base: The schema of the files.
        entity_types: Types to keep; all when None.
        flat: Keep only contiguous mentions that do not overlap: earliest start first, then longest.
        rename: Entity types, relations and roles -> other names, in the schema and in documents.

    `left_out` counts what `flat` took out, per type, so that nothing goes silently.
    """

    base: Schema
    entity_types: list[str] | None = None
    flat: bool = False
    rename: dict[str, str] | None = None
    schema: Schema = field(init=False)
    _shown: frozenset[str] = field(init=False)
    left_out: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        whole = self.entity_types is None and not self.flat
        shown = self.base if whole else self.base.restricted(self.entity_types, single_layer=self.flat)
        self._shown = frozenset(shown.entity_names)
        self.schema = shown.renamed(self.rename) if self.rename else shown

    def __call__(self, document: Document) -> Document:
        """The document as this view shows it."""
        if self.schema is self.base:
            return document
        mentions = [entity for entity in document.entities if entity.type in self._shown]
        if self.flat:
            chosen = self._without_overlaps([entity for entity in document.joined().entities if entity.type in self._shown])
            mentions = [entity for entity in mentions if entity.id in chosen]
        kept = document if self.entity_types is None and not self.flat else keep(document, mentions)
        return renamed(kept, self.rename) if self.rename else kept

    @property
    def all_types(self) -> Schema:
        """The schema of the files under this view's names, with the types that it leaves out."""
        return self.base.renamed(self.rename) if self.rename else self.base

    def original(self, name: str) -> str:
        """What the files call a type or relation of the schema."""
        return next((old for old, new in (self.rename or {}).items() if new == name), name)

    def mentions(self, document: Document) -> Counter[str]:
        """Types of a document's mentions as they are shown -> how many; what `flat` takes out counts too."""
        names = self.rename or {}
        return Counter(names.get(entity.type, entity.type) for entity in document.entities if entity.type in self._shown)

    def links(self, document: Document) -> Counter[str]:
        """Relations and roles between those mentions -> how many."""
        names = self.rename or {}
        found = ((kind, head.type, tail.type) for _, kind, head, tail in document.links())
        return Counter(names.get(kind, kind) for kind, *ends in found if self._shown.issuperset(ends))

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


def renamed(document: Document, names: Mapping[str, str]) -> Document:
    """The document with other names for some types, relations and roles; a role keeps the number that BRAT puts behind it."""

    def name(old: str) -> str:
        return names.get(old, old)

    def role(old: str) -> str:
        bare = bare_role(old)
        return name(old) if old in names else name(bare) + old[len(bare) :]

    return replace(
        document,
        entities=tuple(replace(entity, type=name(entity.type)) for entity in document.entities),
        relations=tuple(replace(relation, type=name(relation.type)) for relation in document.relations),
        events=tuple(
            replace(event, type=name(event.type), arguments=tuple((role(kind), target) for kind, target in event.arguments))
            for event in document.events
        ),
        equivalences=tuple(replace(group, type=name(group.type)) for group in document.equivalences),
    )


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
        tuple(event.linking(nodes) for event in events),
        tuple(attribute for attribute in document.attributes if attribute.id in attributes),
        tuple(group for group in document.equivalences if all(member in known for member in group.members)),
        tuple(entry for entry in document.normalizations if entry.target in known),
        tuple(comment for comment in document.comments if comment.target in known),
    )
