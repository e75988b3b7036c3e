"""Parquet, FHIR R4 and OMOP: read by pyarrow and pandas, validated by fhirclient's R4 models, held against rows written by hand."""

from __future__ import annotations

import builtins
import csv
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from fhirclient.models.bundle import Bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.extraction.outputs import OUTPUTS, Origin
from clinical_ie.extraction.outputs.assertions import denied, of_the_patient_now, when

ORIGIN = Origin("runs/x", datetime(2026, 11, 26, 10, 30, tzinfo=UTC))
TEXT = "😀 No chest  pain.\r\nAspirin 81 mg, if needed; and warfarin."
DOCUMENT = Document(
    "4711",
    TEXT,
    (
        Entity("T1", "Sign or symptom", Span.of(5, 16), 0.75),
        Entity("T2", "Drug", Span.of(19, 26)),
        Entity("T3", "Dose", Span.of(27, 43)),
        Entity("T4", "Drug", Span(((19, 26), (49, 57)))),
    ),
    (Relation("R1", "Dose-Drug", "T3", "T2", confidence=0.5),),
    (Event("E1", "Medication", "T4", (("Amount2", "T3"),), 0.25, (0.125,)),),
    (
        Attribute("A1", "Negated", "T1", None, 0.5),
        Attribute("A2", "Temporality", "E1", "current"),
        Attribute("A3", "Unit", "T3", 'mg, "x"'),
    ),
)


def written(folder: Path, name: str, *documents: Document, origin: Origin = ORIGIN, meta: dict[str, str] | None = None) -> Counter[str]:
    counts: Counter[str] = Counter()
    writer = OUTPUTS[name](folder, origin, counts)
    for document in documents:
        writer.write(document, meta or {})
    writer.commit()
    return counts


def bundles(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "part-00001.ndjson").read_text(encoding="utf-8").splitlines()]


def test_parquet_tables_are_the_csv_tables(tmp_path: Path) -> None:
    for name in ("csv", "parquet"):
        written(tmp_path / name, name, DOCUMENT, replace(DOCUMENT, id="4712"))
    for table in ("mentions", "links", "attributes"):
        one = pd.read_parquet(tmp_path / "parquet" / table)
        with (tmp_path / "csv" / table / "part-00001.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert list(one.columns) == list(rows[0])
        assert [{key: "" if pd.isna(value) else str(value) for key, value in row.items()} for row in one.to_dict("records")] == rows
    assert pq.read_schema(tmp_path / "parquet" / "mentions" / "part-00001.parquet").field("confidence").type == "double"


def test_parquet_of_a_document_without_annotations(tmp_path: Path) -> None:
    written(tmp_path, "parquet", Document("n1", "Well."))
    assert len(pd.read_parquet(tmp_path / "mentions")) == 0


def test_large_parquet_tables_come_in_row_groups(tmp_path: Path) -> None:
    many = tuple(Entity(f"T{rank}", "Drug", Span.of(19, 26)) for rank in range(9000))
    written(tmp_path, "parquet", *(Document(f"n{rank}", TEXT, many) for rank in range(4)))
    file = pq.ParquetFile(tmp_path / "mentions" / "part-00001.parquet")
    assert [file.metadata.row_group(rank).num_rows for rank in range(file.num_row_groups)] == [18000, 18000]
    file.close()


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingError, match=r"pip install 'clinical_ie\[tables\]'"):
        OUTPUTS["parquet"](tmp_path, ORIGIN)


