"""Notes per second and peak memory of reading, beside pandas in chunks, csv.DictReader and open().read().

    python benchmarks/read_notes.py ../shared/corpora/mtsamples_subset/data/mtsamples.csv

The notes of the table are repeated 100 times with other ids, as CSV and as a folder of .txt files (10 times). Each reader runs in a process
of its own and counts the characters that it gets; the peak is that of the process, less what it has before it reads.
"""

from __future__ import annotations

import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READERS = ("ours", "pandas", "csv.DictReader", "open().read()")


def measure(reader: str, source: str) -> None:
    """Read everything once; print notes, characters, seconds and peak memory."""
    csv.field_size_limit(1 << 30)
    if reader == "ours":
        from clinical_ie.extraction.inputs import Note, read

        texts = (note.text for note in read(source) if isinstance(note, Note))
    elif reader == "pandas":
        import pandas as pd

        pd.read_csv(source, nrows=1)
        chunks = pd.read_csv(source, chunksize=256, dtype=str, keep_default_na=False)
        texts = (text for chunk in chunks for text in chunk["transcription"] if text)
    elif reader == "csv.DictReader":
        file = open(source, newline="", encoding="utf-8")  # noqa: SIM115
        texts = (row["transcription"] for row in csv.DictReader(file) if row["transcription"])
    else:
        paths = sorted(Path(source).rglob("*.txt"))
        texts = (open(path, encoding="utf-8", newline="").read() for path in paths)  # noqa: SIM115
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    notes = characters = 0
    for text in texts:
        notes += 1
        characters += len(text)
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(notes, characters, f"{took:.3f}", f"{peak / 1024:.1f}")


def main(table: str) -> None:
    """Write the files and print a table."""
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    notes = [row["transcription"] for row in rows if row["transcription"]]
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, 100):
            with open(f"{folder}/{times}.csv", "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(("id", "transcription"))
                writer.writerows((f"{number}-{rank}", text) for number in range(times) for rank, text in enumerate(notes))
        for times in (1, 10):
            for number in range(times):
                place = Path(folder, f"txt{times}", f"{number:02}")
                place.mkdir(parents=True)
                for rank, text in enumerate(notes):
                    (place / f"{rank:03}.txt").write_text(text, encoding="utf-8", newline="")
        print("| source | reader | notes | notes/s | million characters/s | peak memory beyond the start, MB |")
        print("|---|---|---|---|---|---|")
        for name in ("1.csv", "100.csv", "txt1", "txt10"):
            for reader in READERS:
                if reader in (READERS[3:] if name.endswith(".csv") else READERS[1:3]):
                    continue
                runs = []
                for _ in range(3):
                    command = [sys.executable, __file__, reader, f"{folder}/{name}"]
                    runs.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
                count, characters, took, peak = min(runs, key=lambda run: float(run[2]))
                speed, signs = int(count) / float(took), int(characters) / float(took) / 1e6
                kind = "CSV" if name.endswith(".csv") else ".txt files"
                print(f"| {kind} | {reader} | {int(count):,} | {speed:,.0f} | {signs:.0f} | {peak} |")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(sys.argv[1], sys.argv[2])
    else:
        main(sys.argv[1])
