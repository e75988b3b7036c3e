"""Notes are not kept: what is in memory at once is a small part of the input."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clinical_ie.extraction.inputs import Note, read

NOTES, LENGTH = 800, 5000
TEXT = ("Takes aspirin for pain in the chest, and metoprolol twice a day, as before.\r\n" * LENGTH)[:LENGTH]


def write(folder: Path, kind: str) -> Path:
    path = folder / f"notes{kind}"
    names = [f"n{number}" for number in range(NOTES)]
    if kind == ".txt":
        folder = folder / "notes"
        folder.mkdir()
        for name in names:
            (folder / f"{name}.txt").write_bytes(TEXT.encode())
        return folder
    if kind == ".csv":
        path.write_bytes(b"id,text\n" + b"".join(f'{name},"{TEXT}"\n'.encode() for name in names))
    elif kind == ".jsonl":
        path.write_bytes(b"".join(json.dumps({"id": name, "text": TEXT}).encode() + b"\n" for name in names))
    else:
        pq.write_table(pa.table({"id": names, "text": [TEXT] * NOTES}), path)
    return path


@pytest.mark.parametrize("kind", [".txt", ".csv", ".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_input(tmp_path: Path, kind: str) -> None:
    source = write(tmp_path, kind)
    next(read(source))  # imports
    tracemalloc.start()
    try:
        found = sum(len(note.text) for note in read(source) if isinstance(note, Note))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == NOTES * LENGTH
    assert peak < NOTES * LENGTH / 2  # 256 rows of Parquet are a third of it
