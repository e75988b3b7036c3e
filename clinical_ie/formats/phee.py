"""PHEE: JSON lines, one sentence each, with nested pharmacovigilance events.

An event has a trigger, arguments (Subject, Treatment, Effect) with sub-arguments
(``Treatment.Drug``), cues with a value (Severity, Negated, Speculated) and, inside a treatment, drug
combinations that are events of their own. In a `Document` every filler is an entity whose type
is its dotted role, every event a trigger with those roles as arguments, every cue value an
attribute, and a combination an event behind the role ``Treatment.Combination``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from clinical_ie.document import Attribute, Document, Entity, Event, Span, bare_role
from clinical_ie.errors import shown
from clinical_ie.fields import Fields, MalformedDataError, elements, integer, string
from clinical_ie.files import writing
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.json_text import read_lines
from clinical_ie.formats.losses import ROLE_NUMBERS, note_losses

_COMBINATION = "Treatment.Combination"
_ROLES = {
    "Trigger", "Subject", "Treatment", "Effect", "Severity", "Negated", "Speculated", "Combination", "Drug", "Dosage", "Route", "Freq",
    "Duration", "Time_elapsed", "Disorder", "Age", "Gender", "Population", "Race",
}  # fmt: skip
"""Roles of the published corpus, which messages may show."""
_RESERVED = {"event_id", "event_type", "Trigger", "Combination", "text", "start", "entity_id", "value"}


def read(path: Path | str, findings: Findings | None = None) -> list[Document]:
    """Documents of one file.

    Raises:
        InputError: The file is missing.
        FileFormatError: A line that is no PHEE record, in strict mode.
    """
    findings = Findings() if findings is None else findings

    def document(value: Any, number: int) -> Document:
        return _Reader(Fields(value), findings, path, number).document()

    return list(read_lines(path, findings, document, code="malformed-record", expected="{id, context, annotations}"))


class _Reader:
    """One line; ids of the file are kept where they are free."""

    def __init__(self, record: Fields, findings: Findings, path: Path | str, number: int) -> None:
        self.record, self.findings, self.path, self.number = record, findings, path, number
        self.text = record.string("context")
        self.entities: list[Entity] = []
        self.by_key: dict[tuple[str, str, Span], str] = {}
        self.events: list[Event] = []
        self.values: dict[str, tuple[str, str]] = {}
        self.taken: set[str] = set()

    def document(self) -> Document:
        self.record.only("id", "context", "is_mult_event", "annotations")
        self.record.get("annotations")
        for annotation in self.record.mappings("annotations"):
            annotation.only("events")
            for event in annotation.mappings("events"):
                self.event(event, event.string("event_type"))
        names = (name for name in map("A{}".format, count(1)) if name not in self.taken)
        attributes = [Attribute(next(names), kind, target, value) for target, (kind, value) in self.values.items()]
        name = self.record.string("id", empty=False)
        return Document(name, self.text, tuple(self.entities), (), tuple(self.events), tuple(attributes))

    def fresh(self, name: str) -> str:
        rank, free = 2, name
        while free in self.taken:
            free, rank = f"{name}_{rank}", rank + 1
        self.taken.add(free)
        return free

    def event(self, event: Fields, kind: str) -> str:
        name = self.fresh(event.string("event_id"))
        triggers = self.mentions(self.filler(event, "Trigger"), kind)
        if len(triggers) != 1:
            raise MalformedDataError(event.at("Trigger"), f"found {len(triggers)} mentions", expected="one")
        arguments: list[tuple[str, str]] = []
        for role in event.data:
            if role not in ("event_id", "event_type", "Trigger"):
                self.arguments(role, self.filler(event, role), arguments, prefix="Combination." if kind == _COMBINATION else "")
        self.events.append(Event(name, kind, triggers[0], tuple(arguments)))
        return name

    @staticmethod
    def filler(owner: Fields, role: str) -> Fields:
        return Fields(owner.get(role), owner.at(role if role in _ROLES else shown(role)))

    def arguments(self, role: str, filler: Fields, found: list[tuple[str, str]], prefix: str = "") -> None:
        mentions = self.mentions(filler, prefix + role)
        found += [(prefix + role, mention) for mention in mentions]
        for key in filler.data:
            if key == "value":
                value = "True" if filler.data[key] is True else filler.string(key)
                for mention in mentions:
                    self.values.setdefault(mention, (f"{role.rpartition('.')[2]}Value", value))
            elif key == "Combination":
                found += [(_COMBINATION, self.event(event, _COMBINATION)) for event in filler.mappings(key)]
            elif key not in ("text", "start", "entity_id"):
                self.arguments(f"{role}.{key}", self.filler(filler, key), found, prefix)

    def mentions(self, filler: Fields, kind: str) -> list[str]:
        names = []
        rows = [elements(filler.get(key), filler.at(key)) for key in ("text", "start", "entity_id")]
        if len({len(row) for row in rows}) > 1:
            raise MalformedDataError(filler.place, "text, start and entity_id are of different lengths")
        for number, (words, starts, name) in enumerate(zip(*rows, strict=True)):
            at = f"{filler.place}[{number}]"
            pieces = [string(word, at) for word in elements(words, at)]
            fragments = [
                (start, start + len(piece))
                for piece, start in zip(pieces, [integer(start, at) for start in elements(starts, at, len(pieces))], strict=True)
            ]
            if any(self.text[a:b] != piece for (a, b), piece in zip(fragments, pieces, strict=True)):
                self.findings.warning(self.path, self.number, "covered-text-differs", f"{at} differs from the text, which wins")
            if fragments != sorted(fragments):
                self.findings.warning(self.path, self.number, "fragments-out-of-order", f"{at}: fragments are put in text order")
            span = Span(tuple(sorted(fragments)))
            key = string(name, at), kind, span
            if key not in self.by_key:  # one mention may fill roles of several events
                self.by_key[key] = self.fresh(name)
                self.entities.append(Entity(self.by_key[key], kind, span))
            names.append(self.by_key[key])
        return names


def write(documents: Iterable[Document], path: Path | str, findings: Findings | None = None) -> None:
    """All documents into one file; `read` gives them back.

    The format names a mention's type after its role and an event's after its trigger, and knows no events as arguments but
    combinations of drugs. Other annotations are left out and counted, never renamed.

    Raises:
        FileFormatError: The format cannot hold something, in strict mode.
    """
    findings = Findings() if findings is None else findings
    with writing(path) as file:
        for given in documents:
            document = _held(given)
            changed = sum(role != bare_role(role) for event in document.events for role, _ in event.arguments)
            note_losses(given, document, Counter({ROLE_NUMBERS: changed}), findings, path, "PHEE's JSON lines")
            file.write(json.dumps(_render(document), ensure_ascii=False) + "\n")


def _held(document: Document) -> Document:
    """What the format holds of a document."""
    types = {entity.id: entity.type for entity in document.entities}
    events = {event.id: event for event in document.events if types[event.trigger] == event.type}
    claimed: set[str] = set()
    kept: dict[str, Event] = {}

    def argument(event: Event, role: str, target: str) -> bool:
        combination, bare = event.type == _COMBINATION, bare_role(role)
        if target in types:
            inner = bare.removeprefix("Combination.") if combination else bare
            prefixed = not combination or bare.startswith("Combination.")
            return types[target] == bare and prefixed and not _RESERVED & set(inner.split("."))
        nested = events.get(target)
        if combination or role != _COMBINATION or nested is None or nested.type != _COMBINATION or target in claimed:
            return False
        claimed.add(target)
        return True

    for event in events.values():
        kept[event.id] = Event(event.id, event.type, event.trigger, tuple(pair for pair in event.arguments if argument(event, *pair)))
    held = tuple(event for event in kept.values() if event.type != _COMBINATION or event.id in claimed)
    used = {event.trigger for event in held} | {target for event in held for _, target in event.arguments}

    values: dict[str, Attribute] = {}
    for attribute in document.attributes:
        kind = types.get(attribute.target)
        if kind is not None and attribute.value is not None and attribute.type == f"{kind.rpartition('.')[2]}Value":
            values.setdefault(attribute.target, attribute)
    groups: dict[tuple[str, str], list[str]] = {}
    for event in held:
        for role, target in event.arguments:
            groups.setdefault((event.id, bare_role(role)), []).append(target)
    # a value stands beside all mentions of a role, so that they share it or none can have it
    valued: set[str] = set()
    for targets in groups.values():
        found = [values[target].value if target in values else None for target in targets]
        if len(set(found)) == 1:
            valued.update(targets)
    return Document(
        document.id,
        document.text,
        tuple(entity for entity in document.entities if entity.id in used),
        events=held,
        attributes=tuple(attribute for target, attribute in values.items() if target in valued),
    )


def _render(document: Document) -> dict[str, Any]:
    anchors = document.anchors()
    values = {attribute.target: attribute.value for attribute in document.attributes}
    events = {event.id: event for event in document.events}

    def filler(targets: list[str]) -> dict[str, Any]:
        found = [anchors[target] for target in targets]
        entry: dict[str, Any] = {
            "text": [[document.text[a:b] for a, b in entity.span.fragments] for entity in found],
            "start": [[a for a, _ in entity.span.fragments] for entity in found],
            "entity_id": [entity.id for entity in found],
        }
        shared = {values.get(target) for target in targets}
        if len(shared) == 1 and (value := shared.pop()) is not None:
            entry["value"] = True if value == "True" else value
        return entry

    def render(event: Event) -> dict[str, Any]:
        combination = event.type == _COMBINATION
        kind = "Combination" if combination else event.type
        entry: dict[str, Any] = {"event_id": event.id, "event_type": kind, "Trigger": filler([event.trigger])}
        entry["Trigger"].pop("value", None)
        roles: dict[str, list[str]] = {}
        for role, target in event.arguments:
            roles.setdefault(bare_role(role).removeprefix("Combination.") if combination else bare_role(role), []).append(target)
        for role in sorted(roles, key=lambda role: role.count(".")):
            place, *inner = role.split(".")
            holder = entry
            for deeper in inner:
                holder, place = holder.setdefault(place, {"text": [], "start": [], "entity_id": []}), deeper
            if role == _COMBINATION and not combination:
                holder[place] = [render(events[target]) for target in roles[role]]
            else:
                holder[place] = filler(roles[role])
        return entry

    nested = {target for event in document.events for role, target in event.arguments if target in events}
    outer = [render(event) for event in document.events if event.id not in nested]
    several = len(outer) > 1
    return {"id": document.id, "context": document.text, "is_mult_event": several, "annotations": [{"events": outer}]}
