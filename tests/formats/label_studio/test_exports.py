"""Exports of Label Studio, written by hand after its documentation and its editor's tests of emoji and line ends."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.errors import FileFormatError, InputError
from clinical_ie.formats import label_studio
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.label_studio import Labeling
from clinical_ie.schema import AttributeType, EntityType, RelationType, Schema, arguments

TEXT = "😀 Takes  aspirin\r\n81 mg daily."
DRUG = {"id": "Dx_aB91ISN", "from_name": "mentions", "to_name": "text", "type": "labels", "origin": "manual",
        "value": {"start": 9, "end": 16, "text": "aspirin", "labels": ["Drug"]}}  # fmt: skip
DOSE = {**DRUG, "id": "b2", "value": {"start": 18, "end": 23, "text": "81 mg", "labels": ["Dose"]}}
OF = {"type": "relation", "from_id": "b2", "to_id": "Dx_aB91ISN", "direction": "right", "labels": ["Of"]}
EXPECTED = Document(
    "n1",
    TEXT,
    (Entity("Dx_aB91ISN", "Drug", Span.of(9, 16)), Entity("b2", "Dose", Span.of(18, 23))),
    (Relation("R1", "Of", "b2", "Dx_aB91ISN"),),
)


def task(*results: Any, text: str = TEXT, **fields: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"text": text, "document_id": "n1"}, "annotations": [{"id": 1, "result": list(results)}], **fields}


def put(folder: Path, *tasks: Any) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps(list(tasks)))
    return path


def region(name: str, start: int, end: int, *labels: str, **value: Any) -> dict[str, Any]:
    return {**DRUG, "id": name, "value": {"start": start, "end": end, "labels": list(labels), **value}}


def at(name: str, control: str, value: str, kind: str = "choices") -> dict[str, Any]:
    key = "choices" if kind == "choices" else "text"
    return {"id": name, "from_name": control, "to_name": "text", "type": kind, "value": {"start": 0, "end": 1, key: [value]}}


def test_regions_and_relations(tmp_path: Path) -> None:
    findings = Findings()
    assert label_studio.read(put(tmp_path, task(DRUG, DOSE, OF)), findings) == [EXPECTED]
    assert not list(findings)


def test_a_relation_to_the_left(tmp_path: Path) -> None:
    left = {**OF, "from_id": "Dx_aB91ISN", "to_id": "b2", "direction": "left"}
    assert label_studio.read(put(tmp_path, task(DRUG, DOSE, left))) == [EXPECTED]


def test_corrected_events_fragments_and_attributes(tmp_path: Path) -> None:
    found = label_studio.read(
        put(
            tmp_path,
            task(
                region("x", 2, 7, "Drug"), region("y", 9, 16, "Drug"), region("z", 18, 23, "Dose", "Amount"), region("w", 24, 29, "Dose"),
                at("x", "event", "Medication"), at("x", "attr_Negated", "✓"),
                at("z", "attr_Unit", "mg", "textarea"), at("w", "Mine", "yes"),
                {**OF, "from_id": "x", "to_id": "y", "labels": ["(continued)"]},
                {**OF, "from_id": "x", "to_id": "z", "labels": ["Medication: Dose"]},
                {**OF, "from_id": "x", "to_id": "w", "labels": ["Medication: Dose"]},
                {**OF, "from_id": "w", "to_id": "y", "labels": ["Of", "Before"]},
            ),
        )
    )  # fmt: skip
    assert found == [
        Document(
            "n1",
            TEXT,
            (
                Entity("x", "Drug", Span(((2, 7), (9, 16)))),
                Entity("z", "Dose", Span.of(18, 23)),
                Entity("z_1", "Amount", Span.of(18, 23)),
                Entity("w", "Dose", Span.of(24, 29)),
            ),
            (Relation("R1", "Of", "w", "E1"), Relation("R2", "Before", "w", "E1")),
            (Event("E1", "Medication", "x", (("Dose", "z"), ("Dose2", "w"))),),
            (Attribute("A1", "Negated", "E1"), Attribute("A2", "Unit", "z", "mg"), Attribute("A3", "Mine", "w", "yes")),
        )
    ]


def test_the_annotation_that_counts(tmp_path: Path) -> None:
    older = {"id": 1, "result": [DRUG], "updated_at": "2026-01-01T00:00:00Z"}
    newer = {"id": 2, "result": [DRUG, DOSE, OF], "updated_at": "2026-01-02T00:00:00Z"}
    skipped = {"id": 3, "result": [], "was_cancelled": True, "updated_at": "2026-01-03T00:00:00Z"}
    findings = Findings()
    assert label_studio.read(put(tmp_path, task(annotations=[newer, older, skipped])), findings) == [EXPECTED]
    assert findings.counts() == {"several-annotations": 1}
    older["ground_truth"] = True
    assert [len(document.entities) for document in label_studio.read(put(tmp_path, task(annotations=[newer, older])))] == [1]


def test_tasks_that_nobody_annotated_are_left_out_of_a_reviewed_project(tmp_path: Path) -> None:
    prediction = [{"result": [{**DRUG, "score": 0.5}]}]
    other = {"data": {"text": TEXT, "document_id": "n2"}, "annotations": [], "predictions": prediction}
    skipped = {
        "data": {"text": TEXT, "document_id": "n3"},
        "annotations": [{"result": [], "was_cancelled": True}],
        "predictions": prediction,
    }
    findings = Findings()
    assert label_studio.read(put(tmp_path, task(DRUG, DOSE, OF), other, skipped), findings) == [EXPECTED]
    assert findings.counts() == {"task-without-annotation": 1, "skipped-task": 1}
    unseen = label_studio.read(put(tmp_path, other), findings)
    assert [(document.id, document.entities[0].confidence) for document in unseen] == [("n2", 0.5)]
    assert findings.counts()["prediction-read"] == 1


def test_offsets_of_old_versions(tmp_path: Path) -> None:
    utf_16 = task(region("a", 10, 17, "Drug", text="aspirin"))
    with pytest.raises(FileFormatError, match="--offsets utf-16"):
        label_studio.read(put(tmp_path, utf_16), Findings(as_errors=frozenset({"covered-text-differs"})))
    (document,) = label_studio.read(put(tmp_path, utf_16), offsets="utf-16")
    assert document.covered(document.entities[0].span) == "aspirin"


@pytest.mark.parametrize("copy", ["aspirin\\n81 mg", "aspirin\r\n81 mg", "aspirin 81 mg", "aspirin\\n\\n81 mg"])
def test_copies_of_line_ends_are_no_disagreement(tmp_path: Path, copy: str) -> None:
    findings = Findings()
    (document,) = label_studio.read(put(tmp_path, task(region("a", 9, 23, "Drug", text=copy))), findings)
    assert document.entities[0].span == Span.of(9, 23)
    assert not list(findings)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"text": TEXT, "label": []}, "export as JSON, not as JSON-MIN"),
        ({"data": {"note": 1}, "annotations": []}, "no field 'text'"),
        (task(region("a", 9, 99, "Drug")), "9-99 is empty or leaves the text of 30 characters"),
        (task(region("a", 9, 9, "Drug")), "9-9 is empty"),
        (task({**DRUG, "type": "hypertextlabels"}), "with the tag Text, not HyperText"),
        (task({**OF, "labels": []}), "has no label"),
        (task(DRUG, OF), "is no mention"),
        (task(region("a", 0, 1)), "has no label"),
        (task(DRUG, at("Dx_aB91ISN", "event", "One"), at("Dx_aB91ISN", "event", "Two")), "two events"),
        (task({**DRUG, "id": 3}), "expected a string"),
        ([], "expected a mapping"),
    ],
)
def test_broken_tasks(tmp_path: Path, broken: Any, message: str) -> None:
    path = put(tmp_path, broken)
    with pytest.raises(FileFormatError, match=message) as raised:
        label_studio.read(path)
    assert "aspirin" not in str(raised.value)
    findings = Findings(strict=False)
    label_studio.read(path, findings)
    assert len(findings.errors) == 1


def test_two_tasks_of_one_document(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="the document id n1 stands there already"):
        label_studio.read(put(tmp_path, task(DRUG), task(DRUG)))


def test_a_folder_of_exports(tmp_path: Path) -> None:
    put(tmp_path, task(DRUG, DOSE, OF))
    assert label_studio.read(tmp_path) == [EXPECTED]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.json file"):
        label_studio.read(tmp_path / "empty")


def test_results_of_other_kinds_are_counted(tmp_path: Path) -> None:
    findings = Findings()
    label_studio.read(put(tmp_path, task(DRUG, {**DRUG, "type": "rating", "value": {"rating": 3}})), findings)
    assert findings.counts() == {"result-not-kept": 1}


def test_the_labeling_interface_of_a_schema() -> None:
    schema = Schema(
        (EntityType("Drug"), EntityType('Dose "<"')),
        (RelationType("Of"), *arguments(RelationType("Amount", "", ("Drug",)))),
        (AttributeType("Negated"), AttributeType("Status", "", ("past", "current"))),
        ("Drug",),
    )
    labeling = Labeling.of_schema(schema)
    assert labeling == Labeling(
        ("Drug", 'Dose "<"'), ("Drug",), ("Of", "Drug: Amount"), (("Negated", ("✓",)), ("Status", ("past", "current")))
    )
    view = ElementTree.fromstring(labeling.xml())
    assert [label.get("value") for label in view.iter("Label")] == ["Drug", 'Dose "<"']
    assert [label.get("value") for label in view.iter("Relation")] == ["Of", "Drug: Amount", "(continued)"]
    assert [(one.get("name"), one.get("perRegion")) for one in view.iter("Choices")] == [
        ("event", "true"), ("attr_Negated", "true"), ("attr_Status", "true"),
    ]  # fmt: skip
