"""What is kept of an annotated document and what a person should look at, by the confidence of its annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from clinical_ie.document import Document, Event, bare_role
from clinical_ie.errors import SettingError, did_you_mean

NOTHING = 2.0
"""A threshold that no confidence reaches."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The lowest confidence with which annotations are kept.

    Attributes:
        default: Of types that are not named.
        by_type: Of mentions, relations, roles of arguments and attributes, by their type.
    """

    default: float = 0.0
    by_type: Mapping[str, float] = field(default_factory=dict)

    def keeps(self, kind: str, confidence: float | None) -> bool:
        """Whether an annotation of a type is sure enough; what has no confidence is so only where no threshold is set."""
        threshold = self.by_type.get(kind, self.default)
        return threshold <= 0 if confidence is None else confidence >= threshold

    @classmethod
    def parse(cls, given: Iterable[str], types: Iterable[str] | None = None) -> Thresholds:
        """Thresholds as the command line has them: ``0.8`` for all types, ``Drug=0.9`` for one.

        Args:
            given: Such texts.
            types: The types that there are, where they are known.

        Raises:
            SettingError: Something else, or a type that there is not.

        Example:
            >>> Thresholds.parse(["0.8", "Drug=0.9"])
            Thresholds(default=0.8, by_type={'Drug': 0.9})
        """
        known = None if types is None else set(types)
        default, by_type = 0.0, {}
        for text in given:
            name, _, number = text.rpartition("=")
            try:
                value = float(number)
            except ValueError:
                value = -1.0
            if not 0 <= value <= 1:
                raise SettingError(
                    f"--threshold {text}: expected a probability from 0 to 1, such as 0.8, or one of a type, such as Drug=0.9"
                )
            if name and known is not None and name not in known:
                raise SettingError(
                    f"--threshold {text}: the model finds no {name}, but {', '.join(sorted(known))}{did_you_mean(name, known)}"
                )
            if name:
                by_type[name] = value
            else:
                default = value
        return cls(default, by_type)


def keep(document: Document, thresholds: Thresholds) -> tuple[Document, Document]:
    """What is sure enough, and what is not: two documents with the ids of the given one.

    What refers to something that falls, falls with it: a link with either end, an event with its trigger, an argument with its target, an
    attribute with what it is of. The second document has all that fell, and mentions and triggers that stay where something that fell
    refers to them; an annotation of it fell if the first has none of its id, and an argument if the first has not that one.
    """
    sure = thresholds.keeps
    entities = {entity.id for entity in document.entities if sure(entity.type, entity.confidence)}
    nodes = entities | {event.id for event in document.events if event.trigger in entities}
    kept_arguments = {event.id: _sure(event, nodes, thresholds) for event in document.events if event.id in nodes}
    relations = {r.id for r in document.relations if r.head in nodes and r.tail in nodes and sure(r.type, r.confidence)}
    attributes: set[str] = set()
    possible = [attribute for attribute in document.attributes if sure(attribute.type, attribute.confidence)]
    while more := {a.id for a in possible if a.target in nodes | relations | attributes} - attributes:
        attributes |= more  # an attribute may have another as its target
    kept = nodes | relations | attributes
    fallen_arguments = {
        event.id: [rank for rank in range(len(event.arguments)) if rank not in kept_arguments.get(event.id, ())]
        for event in document.events
    }
    return _part(document, kept, kept_arguments), _part(document, _fallen(document, kept, fallen_arguments), fallen_arguments)


def _sure(event: Event, nodes: set[str], thresholds: Thresholds) -> list[int]:
    """Places of the arguments that are sure enough and have their targets."""
    confidences = event.argument_confidences or (None,) * len(event.arguments)
    given = enumerate(zip(event.arguments, confidences, strict=True))
    return [rank for rank, ((role, to), confidence) in given if to in nodes and thresholds.keeps(bare_role(role), confidence)]


def _fallen(document: Document, kept: set[str], fallen_arguments: Mapping[str, list[int]]) -> set[str]:
    """All that fell, and what it refers to."""
    refers: dict[str, list[str]] = {entity.id: [] for entity in document.entities}
    refers |= {relation.id: [relation.head, relation.tail] for relation in document.relations}
    refers |= {a.id: [a.target] for a in document.attributes}
    for event in document.events:
        refers[event.id] = [event.trigger, *(event.arguments[rank][1] for rank in fallen_arguments[event.id])]
    found: set[str] = set()
    waiting = [name for name in refers if name not in kept or fallen_arguments.get(name)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += refers[name]
    return found


def _part(document: Document, chosen: set[str], arguments: Mapping[str, list[int]]) -> Document:
    """The document with these annotations and places of arguments, and of what has no confidence all that stands on them."""
    return replace(
        document,
        entities=tuple(entity for entity in document.entities if entity.id in chosen),
        relations=tuple(relation for relation in document.relations if relation.id in chosen),
        events=tuple(_with(event, arguments[event.id]) for event in document.events if event.id in chosen),
        attributes=tuple(attribute for attribute in document.attributes if attribute.id in chosen),
        equivalences=tuple(group for group in document.equivalences if chosen.issuperset(group.members)),
        normalizations=tuple(entry for entry in document.normalizations if entry.target in chosen),
        comments=tuple(comment for comment in document.comments if comment.target in chosen),
    )


def _with(event: Event, ranks: list[int]) -> Event:
    """An event with some of its arguments."""
    confidences = tuple(event.argument_confidences[rank] for rank in ranks) if event.argument_confidences else ()
    return replace(event, arguments=tuple(event.arguments[rank] for rank in ranks), argument_confidences=confidences)
