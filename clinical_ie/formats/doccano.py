"""doccano's JSON lines: mentions as ``label``, or ``entities`` with ``relations``. Read only.

``{"id": 1, "text": "...", "label": [[0, 7, "Drug"]]}`` is what a project of sequence labelling exports,
``{"id": 1, "text": "...", "entities": [{"id", "label", "start_offset", "end_offset"}], "relations": [{"id", "from_id", "to_id",
"type"}]}`` one with relations. Ids are numbers or words; annotations get new ones. Offsets count Unicode code points.

Reference: https://doccano.github.io/doccano
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.fields import Fields, MalformedDataError, elements, integer, shown_key, string
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.json_text import read_lines

_EXPECTED = '{"id", "text", "label": [[start, end, type]]} or {"id", "text", "entities", "relations"}'
_KEYS = ("id", "text", "label", "labels", "entities", "relations")


def read(path: Path | str, findings: Findings | None = None) -> list[Document]:
    """Documents of one file; those without an id are named after file and line.

    Fields of the project (metadata, comments) are not kept, and counted.

    Raises:
        InputError: The file is missing.
        FileFormatError: A line that is no annotated text, in strict mode.
    """
    findings = Findings() if findings is None else findings

    def document(value: Any, number: int) -> Document:
        fields = Fields(value)
        count_metadata(fields, _KEYS, findings, path, number)
        name = document_id(fields, path, number)
        text = fields.string("text")
        marked = [key for key in ("label", "labels", "entities") if key in fields]
        if len(marked) != 1:
            problem = f"found {' and '.join(marked)}" if marked else "neither label nor entities"
            raise MalformedDataError("", problem, expected=_EXPECTED, remedy=unknown_keys(fields, _KEYS))
        if marked[0] == "entities":
            return _with_relations(fields, name, text)
        spans = fields.listed(marked[0], _labelled)
        return Document(name, text, tuple(Entity(f"T{rank}", kind, span) for rank, (span, kind) in enumerate(spans, 1)))

    return list(read_lines(path, findings, document, expected=_EXPECTED))


def document_id(fields: Fields, path: Path | str, number: int) -> str:
    """A line's own id, number or word; else the file's name and the line."""
    if fields.data.get("id") is None:
        return f"{Path(path).stem}_{number}"
    return _id(fields, "id")


def count_metadata(fields: Fields, known: tuple[str, ...], findings: Findings, path: Path | str, number: int) -> None:
    """Count each field that holds something which is no annotation."""
    for key, value in fields.data.items():
        if key not in known and value not in (None, "", [], {}):
            findings.warning(path, number, "metadata-not-kept", f"the field {shown_key(key)} is not kept")


def unknown_keys(fields: Fields, known: tuple[str, ...]) -> str:
    """Which keys a line has instead, for a message."""
    others = [shown_key(key) for key in fields.data if key not in known]
    return f"there are {', '.join(others[:5])}; is this the right --from?" if others else ""


def _id(fields: Fields, key: str) -> str:
    value = fields.get(key)
    return str(integer(value, fields.at(key))) if type(value) is int else fields.string(key, empty=False)


def _labelled(value: object, place: str) -> tuple[Span, str]:
    start, end, kind = elements(value, place, 3)
    return Span.of(integer(start, f"{place}[0]"), integer(end, f"{place}[1]")), string(kind, f"{place}[2]")


def _with_relations(fields: Fields, name: str, text: str) -> Document:
    entities: list[Entity] = []
    names: dict[str, str] = {}
    for rank, entry in enumerate(fields.mappings("entities"), 1):
        entry.only("id", "label", "start_offset", "end_offset")
        span = Span.of(entry.integer("start_offset"), entry.integer("end_offset"))
        entities.append(Entity(f"T{rank}", entry.string("label"), span))
        if names.setdefault(_id(entry, "id"), f"T{rank}") != f"T{rank}":
            raise MalformedDataError(entry.at("id"), "stands twice")
    relations: list[Relation] = []
    for rank, entry in enumerate(fields.mappings("relations"), 1):
        entry.only("id", "type", "from_id", "to_id")
        ends = []
        for key in ("from_id", "to_id"):
            if (end := names.get(_id(entry, key))) is None:
                raise MalformedDataError(entry.at(key), "names an entity that does not exist")
            ends.append(end)
        relations.append(Relation(f"R{rank}", entry.string("type"), ends[0], ends[1]))
    return Document(name, text, tuple(entities), tuple(relations))
