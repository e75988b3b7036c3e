"""PHEE: JSON lines, one sentence each, with nested pharmacovigilance events.

An event has a trigger, arguments (Subject, Treatment, Effect) with sub-arguments
(``Treatment.Drug``), cues with a value (Severity, Negated, Speculated) and, inside a treatment, drug
combinations that are events of their own. In a `Document` every filler is an entity whose type
is its dotted role, every event a trigger with those roles as arguments, every cue value an
attribute, and a combination an event behind the role ``Treatment.Combination``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clinical_ie.document import Attribute, Document, Entity, Event, Span, bare_role
from clinical_ie.errors import DocumentError
from clinical_ie.files import read_text, writing
from clinical_ie.formats.findings import Findings

_COMBINATION = "Treatment.Combination"


def read(path: Path | str, findings: Findings | None = None) -> list[Document]:
    """Documents of one file.

    Raises:
        InputError: The file is missing.
        FileFormatError: A line that is no PHEE record, in strict mode.
    """
    findings = Findings() if findings is None else findings
    findings.begin()
    documents = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            documents.append(_Reader(json.loads(line), findings, path, number).document())
        except (ValueError, KeyError, TypeError, AttributeError, DocumentError) as error:
            kind = error if isinstance(error, DocumentError) else type(error).__name__
            findings.error(path, number, "malformed-record", f"not a PHEE record ({kind})", expected="{id, context, annotations}")
    return documents


class _Reader:
    """One line; ids of the file are kept where they are free."""

    def __init__(self, record: Mapping[str, Any], findings: Findings, path: Path | str, number: int) -> None:
        self.record, self.findings, self.path, self.number = record, findings, path, number
        self.text: str = record["context"]
        self.entities: list[Entity] = []
        self.by_key: dict[tuple[str, str, Span], str] = {}
        self.events: list[Event] = []
        self.attributes: list[Attribute] = []
        self.taken: set[str] = set()

    def document(self) -> Document:
        for annotation in self.record["annotations"]:
            for event in annotation["events"]:
                self.event(event, event["event_type"])
        parts = tuple(self.entities), (), tuple(self.events), tuple(self.attributes)
        return Document(self.record["id"], self.text, *parts)

    def fresh(self, name: str) -> str:
        rank, free = 2, name
        while free in self.taken:
            free, rank = f"{name}_{rank}", rank + 1
        self.taken.add(free)
        return free

    def event(self, event: Mapping[str, Any], kind: str) -> str:
        name = self.fresh(event["event_id"])
        triggers = self.mentions(event["Trigger"], kind)
        if len(triggers) != 1:
            raise DocumentError(f"event {name} has {len(triggers)} triggers")
        arguments: list[tuple[str, str]] = []
        for role, filler in event.items():
            if role not in ("event_id", "event_type", "Trigger"):
                self.arguments(role, filler, arguments, prefix="Combination." if kind == _COMBINATION else "")
        self.events.append(Event(name, kind, triggers[0], tuple(arguments)))
        return name

    def arguments(self, role: str, filler: Mapping[str, Any], found: list[tuple[str, str]], prefix: str = "") -> None:
        mentions = self.mentions(filler, prefix + role)
        found += [(prefix + role, mention) for mention in mentions]
        for key, inner in filler.items():
            if key == "value":
                for mention in mentions:
                    if not any(known.target == mention for known in self.attributes):
                        self.attributes.append(
                            Attribute(f"A{len(self.attributes) + 1}", f"{role.rpartition('.')[2]}Value", mention, str(inner))
                        )
            elif key == "Combination":
                found += [(_COMBINATION, self.event(event, _COMBINATION)) for event in inner]
            elif key not in ("text", "start", "entity_id"):
                self.arguments(f"{role}.{key}", inner, found, prefix)

    def mentions(self, filler: Mapping[str, Any], kind: str) -> list[str]:
        names = []
        for words, starts, name in zip(filler["text"], filler["start"], filler["entity_id"], strict=True):
            fragments = [(start, start + len(word)) for word, start in zip(words, starts, strict=True)]
            if any(self.text[a:b] != word for (a, b), word in zip(fragments, words, strict=True)):
                self.findings.warning(self.path, self.number, "covered-text-differs", f"{name} differs from the text, which wins")
            if fragments != sorted(fragments):
                message = f"{name}: fragments are put in text order"
                self.findings.warning(self.path, self.number, "fragments-out-of-order", message)
            span = Span(tuple(sorted(fragments)))
            key = name, kind, span
            if key not in self.by_key:  # one mention may fill roles of several events
                self.by_key[key] = self.fresh(name)
                self.entities.append(Entity(self.by_key[key], kind, span))
            names.append(self.by_key[key])
        return names


def write(documents: Iterable[Document], path: Path | str, findings: Findings | None = None) -> None:
    """All documents into one file; `read` gives them back.

    Raises:
        FileFormatError: Annotations that are part of no event, in strict mode.
    """
    findings = Findings() if findings is None else findings
    with writing(path) as file:
        for document in documents:
            record = _render(document, findings, path)
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _render(document: Document, findings: Findings, path: Path | str) -> dict[str, Any]:
    anchors = document.anchors()
    values = {attribute.target: attribute.value for attribute in document.attributes}
    events = {event.id: event for event in document.events}
    used: set[str] = set()

    def filler(targets: list[str]) -> dict[str, Any]:
        used.update(targets)
        found = [anchors[target] for target in targets]
        entry: dict[str, Any] = {
            "text": [[document.text[a:b] for a, b in entity.span.fragments] for entity in found],
            "start": [[a for a, _ in entity.span.fragments] for entity in found],
            "entity_id": [entity.id for entity in found],
        }
        if (value := values.get(targets[0])) is not None:
            entry["value"] = True if value == "True" else value
        return entry

    def render(event: Event) -> dict[str, Any]:
        combination = event.type == _COMBINATION
        kind = "Combination" if combination else event.type
        entry: dict[str, Any] = {"event_id": event.id, "event_type": kind, "Trigger": filler([event.trigger])}
        roles: dict[str, list[str]] = {}
        for role, target in event.arguments:
            roles.setdefault(bare_role(role).removeprefix("Combination.") if combination else bare_role(role), []).append(target)
        for role in sorted(roles, key=lambda role: role.count(".")):
            place, *inner = role.split(".")
            holder = entry
            for deeper in inner:
                holder, place = holder.setdefault(place, {"text": [], "start": [], "entity_id": []}), deeper
            if role == _COMBINATION:
                holder[place] = [render(events[target]) for target in roles[role]]
            else:
                holder[place] = filler(roles[role])
        return entry

    nested = {target for event in document.events for role, target in event.arguments if role == _COMBINATION}
    outer = [render(event) for event in document.events if event.id not in nested]
    said = {entity.id: f"{entity.type.rpartition('.')[2]}Value" for entity in document.entities if entity.id in used}
    lost = len(document.entities) - len(said) + len(document.relations)
    lost += sum(attribute.value is None or said.get(attribute.target) != attribute.type for attribute in document.attributes)
    lost += len(document.equivalences) + len(document.normalizations) + len(document.comments)
    if lost:
        problem = f"document {document.id}: {lost} annotations have no place in this format"
        findings.error(path, 0, "unrepresentable", problem, remedy="convert to brat or jsonl")
    several = len(outer) > 1
    return {"id": document.id, "context": document.text, "is_mult_event": several, "annotations": [{"events": outer}]}
