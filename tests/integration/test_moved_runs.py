"""What lies beside ``config.yaml`` is the run, whatever the folder is called and wherever the command is given."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from clinical_ie.cli import main

Arguments = Callable[..., list[str]]


def test_a_renamed_run_answers_itself(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """exp1 was good and got another name; a new exp1, which learned nothing, stands where it was."""
    good = Path(shutil.copytree(finished_run, tmp_path / "exp1_good"))
    bad = Path(shutil.copytree(finished_run, tmp_path / "exp1"))
    checkpoint = torch.load(bad / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["state_dict"] = {name: torch.zeros_like(value) for name, value in checkpoint["state_dict"].items()}
    torch.save(checkpoint, bad / "checkpoints" / "best.ckpt")
    before = {path: path.stat().st_mtime_ns for path in bad.rglob("*")}
    scores = json.loads((good / "results.json").read_text(encoding="utf-8"))["splits"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main(["test", "-c", "../exp1_good/config.yaml"]) == 0
    assert json.loads((good / "results.json").read_text(encoding="utf-8"))["splits"] == scores
    assert {path: path.stat().st_mtime_ns for path in bad.rglob("*")} == before
    assert not list(elsewhere.iterdir())


def test_given_another_folder_the_run_is_tested_into_it(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")}
    assert main(["test", "-c", str(finished_run / "config.yaml"), f"--run_dir={tmp_path / 'out'}"]) == 0
    one, two = (json.loads((folder / "results.json").read_text(encoding="utf-8"))["splits"] for folder in (finished_run, tmp_path / "out"))
    assert one["test"] == two["test"]
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")} == before
    other = Path(shutil.copytree(finished_run, tmp_path / "other"))
    assert main(["test", "-c", str(finished_run / "config.yaml"), f"--run_dir={other}"]) == 2
    assert "holds another run" in capsys.readouterr().err


def test_relative_paths_hold_from_any_working_directory(
    arguments: Arguments, small_corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_corpus, tmp_path / "notes")
    monkeypatch.chdir(tmp_path)
    short = ["--data.corpora.init_args.root=notes", "--trainer.max_epochs=1", "--test_after_fit=false", "--trainer.limit_train_batches=2"]
    assert main(arguments("fit", Path("runs/one"), *short)) == 0
    stored = yaml.safe_load((tmp_path / "runs" / "one" / "config.yaml").read_text(encoding="utf-8"))
    assert stored["data"]["corpora"][0]["init_args"]["root"] == str(tmp_path / "notes")
    assert "run_dir" not in stored
    shutil.move(tmp_path / "runs" / "one", tmp_path / "moved")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    more = ["--ckpt_path=../moved/checkpoints/last.ckpt", "--trainer.max_epochs=2"]
    assert main(["fit", "-c", "../moved/config.yaml", *more]) == 0
    assert not (tmp_path / "runs" / "one").exists()
    assert json.loads((tmp_path / "moved" / "results.json").read_text(encoding="utf-8"))["run"]["resumed"] == 1
    callbacks = torch.load(tmp_path / "moved" / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    saved = next(value for name, value in callbacks.items() if name.startswith("Checkpoints"))
    assert Path(saved["best_model_path"]).resolve() == tmp_path / "moved" / "checkpoints" / "best.ckpt"


def test_going_on_in_another_folder_keeps_the_best(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No later epoch is better here, so the best one comes from the folder before."""
    from clinical_ie.callbacks.checkpoints import Checkpoints

    monkeypatch.setattr(Checkpoints, "check_monitor_top_k", lambda *_: False)
    out = tmp_path / "out"
    given = ["fit", "-c", str(finished_run / "config.yaml"), f"--run_dir={out}", f"--ckpt_path={finished_run}/checkpoints/last.ckpt"]
    assert main([*given, "--trainer.max_epochs=4"]) == 0
    one, two = ((folder / "checkpoints" / "best.ckpt").read_bytes() for folder in (finished_run, out))
    assert one == two
    assert "test" in json.loads((out / "results.json").read_text(encoding="utf-8"))["splits"]
