"""The command as a user types it: several processes, kills, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.formats import jsonl
from tests.conftest import REPOSITORY
from tests.extraction import runs

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


def write_notes(folder: Path, count: int, words: int = 40) -> str:
    folder.mkdir()
    for number in range(count):
        (folder / f"n{number:03}.txt").write_text(runs.note(number, words))
    return str(folder)


def files(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name not in ("extraction.json", "ledger.jsonl", ".lock")}


def test_all_notes_or_some_and_what_is_said(tagger_run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes, out = write_notes(tmp_path / "notes", 3), tmp_path / "out"
    command = ["extract", "--model", tagger_run, notes, "--output", str(out), "--workers", "1"]
    assert main(command) == 0
    assert "3 notes: " in capsys.readouterr().out
    assert main(command) == 0
    assert "3 notes (0 of them now): " in capsys.readouterr().out
    (tmp_path / "notes" / "bad.txt").write_bytes(b"\x00\x01secret")
    assert main(command) == 2
    assert "the input has changed since part 1" in capsys.readouterr().err
    assert main([*command[:4], "--output", str(tmp_path / "other"), "--workers", "1"]) == 1
    said = capsys.readouterr()
    assert "1 note" in said.err and "failed.jsonl" in said.err  # noqa: PT018
    assert "secret" not in said.out + said.err
    assert len(jsonl.read(tmp_path / "other" / "jsonl")) == 3


def test_bad_usage_is_said_before_anything_is_loaded(tagger_run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = write_notes(tmp_path / "notes", 1)
    for given, message in (
        (["--model", str(tmp_path / "none"), notes, "--output", str(tmp_path / "o")], "no such folder"),
        (["--model", tagger_run, notes, "--output", f"{notes}/out"], "among the notes that are read"),
        (["--model", tagger_run, str(tmp_path / "none"), "--output", str(tmp_path / "o")], "no such file or folder"),
        (["--model", tagger_run, notes, "--output", str(tmp_path / "o"), "--format", "jsnl"], "did you mean 'jsonl'"),
        (["--model", tagger_run, notes, "--output", str(tmp_path / "o"), "--workers", "0"], "expected 1 or more"),
    ):
        assert main(["extract", *given]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_that_are_killed_with_their_parent_come_to_the_files_of_one(tagger_run: str, tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes", 36, 2500)  # some six parts
    line = [sys.executable, "-m", "clinical_ie", "extract", "--model", tagger_run, notes, "--precision=32", "--format", "jsonl", "brat"]
    assert main([*line[3:], "--output", str(tmp_path / "one"), "--workers=1"]) == 0

    two = [*line, "--output", str(tmp_path / "two"), "--workers=2"]
    ledger = tmp_path / "two" / "ledger.jsonl"
    process = subprocess.Popen(two, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (ledger.exists() and ledger.stat().st_size):
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = ledger.read_bytes().count(b"\n")
    assert 0 < done < len(list((tmp_path / "one" / "jsonl").iterdir()))
    assert subprocess.run(two, env=ENVIRONMENT, check=False).returncode == 0
    assert files(tmp_path / "two") == files(tmp_path / "one")


@pytest.mark.slow
def test_ten_kills_at_random_moments(tagger_run: str, tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes", 40)
    line = [sys.executable, "benchmarks/extract_kills.py", tagger_run, notes, "--kills=10"]
    said = subprocess.run(line, env=ENVIRONMENT, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.startswith("10 kills, ")
    assert "each equal to the undisturbed one" in said.stdout
