"""What all outputs have in common: parts that appear whole, and can be gone on with."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.errors import RunError
from clinical_ie.extraction.outputs import OUTPUTS, Origin, discard, publish
from clinical_ie.formats import brat, jsonl, label_studio
from clinical_ie.schema import EntityType, RelationType, Schema

ORIGIN = Origin("test", datetime(2026, 11, 26, tzinfo=UTC))
TEXT = 'Takes 😀 aspirin,\r\n"daily".  Stable.'
DOCUMENT = Document(
    "n1",
    TEXT,
    (
        Entity("T1", "Drug", Span.of(8, 15), 0.75),
        Entity("T2", "Frequency", Span.of(19, 24)),
        Entity("T3", "Drug", Span(((0, 5), (8, 15)))),
        Entity("T4", "Drug", Span.of(15, 20)),
    ),
    (Relation("R1", "Of", "T2", "E1", confidence=0.5),),
    (Event("E1", "Medication", "T1", (("Freq", "T2"),), 0.25, (0.125,)), Event("E2", "Medication", "T3")),
    (Attribute("A1", "Negated", "T1"), Attribute("A2", "Certainty", "E1", "high, or so", 0.5)),
)


def numbered(number: int) -> Document:
    return Document(f"n{number}", "Takes aspirin.", (Entity("T1", "Drug", Span.of(6, 13)),))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_part_appears_whole(tmp_path: Path, name: str) -> None:
    writer = OUTPUTS[name](tmp_path, ORIGIN)
    writer.write(DOCUMENT)
    if name != "brat":
        assert not list(tmp_path.rglob("part-*"))
    names = writer.prepare()
    assert not list(tmp_path.rglob("part-*"))
    publish(tmp_path, names)
    publish(tmp_path, names)
    assert set(names) <= set(files(tmp_path))
    assert writer.prepare() == []


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_interrupted_run_goes_on(tmp_path: Path, name: str) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        writer = OUTPUTS[name](folder, ORIGIN)
        for part in ((1, 2), (3,), (4, 5)):
            for number in part:
                writer.write(numbered(number))
            names = writer.prepare()
            if folder == broken and 3 in part:  # killed behind the entry of the ledger, with another part begun
                writer.write(numbered(4))
                writer.abandon()
                writer = OUTPUTS[name](folder, ORIGIN)
            publish(folder, names)
            discard(folder)
    assert files(whole) == files(broken)
    assert len(files(whole)) >= 3


def test_a_published_file_that_was_removed_is_missed(tmp_path: Path) -> None:
    writer = OUTPUTS["jsonl"](tmp_path, ORIGIN)
    writer.write(DOCUMENT)
    names = writer.prepare()
    publish(tmp_path, names)
    (tmp_path / names[0]).unlink()
    with pytest.raises(RunError, match="is missing, although it was written"):
        publish(tmp_path, names)


def test_json_lines_lose_nothing(tmp_path: Path) -> None:
    writer = OUTPUTS["jsonl"](tmp_path, ORIGIN)
    writer.write(DOCUMENT)
    writer.commit()
    writer.write(numbered(2))
    writer.commit()
    first, second = jsonl.read(tmp_path)
    assert (first, second) == (DOCUMENT, numbered(2))
    assert first.entities[0].confidence == 0.75


def test_brat_files_lose_nothing_but_confidences(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    writer = OUTPUTS["brat"](tmp_path, ORIGIN, counts)
    writer.write(DOCUMENT)
    assert brat.read(tmp_path) == [DOCUMENT]
    assert not counts


def test_names_that_brat_cannot_hold_are_counted(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    OUTPUTS["brat"](tmp_path, ORIGIN, counts).write(Document("a", "Fever", (Entity("T1", "Sign or symptom", Span.of(0, 5)),)))
    assert (tmp_path / "a.ann").read_text() == "T1\tSign_or_symptom 0 5\tFever\n"
    assert counts == {"BRAT: name-replaced": 1}


def test_csv_tables(tmp_path: Path) -> None:
    writer = OUTPUTS["csv"](tmp_path, ORIGIN)
    writer.write(DOCUMENT)
    writer.commit()
    found = {name: (tmp_path / name / "part-00001.csv").read_bytes().decode() for name in TABLES}
    assert found == {name: "".join(f"{row}\r\n" for row in rows) for name, rows in TABLES.items()}


def test_label_studio_tasks(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    schema = Schema((EntityType("Drug"), EntityType("Frequency")), (RelationType("Of"),), (), ())
    writer = OUTPUTS["label-studio"](tmp_path, Origin("runs/x", ORIGIN.time, schema), counts)
    writer.write(DOCUMENT)
    writer.write(numbered(2))
    writer.commit()
    first, second = label_studio.read(tmp_path)
    negated, certainty = DOCUMENT.attributes
    assert (first, second) == (replace(DOCUMENT, attributes=(replace(negated, target="E1"), certainty)), numbered(2))
    assert first.entities[0].confidence == 0.75
    assert counts == {"Label Studio: trigger references": 1}
    assert "Frequency" in (tmp_path / "labeling.xml").read_text()
    prediction = json.loads((tmp_path / "part-00001.json").read_text(encoding="utf-8"))[0]["predictions"][0]
    assert (prediction["model_version"], prediction["score"]) == ("runs/x", 0.75)


TABLES = {
    "mentions": [
        "document,id,type,start,end,fragments,text,confidence",
        "n1,T1,Drug,8,15,8-15,aspirin,0.75",
        "n1,T2,Frequency,19,24,19-24,daily,",
        "n1,T3,Drug,0,15,0-5;8-15,Takes aspirin,",
        'n1,T4,Drug,15,20,15-20,",\r\n""d",',
    ],
    "links": [
        "document,id,kind,type,event,head,tail,confidence",
        "n1,R1,relation,Of,,T2,T1,0.5",
        "n1,E1,event,,Medication,T1,T1,0.25",
        "n1,E1,argument,Freq,Medication,T1,T2,0.125",
        "n1,E2,event,,Medication,T3,T3,",
    ],
    "attributes": [
        "document,id,target,type,value,confidence",
        "n1,A1,T1,Negated,,",
        'n1,A2,T1,Certainty,"high, or so",0.5',
    ],
}
"""By hand, after TEXT and RFC 4180."""
