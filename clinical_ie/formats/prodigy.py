"""Prodigy's JSON lines: mentions as ``spans``, relations between spans. Read only.

``{"text": "...", "spans": [{"start", "end", "label"}], "relations": [{"label", "head_span", "child_span"}], "answer": "accept"}``.
What the annotator rejected or ignored is left out, and counted. Offsets count Unicode code points.

Reference: https://prodi.gy/docs/api-interfaces
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.fields import Fields, MalformedDataError
from clinical_ie.formats.doccano import count_metadata, document_id, unknown_keys
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.json_text import read_lines

_EXPECTED = '{"text", "spans": [{"start", "end", "label"}], "answer"}'
_KEYS = ("id", "text", "spans", "relations", "answer")
_TOOL = ("_input_hash", "_task_hash", "_session_id", "_annotator_id", "_view_id", "_timestamp", "_is_binary", "tokens", "config")


def read(path: Path | str, findings: Findings | None = None) -> list[Document]:
    """Documents of one file, named by their ``id``, else after file and line.

    Raises:
        InputError: The file is missing.
        FileFormatError: A line that is no annotated text, in strict mode.
    """
    findings = Findings() if findings is None else findings

    def document(value: Any, number: int) -> Document | None:
        fields = Fields(value)
        if "spans" not in fields and "answer" not in fields:
            raise MalformedDataError("", "neither spans nor an answer", expected=_EXPECTED, remedy=unknown_keys(fields, _KEYS))
        if (answer := fields.string_or("answer", "accept")) != "accept":
            if answer not in ("reject", "ignore"):
                raise MalformedDataError(fields.at("answer"), "an unknown answer", expected="accept, reject or ignore")
            findings.warning(path, number, "not-accepted", f"the annotator's answer is {answer}: not read")
            return None
        count_metadata(fields, (*_KEYS, *_TOOL), findings, path, number)
        spans = list(fields.mappings("spans"))
        entities = tuple(_entity(span, rank) for rank, span in enumerate(spans, 1))
        ids = _ids(entities)
        relations = tuple(_relation(entry, rank, ids) for rank, entry in enumerate(fields.mappings("relations"), 1))
        return Document(document_id(fields, path, number), fields.string("text"), entities, relations)

    return list(read_lines(path, findings, document, expected=_EXPECTED))


def _entity(span: Fields, rank: int) -> Entity:
    return Entity(f"T{rank}", span.string("label"), Span.of(span.integer("start"), span.integer("end")))


def _ids(entities: tuple[Entity, ...]) -> dict[tuple[Span, str | None], str]:
    """Span and label -> the first id; without a label, that of the first mention at the span."""
    found: dict[tuple[Span, str | None], str] = {}
    for entity in entities:
        for label in (entity.type, None):
            found.setdefault((entity.span, label), entity.id)
    return found


def _relation(entry: Fields, rank: int, ids: dict[tuple[Span, str | None], str]) -> Relation:
    ends = []
    for key in ("head_span", "child_span"):
        end = Fields(entry.get(key), entry.at(key))
        span = Span.of(end.integer("start"), end.integer("end"))
        label = None if end.data.get("label") is None else end.string("label")
        if (span, label) not in ids:
            raise MalformedDataError(entry.at(key), "is none of the spans", remedy="give every end of a relation a label")
        ends.append(ids[span, label])
    return Relation(f"R{rank}", entry.string("label"), ends[0], ends[1])