def test_fhir_bundles_are_valid_r4(tmp_path: Path) -> None:
    meta = {"source": "DocumentReference/d1", "subject": "Patient/p1", "encounter": "Encounter/e1"}
    written(tmp_path, "fhir", DOCUMENT, Document("ward/n1", "Well."), meta=meta)
    first, second = bundles(tmp_path)
    bundle = Bundle(first, strict=True)
    assert bundle.as_json() == first
    assert Bundle(second, strict=True).entry is None
    assert bundle.type == "transaction"
    observations = [entry.resource for entry in bundle.entry]
    assert [one.valueString for one in observations] == ["chest  pain", "Aspirin", "81 mg, if needed", "Aspirin warfarin"]
    assert {(one.status, one.subject.reference, one.encounter.reference) for one in observations} == {
        ("preliminary", "Patient/p1", "Encounter/e1")
    }
    assert [one.code.coding[0].code for one in observations] == ["Sign or symptom", "Drug", "Dose", "Drug"]
    places = [
        [
            {inner.url: inner.valueInteger for inner in one.extension}
            for one in observation.extension
            if one.url.endswith("derivation-reference")
        ]
        for observation in observations
    ]
    assert [[(one["offset"], one["offset"] + one["length"]) for one in found] for found in places] == [
        [(5, 16)], [(19, 26)], [(27, 43)], [(19, 26), (49, 57)],
    ]  # fmt: skip
    assert [one.modifierExtension is not None for one in observations] == [True, False, False, False]
    assert [one.derivedFrom[0].reference for one in observations] == ["DocumentReference/d1"] * 4
    links = [
        [{inner.url: inner.valueString or inner.valueDecimal or inner.valueReference.reference for inner in one.extension}
         for one in observation.extension if one.url in ("urn:clinical-ie:link", "urn:clinical-ie:event")]
        for observation in observations
    ]  # fmt: skip
    ids = [f"Observation/{one.id}" for one in observations]
    assert links == [
        [],
        [],
        [{"type": "Dose-Drug", "target": ids[1], "confidence": 0.5}],
        [
            {"type": "Medication", "confidence": 0.25},
            {"type": "Amount", "event": "Medication", "target": ids[2], "confidence": 0.125},
        ],
    ]
    assert [(part.code.text, part.valueBoolean, part.valueString) for one in observations for part in one.component or ()] == [
        ("Negated", True, None), ("Unit", None, 'mg, "x"'), ("Temporality", None, "current"),
    ]  # fmt: skip


def test_ids_of_fhir_resources_stay_when_a_note_is_sent_again(tmp_path: Path) -> None:
    other = replace(DOCUMENT, entities=(*DOCUMENT.entities, replace(DOCUMENT.entities[1], id="T9")))
    written(tmp_path / "one", "fhir", DOCUMENT)
    written(tmp_path / "other", "fhir", other)
    (one,), (two,) = bundles(tmp_path / "one"), bundles(tmp_path / "other")
    before, after = ([entry["resource"]["id"] for entry in bundle["entry"]] for bundle in (one, two))
    assert after[:4] == before
    assert len(set(after)) == 5


