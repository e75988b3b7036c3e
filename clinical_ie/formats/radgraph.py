"""RadGraph 1.0.0: one JSON object, report id -> text, entities by token, relations inside their heads.

``start_ix`` and ``end_ix`` count the tokens that white space separates, both included. The test
file nests entities under ``labeler_1`` and ``labeler_2``; one of them is read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.errors import DocumentError, FileFormatError, InputError, shown
from clinical_ie.fields import Fields, MalformedDataError, elements, string
from clinical_ie.files import distinct, read_text, writing
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.json_text import parse
from clinical_ie.formats.losses import ROLE_NAMES, note_losses

_EXPECTED = "{report id: {text, entities: {id: {tokens, label, start_ix, end_ix, relations}}}}"
_TOKEN = re.compile(r"\S+")


def read(path: Path | str, findings: Findings | None = None, *, labeler: str = "labeler_1") -> list[Document]:
    """Documents of one file.

    Raises:
        InputError: The file is missing.
        FileFormatError: Not JSON, or (in strict mode) an entity without its tokens or target.
    """
    findings = Findings() if findings is None else findings
    findings.begin()
    try:
        reports = Fields(parse(read_text(path).removeprefix("\ufeff")))
    except MalformedDataError as error:
        raise FileFormatError(path, error.line, error.found, expected=_EXPECTED, remedy=error.remedy) from None
    documents = []
    for name in reports.data:
        try:
            if not name:
                raise MalformedDataError("", "a report's id is empty", expected="at least one character")
            documents.append(_document(name, Fields(reports.data[name], shown(name)), findings, path, labeler))
        except (MalformedDataError, DocumentError) as error:
            problem = error.found if isinstance(error, MalformedDataError) else str(error)
            findings.error(path, 0, "malformed-document", problem, expected=_EXPECTED)
    return documents


def _document(name: str, report: Fields, findings: Findings, path: Path | str, labeler: str) -> Document:
    """One report; entities and relations that are broken are errors of their own."""
    text = report.string("text")
    holder = report if "entities" in report else Fields(report.get(labeler), report.at(labeler))
    listed = Fields(holder.get("entities"), holder.at("entities"))
    tokens = [(match.start(), match.end()) for match in _TOKEN.finditer(text)]
    entities: list[Entity] = []
    links: list[tuple[str, str, str, str]] = []
    for key in listed.data:
        entry_place = listed.at(shown(key))
        try:
            entry = Fields(listed.data[key], entry_place)
            entry.only("tokens", "label", "start_ix", "end_ix", "relations")
            first, last, label, covered = entry.integer("start_ix"), entry.integer("end_ix"), entry.string("label"), entry.string("tokens")
            if not first <= last < len(tokens):
                raise MalformedDataError(entry_place, f"there are no tokens {first} to {last}", expected=f"0 to {len(tokens) - 1}")
            named = entry.listed("relations", _relation)
        except MalformedDataError as error:
            expected = error.expected or "{tokens, label, start_ix, end_ix, relations}"
            findings.error(path, 0, "malformed-record", error.found, expected=expected, remedy=error.remedy)
            continue
        span = Span.of(tokens[first][0], tokens[last][1])
        if text[span.start : span.end].split() != covered.split():
            findings.warning(path, 0, "covered-text-differs", f"{entry_place}: tokens differ from the text, which wins")
        entities.append(Entity(key, label, span))
        links += [(f"{entry_place}.relations[{rank}]", kind, key, target) for rank, (kind, target) in enumerate(named)]
    known = {entity.id for entity in entities}
    relations: list[Relation] = []
    names = (name for name in map("R{}".format, count(1)) if name not in known)
    for place, kind, head, target in links:
        if target in known:
            relations.append(Relation(next(names), kind, head, target))
        else:
            findings.error(
                path, 0, "unknown-target", f"{place} refers to an entity that does not exist", remedy="add it or remove the reference"
            )
    return Document(name, text, tuple(entities), tuple(relations))


def _relation(value: object, place: str) -> tuple[str, str]:
    kind, target = elements(value, place, 2)
    return string(kind, f"{place}[0]"), string(target, f"{place}[1]")


def write(documents: Iterable[Document], path: Path | str, findings: Findings | None = None) -> None:
    """All documents into one file.

    Raises:
        FileFormatError: A mention that does not begin and end with tokens, events, attributes: in strict mode.
    """
    findings = Findings() if findings is None else findings
    data: dict[str, Any] = {}
    listed = list(documents)
    distinct((document.id for document in listed), path)
    for given in listed:
        document, places = _held(given.joined())
        changed = Counter({ROLE_NAMES: sum(relation.roles != ("Arg1", "Arg2") for relation in document.relations)})
        note_losses(given, document, changed, findings, path, "RadGraph's JSON")
        entries: dict[str, Any] = {}
        for entity in document.entities:
            first, last = places[entity.id]
            covered = " ".join(document.covered(entity.span).split())
            entries[entity.id] = {"tokens": covered, "label": entity.type, "start_ix": first, "end_ix": last, "relations": []}
        for relation in document.relations:
            entries[relation.head]["relations"].append([relation.type, relation.tail])
        data[document.id] = {"text": document.text, "entities": entries}
    if not data:
        raise InputError(f"{path}: no documents to write")
    with writing(path) as file:
        json.dump(data, file, ensure_ascii=False, indent=1)


def _held(document: Document) -> tuple[Document, dict[str, tuple[int, int]]]:
    """What the format holds of a document, and the first and last token of each mention by its id."""
    starts, ends = {}, {}
    for index, match in enumerate(_TOKEN.finditer(document.text)):
        starts[match.start()] = ends[match.end()] = index
    places = {
        entity.id: (starts[entity.start], ends[entity.end])
        for entity in document.entities
        if entity.start in starts and entity.end in ends and not entity.span.discontinuous
    }
    entities = tuple(entity for entity in document.entities if entity.id in places)
    relations = tuple(relation for relation in document.relations if relation.head in places and relation.tail in places)
    return Document(document.id, document.text, entities, relations), places
