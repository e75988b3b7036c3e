"""Mutants of valid JSON: strict readers raise nothing but `InputError`, lenient ones nothing, and no message holds note text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.document import Document
from clinical_ie.errors import FileFormatError, InputError
from clinical_ie.formats import brat, doccano, i2b2, jsonl, label_studio, phee, prodigy, radgraph
from clinical_ie.formats.findings import Findings
from tests.fuzzing import MARKER, mutants

TEXT = f"{MARKER} after aspirin"
START = len(MARKER) + 1


def span(start: int, length: int, name: str) -> dict[str, Any]:
    return {"text": [[TEXT[start : start + length]]], "start": [[start]], "entity_id": [name]}


FULL = brat.parse(
    "n1", TEXT,
    f"T1\tEffect 0 {len(MARKER)}\t{MARKER}\nT2\tCue {START} {START + 5}\tafter\nE1\tCue:T2 Effect:T1\nR1\tOf Arg1:T1 Arg2:E1\n"
    f"A1\tSure T1 yes\n*\tSame T1 T2\nN1\tReference T1 UMLS:C1\t{MARKER}\n#1\tAnnotatorNotes T1\t{MARKER}?\n",
)  # fmt: skip
EVENT = {
    "event_id": "E1", "event_type": "Adverse_event", "Trigger": span(START, 5, "T1"),
    "Effect": {**span(0, len(MARKER), "T2"), "value": "High"}, "Treatment": {**span(START + 6, 7, "T3"), "Drug": span(START + 6, 7, "T4")},
}  # fmt: skip
TASK = label_studio.render(FULL, findings=Findings(strict=False))
VALID: dict[str, tuple[Callable[..., list[Document]], Any]] = {
    "jsonl": (jsonl.read, jsonl.to_dict(FULL)),
    "phee": (phee.read, {"id": "1_2", "context": TEXT, "is_mult_event": False, "annotations": [{"events": [EVENT]}]}),
    "radgraph": (
        radgraph.read,
        {"p1/s1": {"text": TEXT, "entities": {
            "1": {"tokens": MARKER, "label": "OBS-DP", "start_ix": 0, "end_ix": 0, "relations": [["modify", "2"]]},
            "2": {"tokens": "after", "label": "OBS-U", "start_ix": 1, "end_ix": 1, "relations": []},
        }}},
    ),
    "doccano": (
        doccano.read,
        {"id": 1, "text": TEXT, "Comments": [MARKER], "entities": [
            {"id": 1, "label": "Effect", "start_offset": 0, "end_offset": 5}, {"id": 2, "label": "Cue", "start_offset": 6, "end_offset": 9},
        ], "relations": [{"id": 1, "from_id": 1, "to_id": 2, "type": "Of"}]},
    ),
    "prodigy": (
        prodigy.read,
        {"text": TEXT, "meta": {"source": MARKER}, "spans": [{"start": 0, "end": 5, "label": "Effect"}], "answer": "accept",
         "relations": [{"head_span": {"start": 0, "end": 5}, "child_span": {"start": 0, "end": 5, "label": "Effect"}, "label": "Of"}]},
    ),
    "label-studio": (label_studio.read, [{"data": TASK["data"], "annotations": TASK["predictions"]}, {**TASK, "data": {"text": MARKER}}]),
}  # fmt: skip


@pytest.mark.parametrize("name", VALID)
def test_mutants(name: str, tmp_path: Path) -> None:
    read, value = VALID[name]
    valid = json.dumps(value, indent=1)
    path, refused, kept = tmp_path / "a.json", 0, 0
    oneline = name not in ("radgraph", "label-studio")
    messages: list[str] = []
    lenient: list[str] = []
    for text in mutants(valid, 500, seed=len(name)):
        path.write_bytes((text.replace("\n", " ") if oneline else text).encode("utf-8", "surrogatepass"))
        try:
            kept += len(read(path))
        except InputError as error:
            refused += 1
            messages.append(str(error))
        findings = Findings(strict=False)
        try:
            for document in read(path, findings):
                written = Findings(strict=False)
                for way in (brat, i2b2):
                    way.write([document], tmp_path / way.__name__, written)
                jsonl.write([document], tmp_path / "a.jsonl")
                assert jsonl.read(tmp_path / "a.jsonl") == [document]
        except InputError as error:  # a whole file of RadGraph or Label Studio, or an id that no file can have
            lenient.append(str(error))
        messages += map(str, findings)
    assert [message for message in messages if MARKER in message] == []
    assert all("cannot be a file name" in message or not oneline for message in lenient)
    assert refused > 50
    assert kept > 5


@pytest.mark.parametrize("name", ["jsonl", "phee", "doccano", "prodigy"])
@pytest.mark.parametrize(
    "line", [b"{", b"\xff", b"5", b"null", b"[" * 50_000, b'{"a": 1, "a": 1}', b'"\\ud800"', b"1" * 5000, b"NaN", b"\x00"]
)
def test_one_bad_line_never_costs_the_file(name: str, line: bytes, tmp_path: Path) -> None:
    read, value = VALID[name]
    good = json.dumps(value).encode()
    (tmp_path / "a.json").write_bytes(line + b"\n" + good + b"\n")
    with pytest.raises(FileFormatError, match=r"a\.json:1: "):
        read(tmp_path / "a.json")
    findings = Findings(strict=False)
    assert len(read(tmp_path / "a.json", findings)) == 1
    assert len(findings.errors) == 1


@pytest.mark.parametrize(
    "text", ["{", "5", "[" * 50_000, '{"a": 1, "a": 1}', '{"\\ud800": {}}', "NaN", '{"d": {"text": "a", "entities": {"1": Infinity}}}']
)
def test_a_file_that_is_no_json_object_is_refused_as_a_whole(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    for findings in (None, Findings(strict=False)):
        with pytest.raises(FileFormatError, match=r"a\.json"):
            radgraph.read(tmp_path / "a.json", findings)
