"""The records of a file, and those among them that refer to nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from clinical_ie.document import Attribute, Comment, Document, Entity, Equivalence, Event, Normalization, Relation

Report = Callable[[str, str, int], None]
"""Is called with the owner of a reference, what it refers to, and its line."""


@dataclass(slots=True)
class Records:
    """Annotations of one file as they are read, ids already distinct."""

    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)
    equivalences: list[Equivalence] = field(default_factory=list)
    normalizations: list[Normalization] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    """Id -> line."""
    group_places: list[int] = field(default_factory=list)
    """Lines of `equivalences`, which have no ids."""

    def document(self, document_id: str, text: str) -> Document:
        """All of them, with their text.

        Raises:
            DocumentError: One refers to nothing.
        """
        return Document(
            document_id,
            text,
            tuple(self.entities),
            tuple(self.relations),
            tuple(self.events),
            tuple(self.attributes),
            tuple(self.equivalences),
            tuple(self.normalizations),
            tuple(self.comments),
        )


def drop_dangling(records: Records, missing: Report) -> None:
    """Take out every reference to something that is not there, until none is left.

    An event without its trigger goes, and so do arguments that refer to it; attributes, groups and
    normalizations go with what they stand on. Every record is looked at a fixed number of times.
    """
    places = records.places

    def lost(owner: str, target: str) -> None:
        missing(owner, target, places.get(owner, 0))

    mentions = {entity.id for entity in records.entities}
    standing = [event for event in records.events if event.trigger in mentions]
    nodes = mentions | {event.id for event in standing}
    for event in records.events:
        if event.trigger not in mentions:
            lost(event.id, event.trigger)
        else:
            for _, target in event.arguments:
                if target not in nodes:
                    lost(event.id, target)
    records.events = [event.linking(nodes) for event in standing]
    for relation in records.relations:
        for target in dict.fromkeys((relation.head, relation.tail)):
            if target not in nodes:
                lost(relation.id, target)
    records.relations = [relation for relation in records.relations if relation.head in nodes and relation.tail in nodes]
    known = nodes | {relation.id for relation in records.relations}
    dropped = _dangling_attributes(records.attributes, known)
    for attribute in records.attributes:
        if attribute.id in dropped:
            lost(attribute.id, attribute.target)
    records.attributes = [attribute for attribute in records.attributes if attribute.id not in dropped]
    known.update(attribute.id for attribute in records.attributes)
    for normalization in records.normalizations:
        if normalization.target not in known:
            lost(normalization.id, normalization.target)
    records.normalizations = [entry for entry in records.normalizations if entry.target in known]
    kept = []
    for group, number in zip(records.equivalences, records.group_places, strict=True):
        absent = [member for member in group.members if member not in known]
        for member in absent:
            missing("a group", member, number)
        if not absent:
            kept.append(group)
    records.equivalences = kept


def _dangling_attributes(attributes: list[Attribute], known: set[str]) -> set[str]:
    """Ids of attributes on nothing, and of attributes on those."""
    ids = {attribute.id for attribute in attributes}
    on: dict[str, list[str]] = {}
    for attribute in attributes:
        on.setdefault(attribute.target, []).append(attribute.id)
    waiting = [name for target, names in on.items() if target not in known and target not in ids for name in names]
    dropped: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in dropped:
            dropped.add(name)
            waiting += on.get(name, ())
    return dropped
