"""A run that stops anywhere and goes on ends in the same weights as one that never stopped."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clinical_ie.callbacks.interruption import SafeInterruption
from clinical_ie.cli import main
from tests.integration.processes import forked
from tests.integration.signals import signal_at

Arguments = Callable[..., list[str]]


def weights(run_dir: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run_dir / "checkpoints" / name, weights_only=True)["state_dict"]
    return state


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def steps_of(run_dir: Path) -> int:
    return int(torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["global_step"])


@pytest.mark.parametrize(
    ("where", "number"),
    [("first", signal.SIGINT), pytest.param("middle", signal.SIGTERM, marks=pytest.mark.slow), ("epoch end", signal.SIGINT)],
)
def test_interrupt_and_go_on(where: str, number: int, arguments: Arguments, trained_run: Path, tmp_path: Path) -> None:
    total = steps_of(trained_run)
    per_epoch = total // 3
    step = {"first": 1, "middle": per_epoch + 2, "epoch end": 2 * per_epoch}[where]
    run = tmp_path / "run"
    with signal_at(number, step):
        assert main(arguments("fit", run)) == 75
    assert steps_of(run) == step
    assert not (run / "results.json").exists()
    assert main(arguments("fit", run, f"--ckpt_path={run}/checkpoints/last.ckpt")) == 0
    assert steps_of(run) == total
    assert same(weights(run), weights(trained_run))
    assert logged(run, "train/loss") == logged(trained_run, "train/loss"), "the curve has no gap, and nothing twice"
    one, two = (json.loads((folder / "results.json").read_text(encoding="utf-8")) for folder in (run, trained_run))
    assert one["splits"] == two["splits"], "the same checkpoint was the best"
    assert one["run"]["training_subwords"] == two["run"]["training_subwords"], "the cost of both legs is counted"
    assert one["run"]["mixing"] == two["run"]["mixing"], "and so is what they were trained on"
    assert one["run"]["mixing"]["demo/entity_tagging"]["planned_targets"] == one["run"]["mixing"]["demo/entity_tagging"]["trained_targets"]
    assert one["run"]["resumed"]


@pytest.mark.parametrize(
    ("when", "number", "more", "step"),
    [
        ("inside", signal.SIGTERM, [], 18),  # the end of an epoch
        ("before", signal.SIGINT, ["--trainer.max_epochs=1", "--trainer.val_check_interval=5"], 5),
        ("inside", signal.SIGUSR1, ["--trainer.max_epochs=-1", "--trainer.max_steps=5"], 5),  # the end of the run, inside an epoch
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("before", signal.SIGTERM, ["--trainer.max_epochs=-1", "--trainer.max_steps=23"], 23),
                ("before", signal.SIGTERM, ["--trainer.check_val_every_n_epoch=3", "--trainer.accumulate_grad_batches=2"], 27),
                ("inside", signal.SIGTERM, ["--trainer.check_val_every_n_epoch=2"], 54),
            )
        ),
    ],
)
def test_a_validation_is_interrupted_and_not_lost(
    when: str, number: int, more: list[str], step: int, arguments: Arguments, trained_run: Path, tmp_path: Path
) -> None:
    """The signal comes in the step that is validated, or between two batches of the validation."""
    whole, run = tmp_path / "whole" if more else trained_run, tmp_path / "run"
    if more:
        assert main(arguments("fit", whole, *more)) == 0
    more = [*more, "--data.eval_batch_budget=128"]
    hook = {"before": "on_train_batch_end", "inside": "on_validation_batch_end"}[when]
    with signal_at(number, step, hook) as sent:
        assert main(arguments("fit", run, *more)) == 75
    assert len(sent) == 1, "it stopped between batches"
    assert steps_of(run) == step
    assert not (run / "results.json").exists()
    assert main(arguments("fit", run, f"--ckpt_path={run}/checkpoints/last.ckpt", *more)) == 0
    for name in ("best.ckpt", "last.ckpt"):
        assert same(weights(run, name), weights(whole, name)), name
    one, two = (torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (run, whole))
    (first,), (second,) = ([state for name, state in found["callbacks"].items() if "Checkpoints" in name] for found in (one, two))
    for score in ("best_model_score", "current_score"):
        assert torch.equal(first[score], second[score])
    assert logged(run) == logged(whole), "the same steps were scored, with the same scores"
    costs = [json.loads((folder / "results.json").read_text(encoding="utf-8"))["run"] for folder in (run, whole)]
    assert costs[0]["epochs"] == costs[1]["epochs"] >= 1


def logged(run_dir: Path, name: str = "dev/entities/strict_f1") -> list[tuple[int, float]]:
    """Step and score of each validation, or another curve; the folder holds a file for each part of the run."""
    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_a_crash_loses_only_the_epoch(arguments: Arguments, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    per_epoch = steps_of(trained_run) // 3
    original = SafeInterruption.on_train_batch_end

    def crash(self: SafeInterruption, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.global_step == 2 * per_epoch + 1:
            raise OSError("the disk is gone")
        original(self, trainer, *rest)

    monkeypatch.setattr(SafeInterruption, "on_train_batch_end", crash)
    run = tmp_path / "run"
    with pytest.raises(OSError, match="disk is gone"):
        main(arguments("fit", run))
    monkeypatch.undo()
    assert steps_of(run) == 2 * per_epoch
    assert main(arguments("fit", run, f"--ckpt_path={run}/checkpoints/last.ckpt")) == 0
    assert same(weights(run), weights(trained_run))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of one process, and a file of what was asked of ``scontrol``."""
    called, folder = tmp_path / "called", tmp_path / "bin"
    folder.mkdir()
    script = f"#!/bin/sh\necho $1 >> {called}\necho JobId=7 JobState=RUNNING Requeue=1 BatchFlag=1\n"
    (folder / "scontrol").write_text(script, encoding="utf-8")
    (folder / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    job = {"JOB_ID": "7", "JOB_NAME": "study", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "NODELIST": "localhost"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return called


def test_the_same_command_begins_goes_on_and_is_done(
    arguments: Arguments, trained_run: Path, tmp_path: Path, slurm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a job of SLURM, to which SIGUSR1 comes before its time is up, and which is started again; there are other checkpoints, too."""
    run = tmp_path / "run"
    another = ["--trainer.callbacks+=ModelCheckpoint", f"--trainer.callbacks.init_args.dirpath={tmp_path}/others"]
    again = arguments("fit", run, "--resume=auto", *another)
    with signal_at(signal.SIGUSR1, 20):
        assert main(again) == 75
    assert "stopped by SIGUSR1 at step 20; the same command with --resume=auto goes on" in capfd.readouterr().err
    assert slurm.read_text(encoding="utf-8").split() == ["show", "requeue"], "once, when all was saved"
    assert not list(run.glob("hpc_ckpt*"))
    with signal_at(signal.SIGTERM, hook="on_test_batch_end"):  # trained, but stopped before it was scored
        assert main(again) == 75
    assert "stopped by SIGTERM in test" in capfd.readouterr().err
    trained = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert not trained["splits"]
    assert main(again) == 0
    scored = json.loads((run / "results.json").read_text(encoding="utf-8"))
    whole = json.loads((trained_run / "results.json").read_text(encoding="utf-8"))
    assert scored["splits"] == whole["splits"]
    assert scored["run"].items() >= trained["run"].items(), "nothing was trained, and what training had cost stays"
    assert same(weights(run), weights(trained_run))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    capfd.readouterr()
    assert main(again) == 0
    assert f"{run} is trained already, and scored" in capfd.readouterr().out
    assert main([*again, "--seed_everything=3"]) == 2
    assert "seed_everything: 0 -> 3" in capfd.readouterr().err
    assert main([*again, "--evaluation.interval_samples=10"]) == 2
    assert "was scored with other settings: evaluation.interval_samples: 1000 -> 10" in capfd.readouterr().err
    assert main([*again, f"--ckpt_path={run}/checkpoints/last.ckpt"]) == 2
    assert "leave out one of --resume and --ckpt_path" in capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.slow
def test_with_averaged_weights_too(arguments: Arguments, tmp_path: Path) -> None:
    averaging = ["--trainer.callbacks+=clinical_ie.callbacks.averaging.MovingAverage", "--trainer.callbacks.init_args.decay=0.9"]
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main(arguments("fit", whole, *averaging)) == 0
    with signal_at(signal.SIGINT, 5):
        assert main(arguments("fit", run, *averaging)) == 75
    assert main(arguments("fit", run, f"--ckpt_path={run}/checkpoints/last.ckpt", *averaging)) == 0
    assert same(weights(run), weights(whole))


def test_batches_that_workers_made_ahead_are_not_lost(arguments: Arguments, trained_run: Path, tmp_path: Path) -> None:
    """Worker processes take batches from the plan long before they are trained on, and begin before anything is restored."""
    run = tmp_path / "run"
    with signal_at(signal.SIGTERM, steps_of(trained_run) // 3 + 2):
        assert main(arguments("fit", run, "--data.workers=2")) == 75
    assert main(arguments("fit", run, "--data.workers=2", f"--ckpt_path={run}/checkpoints/last.ckpt")) == 0
    assert same(weights(run), weights(trained_run))


@pytest.mark.distributed
@pytest.mark.timeout(300)
def test_two_ranks_stop_together_and_go_on_exactly(arguments: Arguments, tmp_path: Path) -> None:
    """The second rank alone gets the signals, in a validation and in a step; each rank draws its own dropout."""
    whole, run, file = tmp_path / "whole", tmp_path / "run", tmp_path / "signal"
    given = ["--trainer.callbacks+=tests.integration.signals.Signalled", f"--trainer.callbacks.init_args.file={file}"]
    given += ["--trainer.max_epochs=2", "--test_after_fit=false", "--data.eval_batch_budget=128", "--resume=auto"]
    given += ["--trainer.devices=2", "--trainer.strategy=ddp"]
    code, printed = forked(*arguments("fit", whole, *given), ranks=2)
    assert code == 0, printed[-2000:]
    for rank, step, where in ((1, 9, "validation"), (1, 12, "train")):
        file.write_text(f"{rank} {step} {where}", encoding="utf-8")
        code, printed = forked(*arguments("fit", run, *given), ranks=2)
        assert code == 75, printed[-2000:]
        assert steps_of(run) == step
        assert f"stopped by SIGTERM at step {step}" in printed
        assert f"stopped by a signal to another rank at step {step}" in printed
    code, printed = forked(*arguments("fit", run, *given), ranks=2)
    assert code == 0, printed[-2000:]
    for name in ("best.ckpt", "last.ckpt"):
        assert same(weights(run, name), weights(whole, name)), name
    states = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["random_states"]
    assert len(states) == 2
    assert not torch.equal(states[0]["torch"], states[1]["torch"]), "ranks draw different masks"
