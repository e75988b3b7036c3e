"""What `clinical-ie` alone proposes, by what lies in the working directory."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from clinical_ie.cli import COMMANDS, main
from clinical_ie.commands.next_step import next_step


def put(folder: Path, *, finished: bool, seconds: int) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {}\n", encoding="utf-8")
    os.utime(folder / "config.yaml", (seconds, seconds))
    if finished:
        (folder / "results.json").write_text("{}\n", encoding="utf-8")


def test_where_nothing_is_it_says_how_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    said = capsys.readouterr().err
    assert "  clinical-ie demo " in said
    assert "  clinical-ie corpus draft NOTES --output notes.yaml " in said


def test_the_newest_run_decides(tmp_path: Path) -> None:
    put(tmp_path / "runs" / "old", finished=True, seconds=100)
    put(tmp_path / "runs" / "both" / "entities", finished=True, seconds=200)
    said = next_step(tmp_path)
    assert "newest of 2" in said
    assert "clinical-ie view runs/both/entities " in said
    put(tmp_path / "runs" / "stopped", finished=False, seconds=300)
    said = next_step(tmp_path)
    assert "runs/stopped, is not finished" in said
    assert "clinical-ie fit -c runs/stopped/config.yaml --resume=auto" in said


def test_a_file_or_a_folder_of_others_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("", encoding="utf-8")
    assert "Nothing was trained here" in next_step(tmp_path)
    (tmp_path / "runs").unlink()
    put(tmp_path / "runs" / ".hidden", finished=True, seconds=1)
    put(tmp_path / "runs" / "a" / "b" / "too_deep", finished=True, seconds=1)
    assert "Nothing was trained here" in next_step(tmp_path)


def test_every_proposal_is_a_command(tmp_path: Path) -> None:
    said = next_step(tmp_path)
    put(tmp_path / "runs" / "a", finished=True, seconds=100)
    said += next_step(tmp_path)
    put(tmp_path / "runs" / "b", finished=False, seconds=200)
    said += next_step(tmp_path)
    lines = re.findall(r"^  clinical-ie (.*?)(?:   .*)?$", said, re.MULTILINE)
    assert len(lines) == 6
    assert all(shlex.split(line)[0] in COMMANDS for line in lines)
