from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.errors import FileFormatError, InputError
from clinical_ie.formats import radgraph
from clinical_ie.formats.findings import Findings

TEXT = "No  pleural effusion .\n Heart is normal ."
HEART = {"tokens": "Heart", "label": "ANAT-DP", "start_ix": 4, "end_ix": 4, "relations": []}
ENTITIES: dict[str, Any] = {
    "1": {"tokens": "pleural effusion", "label": "OBS-DA", "start_ix": 1, "end_ix": 2, "relations": []},
    "2": HEART,
    "3": {"tokens": "normal", "label": "OBS-DP", "start_ix": 6, "end_ix": 6, "relations": [["located_at", "2"]]},
}
EXPECTED = Document(
    "p1/s1.txt",
    TEXT,
    (Entity("1", "OBS-DA", Span.of(4, 20)), Entity("2", "ANAT-DP", Span.of(24, 29)), Entity("3", "OBS-DP", Span.of(33, 39))),
    (Relation("R1", "located_at", "3", "2"),),
)


def put(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_tokens_become_characters(tmp_path: Path) -> None:
    findings = Findings()
    path = put(tmp_path / "train.json", {"p1/s1.txt": {"text": TEXT, "data_split": "train", "entities": ENTITIES}})
    assert radgraph.read(path, findings) == [EXPECTED]
    assert not list(findings)


def test_either_labeler(tmp_path: Path) -> None:
    report = {"text": TEXT, "labeler_1": {"entities": ENTITIES}, "labeler_2": {"entities": {"2": HEART}}}
    path = put(tmp_path / "test.json", {"p1/s1.txt": report})
    assert radgraph.read(path) == [EXPECTED]
    assert [len(document.entities) for document in radgraph.read(path, labeler="labeler_2")] == [1]


def test_there_and_back(tmp_path: Path) -> None:
    radgraph.write([EXPECTED], tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {"p1/s1.txt": {"text": TEXT, "entities": ENTITIES}}
    assert radgraph.read(tmp_path / "out.json") == [EXPECTED]


def test_the_text_wins(tmp_path: Path) -> None:
    entities = {"1": {**ENTITIES["1"], "tokens": "plural effusion"}}
    findings = Findings()
    (document,) = radgraph.read(put(tmp_path / "a.json", {"d": {"text": TEXT, "entities": entities}}), findings)
    assert document.entities == EXPECTED.entities[:1]
    assert findings.counts() == {"covered-text-differs": 1}
    assert "effusion" not in str(findings.warnings[0])


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("1", {"start_ix": 2, "end_ix": 1}),
        ("1", {"end_ix": 99}),
        ("1", {"start_ix": -1}),
        ("1", {"label": None, "start_ix": None}),
        ("3", {"relations": [["modify", "9"]]}),
        ("3", {"relations": ["modify"]}),
    ],
)
def test_strict_stops_and_lenient_counts(tmp_path: Path, key: str, change: dict[str, Any]) -> None:
    path = put(tmp_path / "a.json", {"d": {"text": TEXT, "entities": {**ENTITIES, key: {**ENTITIES[key], **change}}}})
    with pytest.raises(FileFormatError) as caught:
        radgraph.read(path)
    assert str(path) in str(caught.value)
    assert f"d.entities.{key}" in str(caught.value)
    findings = Findings(strict=False)
    (document,) = radgraph.read(path, findings)
    assert len(findings.errors) == 1
    assert "2" in {entity.id for entity in document.entities}


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"d": {"entities": {}}},
        {"d": {"text": TEXT}},
        {"d": {"text": TEXT, "labeler_1": {}}},
        {"d": 5},
        {"d": {"text": None, "entities": {}}},
        {"d": {"text": TEXT, "entities": []}},
        {"d": {"text": TEXT, "entities": None}},
    ],
)
def test_another_structure_is_refused(tmp_path: Path, data: Any) -> None:
    path = put(tmp_path / "a.json", data)
    with pytest.raises(FileFormatError, match="expected"):
        radgraph.read(path)


def test_what_is_no_json_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{\n"d": Smithson}')
    with pytest.raises(FileFormatError) as caught:
        radgraph.read(tmp_path / "a.json")
    assert caught.value.line == 2
    assert "Smithson" not in str(caught.value)
    with pytest.raises(InputError):
        radgraph.read(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (Document("d", "ab cd", (Entity("T1", "OBS-DP", Span.of(1, 2)),)), 1),
        (Document("d", "ab x cd", (Entity("T1", "OBS-DP", Span(((0, 2), (5, 7)))),)), 1),
        (Document("d", "ab", (Entity("T1", "X", Span.of(0, 2)),), (), (Event("E1", "X", "T1"),), (Attribute("A1", "Y", "T1"),)), 1),
    ],
    ids=["inside a token", "discontinuous", "events and attributes"],
)
def test_what_the_format_cannot_say_is_refused_or_counted(tmp_path: Path, document: Document, count: int) -> None:
    with pytest.raises(FileFormatError):
        radgraph.write([document], tmp_path / "strict.json")
    assert not (tmp_path / "strict.json").exists()
    findings = Findings(strict=False)
    radgraph.write([document], tmp_path / "lenient.json", findings)
    assert findings.counts() == {"unrepresentable": count}


def test_two_documents_of_one_id_do_not_replace_each_other_in_silence(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        radgraph.write([Document("d", "a"), Document("d", "b")], tmp_path / "a.json")


def test_a_mention_that_a_line_end_breaks_is_written_whole(tmp_path: Path) -> None:
    document = Document("d", "left\n pleural effusion", (Entity("T1", "OBS-DP", Span(((0, 4), (6, 22)))),))
    radgraph.write([document], tmp_path / "out.json")
    (again,) = radgraph.read(tmp_path / "out.json")
    assert again.entities == (Entity("T1", "OBS-DP", Span.of(0, 22)),)


def test_a_report_without_an_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"": {"text": "Heart", "entities": {}}}')
    with pytest.raises(FileFormatError, match="id is empty"):
        radgraph.read(tmp_path / "a.json")
