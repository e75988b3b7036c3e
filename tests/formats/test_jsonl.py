from __future__ import annotations

import json
from dataclasses import replace
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
        b'{"id": 5, "text": "Smithson"}',
        b'{"id": "", "text": "Smithson"}',
        b'{"id": "d", "text": ["Smithson"]}',
        b'{"id": "d", "text": "Smithson", "entitys": []}',
        b'{"id": "d", "text": "Smithson", "Smithson is well": []}',
        b'{"id": "d", "text": "Smithson", "entities": {}}',
        b'{"id": "d", "text": "Smithson", "entities": [["T1", "X", 0, 4]]}',
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "type": null, "fragments": [[0, 1]]}]}',
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "typ": "X", "fragments": [[0, 1]]}]}',
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "type": "X", "fragments": [[true, 1]]}]}',
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "type": "X", "fragments": [[0, 1' + b"0" * 30 + b"]]}]}",
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "type": "X", "fragments": [[0, 1' + b"0" * 5000 + b"]]}]}",
        b'{"id": "d", "text": "Smithson", "entities": [{"id": "T1", "type": "X", "fragments": [[0, NaN]]}]}',
        b'{"id": "d", "text": "Smithson", "events": [{"id": "E1", "type": "X", "trigger": "T1"}]}',
        b'{"id": "d", "text": "Smithson", "equivalences": [{"type": "X", "members": "T1"}]}',
        b'{"id": "d", "text": "Smithson", "text": "Smithson"}',
        b'{"id": "d", "text": "Smithson \\ud83d"}',
        b'{"id": "\\udfff", "text": "Smithson"}',
        b'{"id": "d", "text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id": "Smithson is well", "text": "", "relations": [{"id": "R1", "type": "X", "head": "Smithson", "tail": "Smithson"}]}',
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


def test_ids_and_keys_that_may_be_note_text_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "Denies chest pain.", "text": "n1", "entities": [{"id": "T1", "type": "X", "fragments": [[0, 9]]}]}\n')
    with pytest.raises(FileFormatError, match=r"a\.jsonl:1: document <18 characters>: T1 ends behind the text"):
        jsonl.read(path)


def test_the_place_the_type_and_the_remedy_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for line, message in (
        ('{"id": 5, "text": ""}', "id: found a number; expected a string; write it in quotation marks"),
        ('{"id": "d", "text": "", "entitys": []}', "unknown key 'entitys'.*did you mean 'entities'"),
        (
            '{"id": "d", "text": "a", "entities": [{"id": "T1", "type": "X", "fragments": [[0, "1"]]}]}',
            r"entities\[0\]\.fragments\[0\]\[1\]",
        ),
        ("[]", "found a list; expected .*one object a line"),
    ):
        path.write_text(line + "\n")
        with pytest.raises(FileFormatError, match=message):
            jsonl.read(path)


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\ufeff{"id": "d", "text": "\ufeffx"}\n')
    assert jsonl.read(tmp_path / "a.jsonl") == [Document("d", "\ufeffx")]


def test_whole_pairs_of_surrogates_are_characters(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(r'{"id": "d", "text": "\ud83d\ude00 \\ud83d"}' + "\n")
    assert jsonl.read(tmp_path / "a.jsonl") == [Document("d", "\U0001f600 \\ud83d")]


def test_an_id_that_stands_twice_is_refused_also_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "d", "text": "1"}\n{"id": "d", "text": "2"}\n')
    with pytest.raises(FileFormatError, match=r"a\.jsonl:2: .* stands in line 1"):
        jsonl.read(tmp_path / "a.jsonl")
    findings = Findings(strict=False)
    assert [document.text for document in jsonl.read(tmp_path / "a.jsonl", findings)] == ["1"]
    assert findings.counts() == {"duplicate-document-id": 1}
    (tmp_path / "a.jsonl").write_text('{"id": "d", "text": "1"}\n')
    (tmp_path / "b.jsonl").write_text('{"id": "d", "text": "2"}\n')
    with pytest.raises(FileFormatError, match=r"b\.jsonl: .* in another file"):
        jsonl.read(tmp_path)


def test_lenient_reading_leaves_it_out_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "text": ""}\n{"id": 1}\n{"id": "b", "text": ""}\n')
    findings = Findings(strict=False)
    assert [document.id for document in jsonl.read(path, findings)] == ["a", "b"]
    assert [(finding.line, finding.error) for finding in findings] == [(2, True)]


def test_an_array_of_documents_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('[{"id": "a", "text": "x"}]')
    with pytest.raises(FileFormatError, match=r":1: found a list; expected .* one object a line; .* jq"):
        jsonl.read(tmp_path / "a.jsonl")


def _confidences(document: Document) -> list[object]:
    annotations = (*document.entities, *document.relations, *document.events, *document.attributes)
    return [one.confidence for one in annotations] + [event.argument_confidences for event in document.events]


def test_confidences_come_back_and_files_without_them_are_as_they_were(tmp_path: Path) -> None:
    assert "confidence" not in jsonl.line(FULL)
    (event,) = FULL.events
    sure = replace(
        FULL,
        entities=tuple(replace(entity, confidence=rank / 4) for rank, entity in enumerate(FULL.entities)),
        relations=(replace(FULL.relations[0], confidence=1 / 3), FULL.relations[1]),
        events=(replace(event, confidence=1.0, argument_confidences=(0.1 + 0.2,)),),
        attributes=(FULL.attributes[0], replace(FULL.attributes[1], confidence=0.5)),
    )
    jsonl.write([sure], tmp_path / "a.jsonl")
    (read,) = jsonl.read(tmp_path / "a.jsonl")
    assert read == sure
    assert _confidences(read) == _confidences(sure) == [0, 0.25, 1 / 3, None, 1, None, 0.5, (0.1 + 0.2,)]


@pytest.mark.parametrize("value", ["1.5", "-0.1", "NaN", "true", '"high"', "null"])
def test_a_confidence_that_is_no_probability_is_refused_with_its_place(tmp_path: Path, value: str) -> None:
    entity = f'{{"id": "T1", "type": "A", "fragments": [[0, 1]], "confidence": {value}}}'
    (tmp_path / "a.jsonl").write_text(f'{{"id": "d", "text": "x", "entities": [{entity}]}}')
    with pytest.raises(FileFormatError, match=r"a\.jsonl:1"):
        jsonl.read(tmp_path / "a.jsonl")
