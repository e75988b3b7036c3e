"""FHIR DocumentReference resources as bulk exports have them, and standard input."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.extraction.inputs import BadNote, Note, read


def attached(text: str, charset: str | None = "utf-8", kind: str = "text/plain") -> dict[str, Any]:
    data = base64.b64encode(text.encode(charset or "utf-8")).decode()
    return {"attachment": {"contentType": f"{kind}; charset={charset}" if charset else kind, "data": data}}


def resource(name: str | None, *content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    named = {} if name is None else {"id": name}
    return {"resourceType": "DocumentReference", **named, "status": "current", "content": list(content), **fields}


def put(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_attachments_in_their_charset(tmp_path: Path) -> None:
    context = {"subject": {"reference": "Patient/p1"}, "context": {"encounter": [{"reference": "Encounter/e1"}]}}
    counts: Counter[str] = Counter()
    path = put(
        tmp_path / "DocumentReference.000.ndjson",
        resource("a", attached("Fièvre\r\n😀"), **context),
        resource("b", attached("Fièvre", "iso-8859-1")),
        resource("c", attached("Fièvre", "utf-16")),
        resource("d", attached("Fièvre", None)),
        resource("e", {"attachment": {"data": base64.b64encode(b"Fever").decode()}}),
        {"resourceType": "Patient", "id": "p1"},
        {"resourceType": "Bundle", "entry": [{"resource": resource("f", attached("x", kind="text/html"), attached("Fever"))}, {}]},
    )
    assert list(read(path, counts=counts)) == [
        Note("a", "Fièvre\r\n😀", {"source": "DocumentReference/a", "subject": "Patient/p1", "encounter": "Encounter/e1"}),
        Note("b", "Fièvre", {"source": "DocumentReference/b", "encoding": "iso-8859-1"}),
        Note("c", "Fièvre", {"source": "DocumentReference/c", "encoding": "utf-16"}),
        Note("d", "Fièvre", {"source": "DocumentReference/d"}),
        Note("e", "Fever", {"source": "DocumentReference/e"}),
        Note("f", "Fever", {"source": "DocumentReference/f"}),
    ]
    assert counts == {
        "not read: FHIR resource that is no DocumentReference": 1,
        "not read: further formats of a document": 1,
        "read as iso-8859-1": 1,
        "read as utf-16": 1,
    }


def test_what_did_not_happen_is_not_counted(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    list(read(put(tmp_path / "a.ndjson", resource("a", attached("Fever"))), counts=counts))
    assert list(counts) == []


def test_bad_resources_never_stop_the_others(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.ndjson",
        resource(None, attached("nameless")),
        resource("none"),
        resource("link", {"attachment": {"contentType": "text/plain", "url": "Binary/1"}}),
        resource("nothing", {"attachment": {"contentType": "text/plain"}}),
        resource("html", attached("<p>", kind="text/html"), attached("%PDF", kind="application/pdf")),
        resource("coded", {"attachment": {"contentType": "text/plain", "data": "é"}}),
        resource("charset", {"attachment": {"contentType": "text/plain; charset=klingon", "data": "Rg=="}}),
        resource("wrong", attached("Fever"), status="entered-in-error"),
        resource("bytes", {"attachment": {"contentType": "text/plain; charset=utf-8", "data": "Ruk="}}),
        resource("good", attached("Fever")),
    )
    assert list(read(path)) == [
        BadNote("a.ndjson:1", "a DocumentReference without an id"),
        BadNote("none", "no attachment"),
        BadNote("link", "its attachment is only a link, which is not followed; put the data into it"),
        BadNote("nothing", "its attachment has no data"),
        BadNote("html", "attachments of type application/pdf, text/html only; expected text/plain"),
        BadNote("coded", "its attachment is not base64"),
        BadNote("charset", "the charset of its attachment is unknown"),
        BadNote("wrong", "its status is entered-in-error"),
        BadNote("bytes", "byte 1 is not utf-8"),
        Note("good", "Fever", {"source": "DocumentReference/good"}),
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"Fever.\r\n  ok\n", [Note("stdin", "Fever.\r\n  ok\n")]),
        (b"{draft} Fever", [Note("stdin", "{draft} Fever")]),
        (b'{"id": 1, "text": "Fever"}\n{"id": 2, "text": "Pain"}', [Note("1", "Fever"), Note("2", "Pain")]),
        (b'{"id": 1, "text": "Fever"}', [Note("1", "Fever")]),
        (b"", [BadNote("stdin", "empty")]),
    ],
)
def test_standard_input(monkeypatch: pytest.MonkeyPatch, given: bytes, expected: list[Note]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert list(read("-")) == expected


def test_a_long_first_line_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "x" * 100_000
    data = "".join(json.dumps({"id": rank, "text": text}) + "\n" for rank in range(2)).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert list(read("-")) == [Note("0", text), Note("1", text)]


def test_a_large_note_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 1000)))
    (note,) = read("-", most_characters=100)
    assert isinstance(note, BadNote)
    assert note.reason.startswith("more than 400 bytes, more than the limit of 100")
