"""Peak memory of an extraction of few notes and of many (resident set of a process of its own), from the notes of a table, repeated.

    python benchmarks/extract_memory.py RUN NOTES.csv --text transcription --notes 293 29300 --characters 300

With a tiny model and the first characters of each note the larger one takes minutes; the notes in memory at a time are those of a part.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from clinical_ie.commands.quiet import quieten
from clinical_ie.extraction.inputs import Note
from clinical_ie.extraction.job import ModelWork, extract


def extraction(run: str, texts: list[str], count: int, folder: Path) -> float:
    """Peak resident MiB of a fork that extracts so many notes."""
    child = os.fork()
    if not child:
        code = 1
        try:
            torch.set_num_threads(1)
            notes: Iterator[Note] = (Note(f"n{number}", texts[number % len(texts)]) for number in range(count))
            works = lambda began: [ModelWork({"run": run, "device": "cpu"}, ("jsonl", "csv"), began, threads=1)]  # noqa: E731
            summary = extract(notes, folder, {"input": "the notes, repeated"}, works)
            code = int(summary.documents != count)
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    assert status == 0, f"the extraction failed (status {status})"
    return usage.ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("table", type=Path)
    parser.add_argument("--text", default="transcription", help="the column")
    parser.add_argument("--notes", type=int, nargs="+", default=[293, 29_300])
    parser.add_argument("--characters", type=int, default=300, help="of each note")
    options = parser.parse_args()
    quieten()
    with options.table.open(encoding="utf-8", newline="") as file:
        texts = [row[options.text][: options.characters] for row in csv.DictReader(file) if row[options.text].strip()]
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"before the fork {begun:.0f} MiB; notes of up to {options.characters} characters")
    first = 0.0
    for count in options.notes:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as place:
            peak = extraction(options.run, texts, count, Path(place, "out"))
        first = first or peak
        print(f"{count:>7,} notes: {peak:>7.0f} MiB at most ({peak / first - 1:+.1%}), {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
