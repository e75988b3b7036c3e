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

from clinical_ie.callbacks.interruption import SafeInterruption
from clinical_ie.cli import main

Arguments = Callable[..., list[str]]


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def steps_of(run_dir: Path) -> int:
    return int(torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["global_step"])


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Send this process a signal in the middle of a step."""

    def arm(step: int, number: int) -> None:
        original = SafeInterruption.on_train_batch_end

        def hooked(self: SafeInterruption, trainer: pl.Trainer, *rest: Any) -> None:
            if trainer.global_step == step:
                os.kill(os.getpid(), number)
            original(self, trainer, *rest)

        monkeypatch.setattr(SafeInterruption, "on_train_batch_end", hooked)

    return arm


@pytest.mark.parametrize(("where", "number"), [("first", signal.SIGINT), ("middle", signal.SIGTERM), ("epoch end", signal.SIGINT)])
def test_interrupt_and_go_on(
    where: str, number: int, arguments: Arguments, finished_run: Path, tmp_path: Path, stop_at: Callable[[int, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    total = steps_of(finished_run)
    per_epoch = total // 3
    step = {"first": 1, "middle": per_epoch + 2, "epoch end": 2 * per_epoch}[where]
    run = tmp_path / "run"
    with monkeypatch.context():
        stop_at(step, number)
        with pytest.raises(SystemExit) as stopped:
            main(arguments("fit", run))
    assert stopped.value.code == 1
    monkeypatch.undo()
    assert steps_of(run) == step
    assert not (run / "results.json").exists()
    assert main(arguments("fit", run, f"--ckpt_path={run}/checkpoints/last.ckpt")) == 0
    assert steps_of(run) == total
    assert same(weights(run), weights(finished_run))
    one, two = (json.loads((folder / "results.json").read_text(encoding="utf-8")) for folder in (run, finished_run))
    assert one["splits"] == two["splits"], "the same checkpoint was the best"
    assert one["run"]["training_subwords"] == two["run"]["training_subwords"], "the cost of both legs is counted"
    assert one["run"]["resumed"]


def test_a_crash_loses_only_the_epoch(arguments: Arguments, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    per_epoch = steps_of(finished_run) // 3
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
    assert same(weights(run), weights(finished_run))


def test_with_averaged_weights_too(
    arguments: Arguments, tmp_path: Path, stop_at: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    averaging = ["--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging", "--trainer.callbacks.init_args.decay=0.9"]
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main(arguments("fit", whole, *averaging)) == 0
    stop_at(5, signal.SIGINT)
    with pytest.raises(SystemExit):
        main(arguments("fit", run, *averaging))
    monkeypatch.undo()
    assert main(arguments("fit", run, f"--ckpt_path={run}/checkpoints/last.ckpt", *averaging)) == 0
    assert same(weights(run), weights(whole))
