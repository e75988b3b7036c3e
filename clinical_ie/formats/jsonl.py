"""Our own format: one document a line, JSON, nothing lost.

``{"id", "text", "entities": [{"id", "type", "fragments": [[start, end]]}], ...}``; empty lists
are left out, other keys are refused. Offsets are half-open and count Unicode code points.
Where a model says them, ``"confidence"`` stands with entities, relations, events and attributes, and
``"argument_confidences"`` with events, one for each argument.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clinical_ie.document import (
    Attribute,
    Comment,
    Document,
    Entity,
    Equivalence,
    Event,
    Normalization,
    Relation,
    Span,
)
from clinical_ie.errors import InputError, shown
from clinical_ie.fields import Fields, elements, integer, probability, string
from clinical_ie.files import writing
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_files
from clinical_ie.formats.json_text import read_lines

_KEYS = ("id", "text", "entities", "relations", "events", "attributes", "equivalences", "normalizations", "comments")


def read(path: Path | str, findings: Findings | None = None) -> list[Document]:
    """Documents of a file, or of all ``.jsonl`` files of a folder.

    Raises:
        InputError: Nothing there.
        FileFormatError: A line that is no document, in strict mode.
    """
    if os.path.isdir(path):
        findings = Findings() if findings is None else findings
        findings.begin()
        listed = find_files(path, (".jsonl",), findings)
        files = [Path(paths[".jsonl"]) for name, paths in listed.items() if "/" not in name]
        if not files:
            raise InputError(f"{path}: no .jsonl file")
        found: dict[str, Document] = {}
        for file in files:
            for document in stream(file, findings):
                if document.id in found:
                    problem = f"the document id {shown(document.id)} stands in another file of the folder too"
                    findings.error(file, 0, "duplicate-document-id", problem, remedy="rename one of them, or give one file")
                found.setdefault(document.id, document)
        return list(found.values())
    return list(stream(path, findings))


def stream(path: Path | str, findings: Findings | None = None) -> Iterator[Document]:
    """Documents of a file one after the other, without holding the others in memory."""
    findings = Findings() if findings is None else findings
    return read_lines(path, findings, lambda value, _: from_dict(value), expected='{"id", "text", "entities", ...}, one object a line')


def write(documents: Iterable[Document], path: Path | str) -> None:
    """All documents into one file."""
    with writing(path) as file:
        file.writelines(map(line, documents))


def line(document: Document) -> str:
    """A document as a line of a file."""
    return json.dumps(to_dict(document), ensure_ascii=False) + "\n"


def to_dict(document: Document) -> dict[str, Any]:
    """Plain lists and dicts; `from_dict` reads them back."""
    data: dict[str, Any] = {
        "id": document.id,
        "text": document.text,
        "entities": [
            {"id": e.id, "type": e.type, "fragments": [list(f) for f in e.span.fragments]} | _confidence(e) for e in document.entities
        ],
        "relations": [
            {"id": r.id, "type": r.type, "head": r.head, "tail": r.tail}
            | ({} if r.roles == ("Arg1", "Arg2") else {"roles": list(r.roles)})
            | _confidence(r)
            for r in document.relations
        ],
        "events": [
            {"id": e.id, "type": e.type, "trigger": e.trigger, "arguments": [list(pair) for pair in e.arguments]}
            | _confidence(e)
            | ({"argument_confidences": list(e.argument_confidences)} if e.argument_confidences else {})
            for e in document.events
        ],
        "attributes": [{"id": a.id, "type": a.type, "target": a.target, "value": a.value} | _confidence(a) for a in document.attributes],
        "equivalences": [{"type": g.type, "members": list(g.members)} for g in document.equivalences],
        "normalizations": [
            {"id": n.id, "type": n.type, "target": n.target, "entry": n.entry, "text": n.text} for n in document.normalizations
        ],
        "comments": [{"id": c.id, "type": c.type, "target": c.target, "text": c.text} for c in document.comments],
    }
    return {key: value for key, value in data.items() if value or key in ("id", "text")}


def _confidence(annotation: Entity | Relation | Event | Attribute) -> dict[str, float]:
    return {} if annotation.confidence is None else {"confidence": annotation.confidence}


def from_dict(data: object) -> Document:
    """The document that `to_dict` wrote down.

    Raises:
        MalformedDataError: A field is missing, unknown or of another type.
        DocumentError: The annotations contradict the text.
    """
    fields = Fields(data)
    fields.only(*_KEYS, remedy=_other_tool(fields))
    return Document(
        fields.string("id", empty=False),
        fields.string("text"),
        tuple(_entity(e) for e in fields.mappings("entities")),
        tuple(_relation(r) for r in fields.mappings("relations")),
        tuple(_event(e) for e in fields.mappings("events")),
        tuple(_attribute(a) for a in fields.mappings("attributes")),
        tuple(_equivalence(g) for g in fields.mappings("equivalences")),
        tuple(_normalization(n) for n in fields.mappings("normalizations")),
        tuple(_comment(c) for c in fields.mappings("comments")),
    )


def _other_tool(fields: Fields) -> str:
    """What to do with a line of another tool; empty where none is recognised."""
    for name, keys in (("doccano", ("label", "labels")), ("prodigy", ("spans", "_input_hash", "_task_hash"))):
        if any(key in fields for key in keys):
            return f"this looks like {name}'s export: clinical-ie corpus convert FILE --from {name} --to jsonl --output NEW"
    return ""


def _pair(value: object, place: str) -> tuple[int, int]:
    start, end = elements(value, place, 2)
    return integer(start, f"{place}[0]"), integer(end, f"{place}[1]")


def _names(value: object, place: str) -> tuple[str, str]:
    first, second = elements(value, place, 2)
    return string(first, f"{place}[0]"), string(second, f"{place}[1]")


def _entity(fields: Fields) -> Entity:
    other = "this looks like doccano's export: clinical-ie corpus convert FILE --from doccano --to jsonl --output NEW"
    fields.only("id", "type", "fragments", "confidence", remedy=other if "start_offset" in fields else "")
    fields.get("fragments")
    return Entity(
        fields.string("id"), fields.string("type"), Span(tuple(fields.listed("fragments", _pair))), fields.probability_or_none("confidence")
    )


def _relation(fields: Fields) -> Relation:
    fields.only("id", "type", "head", "tail", "roles", "confidence")
    roles = _names(fields.get("roles"), fields.at("roles")) if "roles" in fields else ("Arg1", "Arg2")
    name, kind, head, tail = (fields.string(key) for key in ("id", "type", "head", "tail"))
    return Relation(name, kind, head, tail, roles, fields.probability_or_none("confidence"))


def _event(fields: Fields) -> Event:
    fields.only("id", "type", "trigger", "arguments", "confidence", "argument_confidences")
    fields.get("arguments")
    name, kind, trigger = (fields.string(key) for key in ("id", "type", "trigger"))
    confidences = tuple(fields.listed("argument_confidences", lambda value, at: None if value is None else probability(value, at)))
    return Event(name, kind, trigger, tuple(fields.listed("arguments", _names)), fields.probability_or_none("confidence"), confidences)


def _attribute(fields: Fields) -> Attribute:
    fields.only("id", "type", "target", "value", "confidence")
    value = None if fields.data.get("value") is None else fields.string("value")
    return Attribute(fields.string("id"), fields.string("type"), fields.string("target"), value, fields.probability_or_none("confidence"))


def _equivalence(fields: Fields) -> Equivalence:
    fields.only("type", "members")
    fields.get("members")
    return Equivalence(fields.string("type"), tuple(fields.strings("members")))


def _normalization(fields: Fields) -> Normalization:
    fields.only("id", "type", "target", "entry", "text")
    name, kind, target, entry = (fields.string(key) for key in ("id", "type", "target", "entry"))
    return Normalization(name, kind, target, entry, fields.string_or("text", ""))


def _comment(fields: Fields) -> Comment:
    fields.only("id", "type", "target", "text")
    return Comment(fields.string("id"), fields.string("type"), fields.string("target"), fields.string_or("text", ""))
