from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.document import Attribute, Comment, Document, Entity, Event, Relation, Span
from clinical_ie.errors import FileFormatError
from clinical_ie.formats import phee
from clinical_ie.formats.findings import Findings

TEXT = "Possible severe rash in a woman after aspirin with heparin for pain."


def filler(name: str, *words: str) -> dict[str, Any]:
    return {"text": [list(words)], "start": [[TEXT.index(word) for word in words]], "entity_id": [name]}


def record() -> dict[str, Any]:
    combination = {"event_id": "E2", "event_type": "Combination", "Trigger": filler("T8", "with"), "Drug": filler("T9", "aspirin")}
    treatment = {**filler("T4", "aspirin with heparin", "pain"), "Drug": filler("T5", "aspirin"), "Combination": [combination]}
    event = {
        "event_id": "E1",
        "event_type": "Adverse_event",
        "Trigger": filler("T1", "after"),
        "Subject": {**filler("T2", "a woman"), "Gender": filler("T3", "woman")},
        "Treatment": treatment,
        "Effect": filler("T6", "rash"),
        "Severity": {**filler("T7", "severe"), "value": "High"},
        "Speculated": {**filler("T10", "Possible"), "value": True},
    }
    return {"id": "12_3", "context": TEXT, "is_mult_event": False, "annotations": [{"events": [event]}]}


def put(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in records))
    return path


def test_nested_events_become_entities_roles_and_values(tmp_path: Path) -> None:
    findings = Findings()
    (document,) = phee.read(put(tmp_path / "a.json", record()), findings)
    words = {entity.id: (entity.type, document.covered(entity.span)) for entity in document.entities}
    assert words == {
        "T1": ("Adverse_event", "after"),
        "T2": ("Subject", "a woman"),
        "T3": ("Subject.Gender", "woman"),
        "T4": ("Treatment", "aspirin with heparin pain"),
        "T5": ("Treatment.Drug", "aspirin"),
        "T6": ("Effect", "rash"),
        "T7": ("Severity", "severe"),
        "T8": ("Treatment.Combination", "with"),
        "T9": ("Combination.Drug", "aspirin"),
        "T10": ("Speculated", "Possible"),
    }
    events = {event.id: (event.type, event.trigger, set(event.arguments)) for event in document.events}
    arguments = {("Subject", "T2"), ("Subject.Gender", "T3"), ("Treatment", "T4"), ("Treatment.Drug", "T5"), ("Effect", "T6")}
    arguments |= {("Severity", "T7"), ("Speculated", "T10"), ("Treatment.Combination", "E2")}
    assert events == {
        "E1": ("Adverse_event", "T1", arguments),
        "E2": ("Treatment.Combination", "T8", {("Combination.Drug", "T9")}),
    }
    assert document.values() == {"T7": {"SeverityValue": "High"}, "T10": {"SpeculatedValue": "True"}}
    assert not list(findings)


def test_the_file_comes_back_as_it_was(tmp_path: Path) -> None:
    documents = phee.read(put(tmp_path / "a.json", record()))
    phee.write(documents, tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text()) == record()
    assert phee.read(tmp_path / "b.json") == documents


def test_damaged_words_and_order_are_mended_with_a_warning(tmp_path: Path) -> None:
    entry = record()
    event = entry["annotations"][0]["events"][0]
    event["Effect"]["text"] = [["rush"]]
    event["Treatment"] |= filler("T4", "pain", "aspirin with heparin")
    findings = Findings()
    (document,) = phee.read(put(tmp_path / "a.json", entry), findings)
    spans = {entity.id: entity.span for entity in document.entities}
    assert document.covered(spans["T6"]) == "rash"
    assert document.covered(spans["T4"]) == "aspirin with heparin pain"
    assert sorted(finding.code for finding in findings.warnings) == ["covered-text-differs", "fragments-out-of-order"]
    assert "rush" not in "".join(map(str, findings))


@pytest.mark.parametrize(
    "change",
    [
        {"context": None},
        {"context": "short"},
        {"annotations": 5},
        {"annotations": [{"events": [{"event_id": "E1", "event_type": "Adverse_event"}]}]},
        {"annotations": [{"events": [{"event_id": "E1", "event_type": "X", "Trigger": {"text": [["a"]], "start": [], "entity_id": []}}]}]},
        {"annotations": [{"events": [{"event_id": "E1", "event_type": "X", "Trigger": {"text": [], "start": [], "entity_id": []}}]}]},
    ],
)
def test_strict_stops_with_file_and_line_and_lenient_counts(tmp_path: Path, change: dict[str, Any]) -> None:
    path = put(tmp_path / "a.json", record(), {**record(), **change}, {**record(), "id": "last"})
    with pytest.raises(FileFormatError) as caught:
        phee.read(path)
    assert (caught.value.path, caught.value.line) == (str(path), 2)
    assert "expected" in str(caught.value)
    assert "rash" not in str(caught.value)
    findings = Findings(strict=False)
    assert [document.id for document in phee.read(path, findings)] == ["12_3", "last"]
    assert len(findings.errors) == 1


MENTION = Entity("T1", "Adverse_event", Span.of(0, 8))
FREE = Entity("T2", "Effect", Span.of(16, 20))
EVENT = Event("E1", "Adverse_event", "T1")


@pytest.mark.parametrize(
    "document",
    [
        Document("d", TEXT, (MENTION, FREE), events=(EVENT,)),
        Document("d", TEXT, (MENTION,), (Relation("R1", "Same", "T1", "E1"),), (EVENT,)),
        Document("d", TEXT, (MENTION,), events=(EVENT,), attributes=(Attribute("A1", "Negated", "E1", "yes"),)),
        Document("d", TEXT, (MENTION,), events=(EVENT,), attributes=(Attribute("A1", "Flag", "T1"),)),
        Document("d", TEXT, (MENTION,), events=(EVENT,), comments=(Comment("#1", "AnnotatorNotes", "T1", "sure?"),)),
    ],
    ids=["free mention", "relation", "attribute of an event", "flag", "comment"],
)
def test_what_the_format_cannot_say_is_refused_or_counted(tmp_path: Path, document: Document) -> None:
    with pytest.raises(FileFormatError, match="d"):
        phee.write([document], tmp_path / "strict.json")
    assert not (tmp_path / "strict.json").exists()
    findings = Findings(strict=False)
    phee.write([document], tmp_path / "lenient.json", findings)
    assert findings.counts()["unrepresentable"] == 1
