"""Kills of an extraction at random moments (SIGKILL): its output must be that of one that nobody has disturbed.

Mentions below a confidence of 0.5 go to review. A kill is cheap: the
model is loaded once, and each try is a fork of this process that goes on with the extraction. Prints one line.

    python benchmarks/extract_kills.py RUN NOTES_FOLDER --kills 200
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from datetime import datetime
from pathlib import Path

import torch

from clinical_ie import Extractor, load
from clinical_ie.commands.quiet import quieten
from clinical_ie.extraction.inputs import read
from clinical_ie.extraction.job import ModelWork, extract
from clinical_ie.extraction.parts import PartSize
from clinical_ie.extraction.thresholds import Thresholds

FORMATS = ("jsonl", "brat", "csv")


class LoadedWork(ModelWork):
    """The work of a process that has its model already."""

    extractor: Extractor

    def begin(self):  # type: ignore[no-untyped-def]
        """What annotates a part."""
        return self.on(self.extractor)


def works(began: datetime) -> list[LoadedWork]:
    """What one process does."""
    return [LoadedWork({}, FORMATS, began, thresholds=Thresholds(0.5))]


def run_child(notes: Path, folder: Path, size: PartSize) -> int:
    """A fork that extracts; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        extract(read(notes), folder, {"input": str(notes)}, works, size=size)
        code = 0
    finally:
        os._exit(code)


def tree(folder: Path) -> dict[str, bytes]:
    """All files of an output, without those that hold the time or the order of parts."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name not in ("extraction.json", ".lock")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("notes", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--part_notes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    quieten()
    torch.set_num_threads(1)  # threads do not survive a fork
    LoadedWork.extractor = load(options.run, device="cpu")
    generator, size = random.Random(options.seed), PartSize(options.part_notes, 100_000)
    with tempfile.TemporaryDirectory() as place:
        whole, out = Path(place, "whole"), Path(place, "out")
        begun = time.monotonic()
        os.waitpid(run_child(options.notes, whole, size), 0)
        seconds = time.monotonic() - begun
        expected = tree(whole)
        assert len(expected) > 3, "nothing was extracted"
        kills = finished = resumed = 0
        while kills < options.kills or out.exists():
            child = run_child(options.notes, out, size)
            if kills < options.kills:
                time.sleep(generator.uniform(0, seconds / 3))  # several kills for each output
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                kills += 1
                resumed += (out / "ledger.jsonl").exists() and (out / "ledger.jsonl").stat().st_size > 0
                continue
            assert status == 0, f"an extraction that went on failed (status {status})"
            found = tree(out)
            different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            assert not different, f"{len(different)} files differ, such as {different[0]}"
            finished += 1
            shutil.rmtree(out)
    print(f"{kills} kills, {resumed} of them with parts done; {finished} outputs in all, each equal to the undisturbed one"
          f" ({len(expected)} files, {seconds:.1f} s undisturbed)")  # fmt: skip


if __name__ == "__main__":
    main()
