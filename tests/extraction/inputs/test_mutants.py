"""Mutants of valid inputs: whatever is wrong with notes, they are notes or bad notes, and no message holds text of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from clinical_ie.errors import SettingError
from clinical_ie.extraction.inputs import BadNote, Note, read
from tests.fuzzing import MARKER, mutants

ROWS = [("n1", f'{MARKER} after "aspirin",\r\ndaily'), ("n2", f"{MARKER}; \U0001fac0"), ("n3", MARKER)]
RESOURCES = [
    {
        "resourceType": "DocumentReference",
        "id": name,
        "content": [{"attachment": {"contentType": "text/plain; charset=utf-8", "data": base64.b64encode(text.encode()).decode()}}],
        "subject": {"reference": "Patient/1"},
    }
    for name, text in ROWS
]
VALID = {
    "a.csv": "id,text\n" + "\n".join(f'{name},"{text.replace(chr(34), chr(34) * 2)}"' for name, text in ROWS) + "\n",
    "a.tsv": "text\tid\n" + "\n".join(f"{text.split(chr(34))[0]}\t{name}" for name, text in ROWS) + "\n",
    "a.jsonl": "\n".join(json.dumps({"id": name, "text": text}) for name, text in ROWS),
    "a.ndjson": "\n".join(map(json.dumps, RESOURCES)),
    "a.txt": ROWS[0][1],
}


@pytest.mark.parametrize("name", VALID)
def test_mutants(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    notes = bad = refused = 0
    messages = []
    for text in mutants(VALID[name], 250, seed=len(name)):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            for note in read(path, most_characters=1000):
                if isinstance(note, Note):
                    notes += 1
                    assert note.text.encode()
                else:
                    bad += 1
                    messages.append(note.reason)
        except SettingError as error:  # columns that are gone
            refused += 1
            messages.append(
                str(error).partition("its columns are")[0]
            )  # a mutant's header may be a word of a note, which looks like a name
    assert [message for message in messages if MARKER in message] == []
    assert notes > 100
    assert bad > 10 or name == "a.txt"
    assert refused < 200


def test_no_bytes_are_an_accident(tmp_path: Path) -> None:
    """Any bytes in place of a byte of a table: rows are notes or bad notes."""
    valid = VALID["a.csv"].encode()
    for place in range(10, len(valid)):
        for byte in (b"\x00", b"\xff", b'"', b"\n"):
            (tmp_path / "a.csv").write_bytes(valid[:place] + byte + valid[place + 1 :])
            found = list(read(tmp_path / "a.csv"))
            assert len([note for note in found if isinstance(note, Note)]) >= 1
            assert all(isinstance(note, Note) or MARKER not in note.reason for note in found if isinstance(note, BadNote))
