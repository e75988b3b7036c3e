"""One table of notes through a model into every form of output, each read again: all say the same."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from clinical_ie.cli import main
from clinical_ie.extraction.outputs import OUTPUTS
from clinical_ie.formats import brat, jsonl, label_studio
from tests.extraction import runs


def test_a_table_to_all_forms(tagger_run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = [runs.note(number) for number in range(5)]
    notes[1] = "😀 " + notes[1].replace(" . ", " .\r\n\r\n")
    notes[2] = notes[2].replace("i", "ï", 1)
    with open(tmp_path / "notes.csv", "wb") as file:
        file.write(b"row_id,report\r\n")
        for number, text in enumerate(notes):
            file.write(f'{number},"{text}"\r\n'.encode("cp1252" if number == 2 else "utf-8"))
        file.write(b"5,\r\n6,one,too many\r\n")
    out = tmp_path / "found"
    given = ["extract", "--model", tagger_run, str(tmp_path / "notes.csv"), "--output", str(out), "--workers", "1"]
    assert main([*given, "--text_column", "REPORT", "--format", *OUTPUTS]) == 1
    said = capsys.readouterr()
    assert "read as cp1252: 1" in said.out
    assert [json.loads(line)["id"] for line in (out / "failed.jsonl").read_text().splitlines()] == ["5", "notes.csv:10"]

    documents = jsonl.read(out / "jsonl")
    assert [(document.id, document.text) for document in documents] == [(str(number), text) for number, text in enumerate(notes)]
    mentions = [entity for document in documents for entity in document.entities]
    assert mentions
    assert brat.read(out / "brat") == documents
    assert label_studio.read(out / "label-studio") == documents
    assert (out / "label-studio" / "labeling.xml").is_file()
    table = pd.read_parquet(out / "parquet" / "mentions")
    assert list(zip(table["start"], table["end"], table["type"], strict=True)) == [(one.start, one.end, one.type) for one in mentions]
    assert [notes[int(row.document)][row.start : row.end] for row in table.itertuples()] == list(table["text"])
    with (out / "csv" / "mentions" / "part-00001.csv").open(newline="", encoding="utf-8") as file:
        assert [row["text"] for row in csv.DictReader(file)] == list(table["text"])
    bundles = [json.loads(line) for path in (out / "fhir").glob("*.ndjson") for line in path.read_text(encoding="utf-8").splitlines()]
    assert [entry["resource"]["valueString"] for bundle in bundles for entry in bundle.get("entry", ())] == list(table["text"])
    with (out / "omop" / "note_nlp" / "part-00001.csv").open(newline="", encoding="utf-8") as file:
        assert [(row["note_id"], row["lexical_variant"]) for row in csv.DictReader(file)] == list(
            zip(table["document"], table["text"], strict=True)
        )
