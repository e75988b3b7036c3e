"""Going on with a run: what changed takes effect or is refused by name, before anything of the run is touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clinical_ie.callbacks.checkpoints import Checkpoints
from clinical_ie.cli import main

Arguments = Callable[..., list[str]]


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may spoil."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def state(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def going_on(run: Path, *more: str) -> list[str]:
    return ["fit", "-c", str(run / "config.yaml"), f"--ckpt_path={run}/checkpoints/last.ckpt", *more]


def one_note_less(corpus: str, target: Path) -> str:
    """A copy of a corpus without the last note of its training part."""
    shutil.copytree(corpus, target)
    lines = (target / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (target / "train.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    return str(target)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--model.init_args.learning_rate=5e-6"], "model.init_args.learning_rate: 0.005 -> 5e-06"),
        (["--model.init_args.head_learning_rate=5e-3"], "model.init_args.head_learning_rate: 0.02 -> 0.005"),
        (["--model.init_args.weight_decay=0.3"], "model.init_args.weight_decay: 0.01 -> 0.3"),
        (["--model.init_args.schedule=cosine"], "model.init_args.schedule: linear -> cosine"),
        (["--model.init_args.warmup_share=0"], "model.init_args.warmup_share: 0.1 -> 0.0"),
        (["--model.init_args.decoder=softmax"], "model.init_args.decoder: crf -> softmax"),
        (["--data.batch_budget=256"], "data.batch_budget: 512 -> 256"),
        (["--data.seed=1"], "data.seed: none -> 1"),
        (["--data.tasks.init_args.window=64"], "data.tasks.0.init_args.window: 96 -> 64"),
        (["--data.corpora.init_args.entity_types=[Drug]"], "data.corpora.0.init_args.entity_types.0: none -> Drug"),
        (["--seed_everything=1"], "seed_everything: 0 -> 1"),
        (["--trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches: 1 -> 2"),
        (["--trainer.gradient_clip_val=0.5"], "trainer.gradient_clip_val: 1.0 -> 0.5"),
        (["--trainer.precision=bf16-mixed"], "trainer.precision: 32-true -> bf16-mixed"),
        (["--checkpoints.monitor=dev/entities/lenient_f1"], "checkpoints.monitor: none -> dev/entities/lenient_f1"),
        (["--model.init_args.peft=peft.LoraConfig"], "model.init_args.peft.class_path: none -> peft.LoraConfig"),
        (["--init_from=elsewhere"], "init_from is elsewhere, but the run that is gone on with began without; leave it out"),
        (["--trainer.max_epochs=2"], "trainer.max_epochs is 2, but the checkpoint has 3 behind it"),
    ],
)
def test_a_changed_setting_is_refused_by_name(more: list[str], named: str, finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(finished_run)
    assert main(going_on(finished_run, *more)) == 2
    assert named in capsys.readouterr().err
    assert state(finished_run) == before


def test_all_that_changed_is_named_at_once(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(going_on(finished_run, "--data.seed=1", "--model.init_args.dropout=0.5")) == 2
    printed = capsys.readouterr().err
    assert "data.seed: none -> 1, model.init_args.dropout: 0.1 -> 0.5" in printed
    assert "--run_dir" in printed


def test_another_corpus_under_the_same_name_is_refused(
    run: Path, small_corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(run)
    root = one_note_less(small_corpus, tmp_path / "other")
    assert main(going_on(run, f"--data.corpora.init_args.root={root}", "--trainer.max_epochs=4")) == 2
    printed = capsys.readouterr().err
    assert "the train documents of demo are not those that the run began with (24, content" in printed
    after = state(run)
    assert {name: after[name] for name in before} == before


def test_a_later_end_takes_effect_and_is_noted(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = json.loads((run / "results.json").read_text(encoding="utf-8"))["run"]
    assert main(going_on(run, "--trainer.max_epochs=4", "--trainer.log_every_n_steps=5", "--test_after_fit=false")) == 0
    assert not any(path.suffix == ".jsonl" for path in (run / "predictions" / "test").iterdir()), "annotations of the model before"
    two = json.loads((run / "results.json").read_text(encoding="utf-8"))["run"]
    assert (one["resumed"], two["resumed"]) == (0, 1)
    assert (one["epochs"], two["epochs"]) == (3, 4)
    (change,) = two["changes"]
    assert change.startswith(f"from step {one['steps']}, trainer.max_epochs: 3 -> 4; from here on the linear schedule")
    assert two["training_subwords"] == pytest.approx(one["training_subwords"] * 4 / 3, rel=0.02)
    assert "max_epochs: 4" in (run / "config.yaml").read_text(encoding="utf-8")
    rate = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"][0]["lr"]
    assert rate == pytest.approx(0, abs=5e-3 / one["steps"]), "the schedule ends with the new end"


def test_a_run_whose_last_state_is_gone_goes_on_with_its_best(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kill between writing the two leaves the best alone."""
    before = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    (run / "checkpoints" / "last.ckpt").unlink()
    given = ["fit", "-c", str(run / "config.yaml"), "--resume=auto", "--test_after_fit=false"]
    assert main(given) == 0
    assert "is trained already" in capsys.readouterr().out, "whoever needs room removes what is not tested"
    (run / "results.json").unlink()
    assert main(given) == 0
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == before


def test_seconds_are_those_of_the_whole_run(run: Path) -> None:
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["run"]["seconds"] = 1000.0
    checkpoint["run"]["versions"]["code"] = "older"
    torch.save(checkpoint, path)
    assert main(going_on(run, "--test_after_fit=false")) == 0, "nothing is left to train, which is no error"
    found = json.loads((run / "results.json").read_text(encoding="utf-8"))["run"]
    assert 1000 < found["seconds"] < 1300
    assert found["resumed"] == 1
    assert any("code: older ->" in change for change in found["changes"]), "another version of the code is written down"


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no checkpoint at all"),
        (b"hello", "no checkpoint at all"),
        ("cut", "cut off"),
        ({"state_dict": {}, "epoch": 3}, "another program"),
        ({"state_dict": {}, "model": Checkpoints}, "no checkpoint at all"),
    ],
)
def test_what_is_no_checkpoint_of_ours(
    command: str, content: Any, problem: str, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.ckpt"
    if content == "cut":
        path.write_bytes((finished_run / "checkpoints" / "last.ckpt").read_bytes()[:20_000])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    assert main([command, "-c", str(finished_run / "config.yaml"), f"--ckpt_path={path}", f"--run_dir={tmp_path / 'out'}"]) == 2
    printed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("clinical-ie")]
    assert len(printed) == 1
    assert str(path) in printed[0]
    assert problem in printed[0]
    assert not (tmp_path / "out").exists()


def test_another_casing_of_the_tokenizer_is_refused(
    finished_run: Path, tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(tiny_bert, tmp_path / "cased"))
    settings = json.loads((other / "tokenizer_config.json").read_text(encoding="utf-8"))
    (other / "tokenizer_config.json").write_text(json.dumps({**settings, "do_lower_case": False}), encoding="utf-8")
    for command in ("fit", "test", "validate"):
        given = [command, "-c", str(finished_run / "config.yaml"), f"--model.init_args.backbone={other}", f"--run_dir={tmp_path / 'out'}"]
        assert main([*given, f"--ckpt_path={finished_run}/checkpoints/last.ckpt"]) == 2
        assert "normalizer.lowercase was true, now it is not there" in capsys.readouterr().err, command
    assert not (tmp_path / "out" / "config.yaml").exists()
