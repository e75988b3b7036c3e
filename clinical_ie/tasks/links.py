"""Links between mentions: relations, arguments of events, and the values of labelled arguments, in one set of labels.

A labelled argument (SHAC's ``StatusTime``) is a link whose label holds the value of its tail: ``Status=current``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, bare_role
from clinical_ie.schema import RelationType, Schema


@dataclass(frozen=True, slots=True)
class LinkLabel:
    """A relation type or role, with the value of its tail where that has one."""

    relation: str
    attribute: str | None = None
    value: str | None = None

    @property
    def name(self) -> str:
        """As it is shown: ``Type`` or ``Status=current``."""
        return self.relation if self.value is None else f"{self.relation}={self.value}"


class LinkLabels:
    """All labels of a schema, in declared order, and where each may stand.

    Args:
        schema: Declares relations, arguments and the values of their tails.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        found: dict[LinkLabel, None] = {}
        for relation in schema.relations:
            found[LinkLabel(relation.name)] = None
            if relation.argument:
                for attribute in schema.attributes:
                    if attribute.values and (not relation.tails or not attribute.targets or set(attribute.targets) & set(relation.tails)):
                        found.update(dict.fromkeys(LinkLabel(relation.name, attribute.name, value) for value in attribute.values))
        self.labels = tuple(found)
        self.names = tuple(label.name for label in self.labels)
        self._rank = {label: rank for rank, label in enumerate(self.labels)}
        self._valued = {(label.relation, label.attribute) for label in self.labels}
        self._declared: dict[str, list[RelationType]] = {}
        for relation in schema.relations:
            self._declared.setdefault(relation.name, []).append(relation)
        self._legal = _legal_pairs(schema)

    def __len__(self) -> int:
        return len(self.labels)

    def legal(self, head: str, tail: str) -> tuple[int, ...]:
        """Ranks of the labels that a pair of these types may have."""
        if (head, tail) not in self._legal:
            targets = {attribute.name: attribute.targets for attribute in self.schema.attributes}
            self._legal[head, tail] = tuple(
                rank
                for rank, label in enumerate(self.labels)
                if any(known.allows(head, tail) for known in self._declared[label.relation])
                and (label.attribute is None or not targets[label.attribute] or tail in targets[label.attribute])
            )
        return self._legal[head, tail]

    def allows(self, relation: str, head: str, tail: str) -> bool:
        """Whether any label of a relation or role may join a pair of these types."""
        return any(self.labels[rank].relation == relation for rank in self.legal(head, tail))

    def gold(self, document: Document) -> Iterator[tuple[Entity, Entity, int | None]]:
        """Head, tail and rank of every annotated link; the rank is None where the schema does not allow it."""
        values = document.values()
        for _, name, head, tail in document.links():
            label = LinkLabel(name)
            for attribute, value in values.get(tail.id, {}).items():
                valued = LinkLabel(name, attribute, value)
                if valued in self._rank:
                    label = valued
                    break
                if (name, attribute) in self._valued:
                    label = valued  # a value that the schema does not declare
            rank = self._rank.get(label)
            yield head, tail, rank if rank is not None and rank in self.legal(head.type, tail.type) else None


@lru_cache(maxsize=32)
def _legal_pairs(schema: Schema) -> dict[tuple[str, str], tuple[int, ...]]:
    """What `LinkLabels.legal` knows of a schema, for all documents of a corpus."""
    return {}


def linked(document: Document, links: Iterable[tuple[str, str, LinkLabel, float, float | None]], schema: Schema) -> Document:
    """The entities of a document with links between them: relations, events with arguments, values of arguments.

    Every entity whose type triggers events becomes one event. Where links disagree on the value of their common
    tail, that of the highest score stands. An event has the confidence of its trigger, and the value of an argument that of its link.

    Args:
        document: Its entities are kept, nothing else.
        links: Ids of head and tail, label, score, and the confidence that it is right where its ends are.
        schema: Says what is an argument and what triggers events.
    """
    types = {entity.id: entity.type for entity in document.entities}
    taken = set(types)
    events_ids = _free("E", taken)
    triggers = {entity.id: next(events_ids) for entity in document.entities if entity.type in schema.events}
    relation_ids, attribute_ids = _free("R", taken), _free("A", taken)
    roles = {relation.name: relation for relation in schema.relations if relation.argument}
    relations: list[Relation] = []
    arguments: dict[str, dict[tuple[str, str], float | None]] = {head: {} for head in triggers}
    values: dict[tuple[str, str], tuple[float, str, float | None]] = {}
    for head, tail, label, score, confidence in links:
        place = triggers.get(tail, tail)
        if head in triggers and label.relation in roles:
            known = arguments[head].get((label.relation, place))
            arguments[head][label.relation, place] = confidence if known is None or confidence is None else max(known, confidence)
        else:
            relations.append(Relation(next(relation_ids), label.relation, triggers.get(head, head), place, confidence=confidence))
        if label.attribute is not None and label.value is not None:
            best = values.get((tail, label.attribute))
            if best is None or (score, label.value) > best[:2]:
                values[tail, label.attribute] = score, label.value, confidence
    sure = {entity.id: entity.confidence for entity in document.entities}
    events = [
        Event(triggers[head], types[head], head, _numbered(found), sure[head], _said(found.values())) for head, found in arguments.items()
    ]
    ordered = sorted((tail, attribute, value, confidence) for (tail, attribute), (_, value, confidence) in values.items())
    attributes = [Attribute(next(attribute_ids), attribute, tail, value, confidence) for tail, attribute, value, confidence in ordered]
    return Document(document.id, document.text, document.entities, tuple(relations), tuple(events), tuple(attributes))


def _free(prefix: str, taken: set[str]) -> Iterator[str]:
    """Numbered ids that no mention has."""
    return (name for name in map(f"{prefix}{{}}".format, count(1)) if name not in taken)


def _said(confidences: Iterable[float | None]) -> tuple[float | None, ...]:
    """Confidences of arguments; empty where none is known."""
    found = tuple(confidences)
    return found if any(value is not None for value in found) else ()


def _numbered(arguments: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Repeated roles with BRAT's numbers: ``Amount``, ``Amount2``."""
    seen: Counter[str] = Counter()
    found = []
    for role, target in arguments:
        seen[role] += 1
        found.append((role if seen[role] == 1 else f"{bare_role(role)}{seen[role]}", target))
    return tuple(found)
