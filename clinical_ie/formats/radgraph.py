"""RadGraph 1.0.0: one JSON object, report id -> text, entities by token, relations inside their heads.

``start_ix`` and ``end_ix`` count the tokens that white space separates, both included. The test
file nests entities under ``labeler_1`` and ``labeler_2``; one of them is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.errors import FileFormatError, InputError
from clinical_ie.files import distinct, read_text, writing
from clinical_ie.formats.findings import Findings

_TOKEN = re.compile(r"\S+")


def read(path: Path | str, findings: Findings | None = None, *, labeler: str = "labeler_1") -> list[Document]:
    """Documents of one file.

    Raises:
        InputError: The file is missing.
        FileFormatError: Not JSON, or (in strict mode) an entity without its tokens or target.
    """
    findings = Findings() if findings is None else findings
    findings.begin()
    text = read_text(path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileFormatError(path, error.lineno, "not JSON", expected="{report id: {text, entities}}") from None
    if not isinstance(data, dict):
        raise FileFormatError(path, 1, "not a JSON object", expected="{report id: {text, entities}}")
    return [_parse(str(name), report, findings, path, labeler) for name, report in data.items()]


def _parse(name: str, report: Mapping[str, Any], findings: Findings, path: Path | str, labeler: str) -> Document:
    try:
        text = report["text"]
        listed = report["entities"] if "entities" in report else report[labeler]["entities"]
        if not isinstance(text, str) or not isinstance(listed, dict):
            raise TypeError
    except (KeyError, TypeError):
        findings.error(path, 0, "malformed-document", f"report {name} has no text or entities", expected="{text, entities}")
        return Document(name, "")
    tokens = [(match.start(), match.end()) for match in _TOKEN.finditer(text)]
    entities, pairs = [], []
    for key, entry in listed.items():
        try:
            first, last, label = int(entry["start_ix"]), int(entry["end_ix"]), str(entry["label"])
            if not 0 <= first <= last < len(tokens):
                raise ValueError
            links = [(str(kind), str(target)) for kind, target in entry.get("relations", ())]
        except (KeyError, TypeError, ValueError):
            problem = f"report {name}, entity {key}: no label, or no such tokens"
            findings.error(path, 0, "malformed-record", problem, expected="{tokens, label, start_ix, end_ix, relations}")
            continue
        span = Span.of(tokens[first][0], tokens[last][1])
        if text[span.start : span.end].split() != str(entry.get("tokens", "")).split():
            problem = f"report {name}, entity {key}: tokens differ from the text, which wins"
            findings.warning(path, 0, "covered-text-differs", problem)
        entities.append(Entity(str(key), label, span))
        pairs += [(kind, str(key), target) for kind, target in links]
    known = {entity.id for entity in entities}
    relations: list[Relation] = []
    for kind, head, target in pairs:
        if target in known:
            relations.append(Relation(f"R{len(relations) + 1}", kind, head, target))
        else:
            findings.error(path, 0, "unknown-target", f"report {name}, entity {head} refers to {target}, which does not exist")
    return Document(name, text, tuple(entities), tuple(relations))


def write(documents: Iterable[Document], path: Path | str, findings: Findings | None = None) -> None:
    """All documents into one file.

    Raises:
        FileFormatError: A mention that does not begin and end with tokens, events, attributes: in strict mode.
    """
    findings = Findings() if findings is None else findings
    data: dict[str, Any] = {}
    listed = list(documents)
    distinct((document.id for document in listed), path)
    for document in listed:
        places = {match.start(): index for index, match in enumerate(_TOKEN.finditer(document.text))}
        ends = {match.end(): index for index, match in enumerate(_TOKEN.finditer(document.text))}
        entries: dict[str, Any] = {}
        for entity in document.joined().entities:
            first, last = places.get(entity.start), ends.get(entity.end)
            if first is None or last is None or entity.span.discontinuous:
                problem = f"document {document.id}, mention {entity.id} at {entity.span.fragments} does not begin and end with tokens"
                findings.error(path, 0, "unrepresentable", problem, remedy="convert to brat or jsonl")
                continue
            covered = " ".join(document.covered(entity.span).split())
            entries[entity.id] = {"tokens": covered, "label": entity.type, "start_ix": first, "end_ix": last, "relations": []}
        for relation in document.relations:
            if relation.head in entries and relation.tail in entries:
                entries[relation.head]["relations"].append([relation.type, relation.tail])
            else:
                findings.error(path, 0, "unrepresentable", f"document {document.id}, relation {relation.id}: an end is left out")
        rest = len(document.events) + len(document.attributes) + len(document.equivalences)
        rest += len(document.normalizations) + len(document.comments)
        if rest:
            problem = f"document {document.id}: {rest} events, attributes or notes have no place in this format"
            findings.error(path, 0, "unrepresentable", problem, remedy="convert to brat or jsonl")
        data[document.id] = {"text": document.text, "entities": entries}
    if not data:
        raise InputError(f"{path}: no documents to write")
    with writing(path) as file:
        json.dump(data, file, ensure_ascii=False, indent=1)