def test_notes_that_were_no_resources_are_named_by_their_id(tmp_path: Path) -> None:
    written(tmp_path, "fhir", replace(DOCUMENT, id="ward/n1"))
    (bundle,) = bundles(tmp_path)
    assert bundle["entry"][0]["resource"]["derivedFrom"] == [{"type": "DocumentReference", "identifier": {"value": "ward/n1"}}]
    Bundle(bundle, strict=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_names_make_valid_r4(tmp_path: Path, name: str, value: str) -> None:
    document = Document("n", "Fever", (Entity("T1", name, Span.of(0, 5)),), attributes=(Attribute("A1", name, "T1", value),))
    written(tmp_path, "fhir", document)
    Bundle(json.loads((tmp_path / "part-00001.ndjson").read_bytes()), strict=True)
    (tmp_path / "part-00001.ndjson").unlink()


OMOP_COLUMNS = "note_nlp_id,note_id,section_concept_id,snippet,offset,lexical_variant,note_nlp_concept_id,note_nlp_source_concept_id,nlp_system,nlp_date,nlp_datetime,term_exists,term_temporal,term_modifiers"  # noqa: E501
"""Of the table in OHDSI's DDL of CDM v5.4."""


def omop(folder: Path) -> list[dict[str, str]]:
    with (folder / "note_nlp" / "part-00001.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_omop_rows(tmp_path: Path) -> None:
    counts = written(tmp_path, "omop", DOCUMENT, replace(DOCUMENT, id="ward/n1", entities=(), relations=(), events=(), attributes=()))
    assert (tmp_path / "note_nlp" / "part-00001.csv").read_text(encoding="utf-8").splitlines()[0] == OMOP_COLUMNS
    always = {
        "note_id": "4711", "section_concept_id": "0", "snippet": "", "note_nlp_concept_id": "0", "note_nlp_source_concept_id": "0",
        "nlp_system": "runs/x", "nlp_date": "2026-11-26", "nlp_datetime": "2026-11-26 10:30:00",
    }  # fmt: skip
    modifiers = [
        "type=Sign or symptom,span=5-16,confidence=0.75,Negated=true",
        'type=Drug,span=19-26,Dose-Drug="81 mg, if needed"',
        'type=Dose,span=27-43,Unit="mg, \\"x\\"",Dose-Drug=Aspirin,Amount=Aspirin warfarin',
        'type=Drug,span=19-26;49-57,Temporality=current,Amount="81 mg, if needed"',
    ]
    columns = ("note_nlp_id", "offset", "lexical_variant", "term_exists", "term_temporal")
    values = [
        ("1000001", "5", "chest  pain", "N", ""),
        ("1000002", "19", "Aspirin", "Y", ""),
        ("1000003", "27", "81 mg, if needed", "Y", ""),
        ("1000004", "19", "Aspirin warfarin", "Y", "present"),
    ]
    expected = [
        {**always, **dict(zip(columns, row, strict=True)), "term_modifiers": more} for row, more in zip(values, modifiers, strict=True)
    ]
    assert omop(tmp_path) == expected
    assert (tmp_path / "notes" / "part-00001.csv").read_text().split() == ["note_id,document", "4711,4711", "2693281629934595665,ward/n1"]
    assert not counts


def test_omop_snippets_only_where_they_are_wanted_and_nothing_longer_than_its_column(tmp_path: Path) -> None:
    text = "x " * 200 + "Aspirin" + " y" * 200
    drug = Entity("T1", "Drug", Span.of(400, 407))
    long = Entity("T2", "Drug", Span.of(0, 300))
    attributes = tuple(Attribute(f"A{rank}", "Remark", "T1", "v" * 300) for rank in range(9))
    document = Document("1", text, (drug, long), attributes=attributes)
    counts = written(tmp_path, "omop", document, origin=replace(ORIGIN, snippets=True))
    first, second = omop(tmp_path)
    assert first["snippet"] == text[300:507]
    assert second["lexical_variant"] == text[:250]
    assert second["snippet"] == text[:250]
    assert len(first["term_modifiers"]) <= 2000
    assert counts == {
        "OMOP: lexical_variant cut at 250 characters": 1,
        "OMOP: snippet cut at 250 characters": 1,
        "OMOP: modifiers without room": 3,
    }


@pytest.mark.parametrize(
    ("kind", "value", "no", "here", "time"),
    [
        ("Negated", None, True, False, ""),
        ("negation", "True", True, False, ""),
        ("is_negated", "false", False, True, ""),
        ("POLARITY", "NEG", True, False, ""),
        ("POLARITY", "POS", False, True, ""),
        ("Assertion", "absent", True, False, ""),
        ("Assertion", "possible", False, True, ""),
        ("Assertion", "associated_with_someone_else", False, False, ""),
        ("Assertion", "associated with someone else", False, False, ""),
        ("NegatedValue", "True", True, False, ""),
        ("StatusTimeVal", "past", False, True, "past"),
        ("StatusTimeVal", "none", False, True, ""),
        ("is_historical", "True", False, True, "past"),
        ("Certainty", "high", False, True, ""),
    ],
)
def test_what_attributes_say(kind: str, value: str | None, no: bool, here: bool, time: str) -> None:
    found = [Attribute("A1", kind, "T1", value), Attribute("A2", "Unit", "T1", "true")]
    assert (denied(found), of_the_patient_now(found), when(found)) == (no, here, time)
