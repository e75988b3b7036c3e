"""Exports of other tools, written by hand after their documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.errors import FileFormatError
from clinical_ie.formats import doccano, jsonl, prodigy
from clinical_ie.formats.findings import Findings

TEXT = "Takes aspirin daily."
DRUG, DAILY = Entity("T1", "Drug", Span.of(6, 13)), Entity("T2", "Frequency", Span.of(14, 19))
PLAIN = Document("n1", TEXT, (DRUG,))
LINKED = Document("n1", TEXT, (DRUG, DAILY), (Relation("R1", "Of", "T2", "T1"),))
ENTITIES = [
    {"id": 7, "label": "Drug", "start_offset": 6, "end_offset": 13},
    {"id": 9, "label": "Frequency", "start_offset": 14, "end_offset": 19},
]
HEAD = {"start": 14, "end": 19, "label": "Frequency", "token_start": 2, "token_end": 2}
CHILD = {"start": 6, "end": 13, "label": "Drug", "token_start": 1, "token_end": 1}
SPANS = [CHILD, HEAD]


def put(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"id": "n1", "text": TEXT, "label": [[6, 13, "Drug"]]}, PLAIN),
        ({"id": "n1", "text": TEXT, "labels": [[6, 13, "Drug"]], "Comments": []}, PLAIN),
        ({"id": 1, "text": TEXT, "label": [[6, 13, "Drug"]]}, Document("1", TEXT, (DRUG,))),
        ({"text": TEXT, "label": []}, Document("export_1", TEXT)),
        ({"id": "n1", "text": TEXT, "entities": ENTITIES, "relations": [{"id": 0, "from_id": 9, "to_id": 7, "type": "Of"}]}, LINKED),
        (
            {"id": "n1", "text": TEXT, "entities": [{**ENTITIES[0], "id": "a"}, {**ENTITIES[1], "id": "b"}],
             "relations": [{"from_id": "b", "to_id": "a", "type": "Of"}]},
            LINKED,
        ),
    ],
)  # fmt: skip
def test_doccano(tmp_path: Path, record: dict[str, Any], expected: Document) -> None:
    findings = Findings()
    assert doccano.read(put(tmp_path / "export.jsonl", record), findings) == [expected]
    assert not list(findings)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"id": "n1", "text": TEXT, "spans": [CHILD]}, PLAIN),
        ({"text": TEXT, "_input_hash": 5, "_task_hash": 6, "tokens": [], "spans": [], "answer": "accept"}, Document("export_1", TEXT)),
        ({"text": TEXT, "answer": "accept"}, Document("export_1", TEXT)),
        (
            {"id": "n1", "text": TEXT, "spans": SPANS, "answer": "accept",
             "relations": [{"head": 2, "child": 1, "head_span": HEAD, "child_span": CHILD, "label": "Of", "color": "#fff"}]},
            LINKED,
        ),
    ],
)  # fmt: skip
def test_prodigy(tmp_path: Path, record: dict[str, Any], expected: Document) -> None:
    findings = Findings()
    assert prodigy.read(put(tmp_path / "export.jsonl", record), findings) == [expected]
    assert not list(findings)


def test_what_was_not_accepted_and_metadata_are_counted(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.jsonl",
        *({"text": TEXT, "spans": SPANS, "answer": answer} for answer in ("reject", "ignore", "accept")),
        {"text": TEXT, "spans": [], "meta": {"source": "ward"}},
    )
    findings = Findings()
    assert [document.id for document in prodigy.read(path, findings)] == ["a_3", "a_4"]
    assert findings.counts() == {"not-accepted": 2, "metadata-not-kept": 1}
    findings = Findings()
    doccano.read(put(tmp_path / "b.jsonl", {"text": TEXT, "label": [], "ward": 7, "Comments": ["sure?"]}), findings)
    assert findings.counts() == {"metadata-not-kept": 2}
    assert "sure" not in "".join(map(str, findings))


@pytest.mark.parametrize(
    ("reader", "record", "place"),
    [
        (doccano, {"text": TEXT}, "neither label nor entities"),
        (doccano, {"text": TEXT, "lable": [[6, 13, "Drug"]]}, "lable"),
        (doccano, {"text": TEXT, "label": ["positive"]}, "label[0]"),
        (doccano, {"text": TEXT, "label": [[6, 13]]}, "label[0]"),
        (doccano, {"text": TEXT, "label": [[6, "13", "Drug"]]}, "label[0][1]"),
        (doccano, {"text": TEXT, "label": [[13, 6, "Drug"]]}, "fragment 13-6"),
        (doccano, {"text": TEXT, "label": [[6, 130, "Drug"]]}, "ends behind the text"),
        (doccano, {"text": 5, "label": []}, "text"),
        (doccano, {"id": True, "text": TEXT, "label": []}, "id"),
        (doccano, {"text": TEXT, "label": [], "entities": []}, "label and entities"),
        (doccano, {"text": TEXT, "entities": ENTITIES, "relations": [{"from_id": 9, "to_id": 8, "type": "Of"}]}, "relations[0].to_id"),
        (doccano, {"text": TEXT, "entities": [ENTITIES[0], ENTITIES[0]]}, "entities[1].id"),
        (prodigy, {"text": TEXT, "label": [[6, 13, "Drug"]]}, "there are label"),
        (prodigy, {"text": TEXT, "spans": [{"start": 6, "end": 13}]}, "spans[0]: 'label'"),
        (prodigy, {"text": TEXT, "spans": [{**CHILD, "end": 13.0}]}, "spans[0].end"),
        (prodigy, {"text": TEXT, "spans": 5}, "spans"),
        (prodigy, {"text": TEXT, "spans": [], "answer": "maybe"}, "answer"),
        (prodigy, {"text": TEXT, "spans": [], "answer": None}, "answer"),
        (prodigy, {"text": TEXT, "spans": [HEAD], "relations": [{"label": "Of", "head_span": HEAD, "child_span": CHILD}]}, "child_span"),
        (prodigy, {"text": TEXT, "spans": SPANS, "relations": [{"label": "Of", "head": 2, "child": 1}]}, "relations[0]: 'head_span'"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_place(tmp_path: Path, reader: Any, record: dict[str, Any], place: str) -> None:
    good: dict[str, Any] = {"text": TEXT, "label": []} if reader is doccano else {"text": TEXT, "spans": []}
    path = put(tmp_path / "a.jsonl", good, record, good)
    with pytest.raises(FileFormatError) as caught:
        reader.read(path)
    assert caught.value.line == 2
    assert place in str(caught.value)
    assert "expected" in str(caught.value)
    assert "aspirin" not in str(caught.value)
    findings = Findings(strict=False)
    assert [document.id for document in reader.read(path, findings)] == ["a_1", "a_3"]
    assert len(findings.errors) == 1


@pytest.mark.parametrize(
    ("record", "tool"),
    [
        ({"id": "n1", "text": TEXT, "label": [[6, 13, "Drug"]]}, "doccano"),
        ({"id": "n1", "text": TEXT, "entities": ENTITIES, "relations": []}, "doccano"),
        ({"id": "n1", "text": TEXT, "spans": [CHILD]}, "prodigy"),
    ],
)
def test_our_own_reader_names_the_tool(tmp_path: Path, record: dict[str, Any], tool: str) -> None:
    """Public report: notes of doccano were imported without their annotations, in silence."""
    with pytest.raises(FileFormatError, match=f":1: .*--from {tool}"):
        jsonl.read(put(tmp_path / "a.jsonl", record))
