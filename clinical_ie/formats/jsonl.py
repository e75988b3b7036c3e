"""Our own format: one document a line, JSON, nothing lost.

``{"id", "text", "entities": [{"id", "type", "fragments": [[start, end]]}], ...}``; empty lists
are left out. Offsets are half-open and count Unicode code points.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from operator import index
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
from clinical_ie.errors import DocumentError, InputError
from clinical_ie.files import writing
from clinical_ie.formats.findings import Findings


def read(path: Path | str, findings: Findings | None = None) -> list[Document]:
    """Documents of a file, or of all ``.jsonl`` files of a folder.

    Raises:
        InputError: Nothing there.
        FileFormatError: A line that is no document, in strict mode.
    """
    if os.path.isdir(path):
        files = sorted(Path(path).glob("*.jsonl"))
        if not files:
            raise InputError(f"{path}: no .jsonl file")
        return [document for file in files for document in read(file, findings)]
    return list(stream(path, findings))


def stream(path: Path | str, findings: Findings | None = None) -> Iterator[Document]:
    """Documents of a file one after the other, without holding the others in memory."""
    findings = Findings() if findings is None else findings
    findings.begin()
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed by the with below)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    with file:
        for number, line in enumerate(file, 1):
            if line.isspace():
                continue
            try:
                yield from_dict(json.loads(line.decode("utf-8")))
            except (ValueError, LookupError, TypeError, AttributeError, DocumentError) as error:
                kind = error if isinstance(error, DocumentError) else type(error).__name__
                findings.error(path, number, "malformed-document", f"not a document ({kind})", expected='{"id", "text", ...}')


def write(documents: Iterable[Document], path: Path | str) -> None:
    """All documents into one file."""
    with writing(path) as file:
        for document in documents:
            file.write(json.dumps(to_dict(document), ensure_ascii=False) + "\n")


def to_dict(document: Document) -> dict[str, Any]:
    """Plain lists and dicts; `from_dict` reads them back."""
    data: dict[str, Any] = {
        "id": document.id,
        "text": document.text,
        "entities": [{"id": e.id, "type": e.type, "fragments": [list(f) for f in e.span.fragments]} for e in document.entities],
        "relations": [
            {"id": r.id, "type": r.type, "head": r.head, "tail": r.tail} | ({} if r.roles == ("Arg1", "Arg2") else {"roles": list(r.roles)})
            for r in document.relations
        ],
        "events": [
            {"id": e.id, "type": e.type, "trigger": e.trigger, "arguments": [list(pair) for pair in e.arguments]} for e in document.events
        ],
        "attributes": [{"id": a.id, "type": a.type, "target": a.target, "value": a.value} for a in document.attributes],
        "equivalences": [{"type": g.type, "members": list(g.members)} for g in document.equivalences],
        "normalizations": [
            {"id": n.id, "type": n.type, "target": n.target, "entry": n.entry, "text": n.text} for n in document.normalizations
        ],
        "comments": [{"id": c.id, "type": c.type, "target": c.target, "text": c.text} for c in document.comments],
    }
    return {key: value for key, value in data.items() if value or key in ("id", "text")}


def from_dict(data: Mapping[str, Any]) -> Document:
    """The document that `to_dict` wrote down.

    Raises:
        KeyError: A field is missing.
        DocumentError: The annotations contradict the text.
    """
    return Document(
        data["id"],
        data["text"],
        tuple(
            Entity(e["id"], e["type"], Span(tuple((index(f[0]), index(f[1])) for f in e["fragments"]))) for e in data.get("entities", ())
        ),
        tuple(
            Relation(r["id"], r["type"], r["head"], r["tail"], tuple(r.get("roles", ("Arg1", "Arg2")))) for r in data.get("relations", ())
        ),
        tuple(
            Event(e["id"], e["type"], e["trigger"], tuple((pair[0], pair[1]) for pair in e["arguments"])) for e in data.get("events", ())
        ),
        tuple(Attribute(a["id"], a["type"], a["target"], a.get("value")) for a in data.get("attributes", ())),
        tuple(Equivalence(g["type"], tuple(g["members"])) for g in data.get("equivalences", ())),
        tuple(Normalization(n["id"], n["type"], n["target"], n["entry"], n.get("text", "")) for n in data.get("normalizations", ())),
        tuple(Comment(c["id"], c["type"], c["target"], c.get("text", "")) for c in data.get("comments", ())),
    )
