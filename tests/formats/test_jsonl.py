from __future__ import annotations

import json
from pathlib import Path

import pytest

from clinical_ie.document import Document
from clinical_ie.errors import FileFormatError, InputError
from clinical_ie.formats import brat, jsonl
from clinical_ie.formats.findings import Findings

FULL = brat.parse(
    "sub/d",
    "🙂 Smokes\r\ncigars\u2028daily",
    "T1\tTobacco 2 8\tSmokes\nT2\tType 10 13;14 16\tcig rs\nE1\tTobacco:T1 Type2:T2\nR1\tHolds Whole:E1 Part:T2\nR2\tSame Arg1:T1 Arg2:T2\n"
    "A1\tNegated E1\nA2\tStatus T1 past\n*\tEquiv T1 T2\nN1\tReference T1 UMLS:C1\tsmoker\n#1\tAnnotatorNotes T1\tsure?\n",
)


def test_nothing_is_lost(tmp_path: Path) -> None:
    documents = [FULL, Document("empty", "")]
    jsonl.write(documents, tmp_path / "a.jsonl")
    assert jsonl.read(tmp_path / "a.jsonl") == documents
    assert list(jsonl.stream(tmp_path / "a.jsonl")) == documents


def test_the_file_is_one_plain_record_a_line(tmp_path: Path) -> None:
    jsonl.write([FULL], tmp_path / "a.jsonl")
    (line,) = (tmp_path / "a.jsonl").read_bytes().rstrip(b"\n").split(b"\n")
    record = json.loads(line)
    assert record["entities"][1] == {"id": "T2", "type": "Type", "fragments": [[10, 13], [14, 16]]}
    assert record["events"] == [{"id": "E1", "type": "Tobacco", "trigger": "T1", "arguments": [["Type2", "T2"]]}]
    assert "🙂".encode() in line


def test_empty_lists_and_blank_lines_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"id": "d", "text": "x"}\n  \n')
    assert jsonl.read(tmp_path / "a.jsonl") == [Document("d", "x")]


def test_all_files_of_a_folder_by_name(tmp_path: Path) -> None:
    jsonl.write([Document("2", "")], tmp_path / "b.jsonl")
    jsonl.write([Document("1", "")], tmp_path / "a.jsonl")
    assert [document.id for document in jsonl.read(tmp_path)] == ["1", "2"]


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_nothing_to_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        jsonl.read(tmp_path / name)


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "d", "text": "Smithson"',
        b'["Smithson"]',
        b"5",
        b'{"text": "Smithson"}',
        b'{"id": "d", "text": 5}',
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "type": "X", "fragments": [[0, 99]]}]}',
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "type": "X", "fragments": []}]}',
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "type": "X", "fragments": [[0]]}]}',
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "type": "X", "fragments": [["0", "1"]]}]}',
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "type": "X", "fragments": [[0.0, 2.0]]}]}',
        b'{"id": "d", "text": "Smithson", "attributes": [{"id": "A1", "type": "X", "target": "T1"}]}',
        b'{"id": "d", "text": "Smithson", "entities": null}',
        b'{"id": "d", "text": "Smithson\xe9"}',
    ],
)
def test_what_is_no_document_is_refused_with_file_and_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "a", "text": ""}\n' + line + b'\n{"id": "b", "text": ""}\n')
    with pytest.raises(FileFormatError) as caught:
        jsonl.read(path)
    assert (caught.value.path, caught.value.line) == (str(path), 2)
    assert "expected" in str(caught.value)
    assert "Smithson" not in str(caught.value)


def test_lenient_reading_leaves_it_out_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "text": ""}\n{"id": 1}\n{"id": "b", "text": ""}\n')
    findings = Findings(strict=False)
    assert [document.id for document in jsonl.read(path, findings)] == ["a", "b"]
    assert [(finding.line, finding.error) for finding in findings] == [(2, True)]
