"""Documents: a text and its annotations, in half-open character offsets (standoff annotation).

Everything that crosses a boundary in this package is a `Document`: gold notes, our
predictions and another team's files alike. Documents are frozen and check themselves once,
when they are made; whoever holds one may trust it.

Predicted annotations carry the probability that they are right, where a model says one (`confidence`, in [0, 1]; None where
unknown, as of gold). It says something *about* an annotation and is no part of it: annotations that differ in it alone are equal.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

from clinical_ie.errors import DocumentError, shown

Fragment = tuple[int, int]
"""Half-open character range ``(start, end)``."""


def overlaps_joined(fragments: Iterable[Fragment]) -> list[Fragment]:
    """Fragments in the order of the text, those that overlap as one; those that touch stay apart.

    Example:
        >>> overlaps_joined([(9, 12), (3, 8), (6, 9)])
        [(3, 9), (9, 12)]
    """
    found: list[Fragment] = []
    for start, end in sorted(fragments):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


@dataclass(frozen=True, slots=True)
class Span:
    """One or more fragments of a text, in text order and without overlap.

    Raises:
        DocumentError: No fragment, an empty one, or fragments out of order.
    """

    fragments: tuple[Fragment, ...]

    def __post_init__(self) -> None:
        previous = 0
        for start, end in self.fragments:
            if start < previous or end <= start:
                problem = f"fragment {start}-{end} of a span is empty, out of text order or overlaps another"
                raise DocumentError(f"{problem}; expected fragments such as 3-8 and 9-12")
            previous = end
        if not previous:
            raise DocumentError("a span needs at least one fragment")

    @classmethod
    def of(cls, start: int, end: int) -> Span:
        """A contiguous span."""
        return cls(((start, end),))

    @property
    def start(self) -> int:
        """First character."""
        return self.fragments[0][0]

    @property
    def end(self) -> int:
        """One past the last character."""
        return self.fragments[-1][1]

    @property
    def discontinuous(self) -> bool:
        """Whether there are gaps."""
        return len(self.fragments) > 1

    def overlaps(self, other: Span) -> bool:
        """Whether the two share at least one character."""
        return any(a < d and c < b for a, b in self.fragments for c, d in other.fragments)

    def joined(self, text: str) -> Span:
        r"""The span with fragments that only white space of `text` parts, or nothing, as one; see `Document.joined`.

        Example:
            >>> Span(((0, 6), (7, 12), (16, 19))).joined("220 mg\ntwice of a day").fragments
            ((0, 12), (16, 19))
        """
        if len(self.fragments) == 1:
            return self
        found = [self.fragments[0]]
        for start, end in self.fragments[1:]:
            if text[found[-1][1] : start].strip():
                found.append((start, end))
            else:
                found[-1] = (found[-1][0], end)
        return self if len(found) == len(self.fragments) else Span(tuple(found))


@dataclass(frozen=True, slots=True)
class Entity:
    """A typed mention. `id` is unique within its document (BRAT's ``T1``)."""

    id: str
    type: str
    span: Span
    confidence: float | None = field(default=None, compare=False)

    @property
    def start(self) -> int:
        """First character."""
        return self.span.fragments[0][0]

    @property
    def end(self) -> int:
        """One past the last character."""
        return self.span.fragments[-1][1]


@dataclass(frozen=True, slots=True)
class Relation:
    """A typed, ordered pair. `head` and `tail` are ids of entities or events.

    `roles` are the names that the file gives the two places (BRAT's ``Arg1``, ``Arg2``).
    """

    id: str
    type: str
    head: str
    tail: str
    roles: tuple[str, str] = ("Arg1", "Arg2")
    confidence: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Event:
    """A trigger entity with role-labelled arguments (ids of entities or events).

    Roles keep the numbers that BRAT puts behind repeated ones (``Amount2``); `bare_role` drops them.
    `confidence` is that of the event, `argument_confidences` are those of its arguments in their order; empty where unknown.
    """

    id: str
    type: str
    trigger: str
    arguments: tuple[tuple[str, str], ...] = ()
    confidence: float | None = field(default=None, compare=False)
    argument_confidences: tuple[float | None, ...] = field(default=(), compare=False)

    def linking(self, nodes: Container[str]) -> Event:
        """The event with those of its arguments that are among these entities and events."""
        kept = [rank for rank, (_, target) in enumerate(self.arguments) if target in nodes]
        if len(kept) == len(self.arguments):
            return self
        confidences = tuple([self.argument_confidences[rank] for rank in kept]) if self.argument_confidences else ()
        return replace(self, arguments=tuple([self.arguments[rank] for rank in kept]), argument_confidences=confidences)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A property of an entity, event or relation; `value` is None for a mere flag."""

    id: str
    type: str
    target: str
    value: str | None = None
    confidence: float | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """As it is shown and scored: ``POLARITY=NEG``, and the type alone for a flag."""
        return attribute_label(self.type, self.value)


@dataclass(frozen=True, slots=True)
class Equivalence:
    """An unordered group of annotations (BRAT's ``*`` lines)."""

    type: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Normalization:
    """A link from an annotation to an entry of a terminology (BRAT's ``N`` lines)."""

    id: str
    type: str
    target: str
    entry: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Comment:
    """An annotator's note on an annotation (BRAT's ``#`` lines)."""

    id: str
    type: str
    target: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its annotations, checked once when it is made.

    Raises:
        DocumentError: Two annotations with one id, a span that leaves the text, a
            reference to an annotation that does not exist, or a confidence that is no probability.
    """

    id: str
    text: str
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    events: tuple[Event, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    equivalences: tuple[Equivalence, ...] = ()
    normalizations: tuple[Normalization, ...] = ()
    comments: tuple[Comment, ...] = ()

    def __post_init__(self) -> None:
        length = len(self.text)
        for entity in self.entities:
            if entity.span.fragments[-1][1] > length:
                raise DocumentError(f"document {shown(self.id)}: {shown(entity.id)} ends behind the text ({entity.end} > {length})")
        nodes = {entity.id for entity in self.entities}
        nodes.update([event.id for event in self.events])
        known = nodes.union([relation.id for relation in self.relations])
        count = len(self.entities) + len(self.events) + len(self.relations)
        if self.attributes:
            known.update([attribute.id for attribute in self.attributes])
            count += len(self.attributes)
        if len(known) != count:
            raise DocumentError(f"document {shown(self.id)}: two annotations have the same id")
        for relation in self.relations:
            if relation.head not in nodes or relation.tail not in nodes:
                self._dangling(relation.id)
        mentions = {entity.id for entity in self.entities} if self.events else set()
        for event in self.events:
            if event.trigger not in mentions:
                self._dangling(event.id)
            for _, target in event.arguments:
                if target not in nodes:
                    self._dangling(event.id)
        for attribute in self.attributes:
            if attribute.target not in known:
                self._dangling(attribute.id)
        for group in self.equivalences:
            for member in group.members:
                if member not in known:
                    self._dangling(group.type)
        for normalization in self.normalizations:
            if normalization.target not in known:
                self._dangling(normalization.id)
        annotations: Iterable[Entity | Relation | Event | Attribute] = chain(self.entities, self.relations, self.events, self.attributes)
        for annotation in annotations:
            if annotation.confidence is not None and not 0 <= annotation.confidence <= 1:
                self._no_probability(annotation.id)
        for event in self.events:
            if event.argument_confidences:
                if len(event.argument_confidences) != len(event.arguments):
                    found = f"{len(event.argument_confidences)} confidences of {len(event.arguments)} arguments"
                    raise DocumentError(f"document {shown(self.id)}: {shown(event.id)} has {found}; expected one for each, or none")
                if any(value is not None and not 0 <= value <= 1 for value in event.argument_confidences):
                    self._no_probability(event.id)

    def _dangling(self, where: str) -> None:
        problem = "refers to an annotation that does not exist or cannot stand there"
        raise DocumentError(f"document {shown(self.id)}: {shown(where)} {problem}")

    def _no_probability(self, where: str) -> None:
        raise DocumentError(f"document {shown(self.id)}: {shown(where)} has a confidence that is no probability; expected 0 to 1, or none")

    def covered(self, span: Span) -> str:
        """The text under a span, fragments joined by a blank."""
        return " ".join([self.text[start:end] for start, end in span.fragments])

    def joined(self) -> Document:
        """The document with every mention that a line end breaks as one contiguous mention.

        BRAT writes a mention that runs over a line end as one fragment a line (``20 26;27 38``). Documents keep the fragments of
        their files; tasks, views, scorers and writers of formats without fragments work on the joined ones. Mentions with
        other characters between their fragments stay discontinuous.
        """
        spans = [entity.span.joined(self.text) for entity in self.entities]
        if all(span is entity.span for span, entity in zip(spans, self.entities, strict=True)):
            return self
        return replace(self, entities=tuple(Entity(e.id, e.type, span, e.confidence) for e, span in zip(self.entities, spans, strict=True)))

    def anchors(self) -> dict[str, Entity]:
        """Entities by id, and by the id of every event that they trigger."""
        found = {entity.id: entity for entity in self.entities}
        for event in self.events:
            found[event.id] = found[event.trigger]
        return found

    def values(self) -> dict[str, dict[str, str]]:
        """Valued attributes: target id -> attribute type -> value."""
        found: dict[str, dict[str, str]] = {}
        for attribute in self.attributes:
            if attribute.value is not None:
                found.setdefault(attribute.target, {})[attribute.type] = attribute.value
        return found

    def mention_attributes(self) -> Iterator[tuple[Attribute, Entity]]:
        """Attributes with the mentions that bear them, events standing for their triggers; not those of relations and attributes."""
        anchors = self.anchors() if self.attributes else {}
        for attribute in self.attributes:
            if attribute.target in anchors:
                yield attribute, anchors[attribute.target]

    def links(self) -> Iterator[tuple[str, str, Entity, Entity]]:
        """Relations and event arguments alike: ``(id, type, head, tail)``, events standing for their triggers."""
        anchors = self.anchors()
        for relation in self.relations:
            yield relation.id, relation.type, anchors[relation.head], anchors[relation.tail]
        for event in self.events:
            trigger = anchors[event.trigger]
            for role, target in event.arguments:
                yield event.id, bare_role(role), trigger, anchors[target]


def attribute_label(name: str, value: str | None) -> str:
    """An attribute type with a value, as one name.

    Example:
        >>> attribute_label("POLARITY", "NEG"), attribute_label("Negated", None)
        ('POLARITY=NEG', 'Negated')
    """
    return name if value is None else f"{name}={value}"


def bare_role(role: str) -> str:
    """A role without the number that BRAT appends when it repeats.

    Example:
        >>> bare_role("Amount2")
        'Amount'
    """
    return role.rstrip("0123456789") or role


def next_id(prefix: str, taken: Iterable[str]) -> str:
    """The first free id with a prefix, counting on from the highest in use.

    Example:
        >>> next_id("T", ["T1", "T7", "R9"])
        'T8'
    """
    digits = [name[len(prefix) :] for name in taken if name.startswith(prefix)]
    numbers = [int(number) for number in digits if number.isdecimal() and len(number) <= 18]  # longer ones are in nobody's way
    return f"{prefix}{max(numbers, default=0) + 1}"
