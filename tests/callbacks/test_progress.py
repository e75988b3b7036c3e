"""Lines where there is no terminal; the trainer is a stand-in, the numbers are by hand."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from clinical_ie.callbacks import progress
from clinical_ie.callbacks.progress import ProgressLines
from clinical_ie.modules.instruction_generator import InstructionGenerator

MODULE = cast("pl.LightningModule", None)


def taught(loss: float) -> Any:
    """A module behind a batch whose loss is summed over its targets."""
    return SimpleNamespace(batch_loss=torch.tensor(loss), device=torch.device("cpu"))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def trainer(**given: Any) -> Any:
    return SimpleNamespace(
        **{
            "global_step": 0, "current_epoch": 0, "max_epochs": 4, "num_training_batches": 2, "estimated_stepping_batches": 8,
            "is_global_zero": True, "world_size": 1, "progress_bar_metrics": {}, "state": SimpleNamespace(fn=TrainerFn("fit")),
            "num_test_batches": [100], "num_predict_batches": [10], "num_val_batches": [10], **given,
        }
    )  # fmt: skip


def test_a_line_for_each_epoch(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lines, run = ProgressLines(), trainer()
    with caplog.at_level(logging.INFO, "clinical_ie"):
        lines.on_train_start(run, MODULE)
        lines.on_train_epoch_start(run, MODULE)
        for place, (own, total) in enumerate(((30, 90.0), (10, 10.0))):  # 3 each, and 1 each
            clock.now += 15
            run.global_step += 1
            lines.on_train_batch_end(run, taught(total), None, {"batch_targets": own}, place)
        run.progress_bar_metrics = {"train/loss": 9.0, "dev/links/strict_f1": torch.tensor(0.25)}
        lines.on_train_epoch_end(run, MODULE)
    # two of eight steps in 30 s: six more take 90 s
    assert caplog.messages == ["epoch 1/4, loss 2.5000, dev/links/strict_f1 0.250, 30 s so far, about 1 min 30 s left"]


def test_an_epoch_is_that_of_all_ranks(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    other = torch.tensor([20.0, 30.0])  # another rank's loss, and its targets
    lines, run = ProgressLines(), trainer(world_size=2, strategy=SimpleNamespace(reduce=lambda mine, reduce_op: mine + other))
    with caplog.at_level(logging.INFO, "clinical_ie"):
        lines.on_train_start(run, MODULE)
        lines.on_train_epoch_start(run, MODULE)
        run.global_step, clock.now = 2, clock.now + 20
        lines.on_train_batch_end(run, taught(60.0), None, {"batch_targets": 10}, 0)
        lines.on_train_epoch_end(run, taught(60.0))
    assert caplog.messages == ["epoch 1/4, loss 2.0000, 20 s so far, about 1 min 0 s left"]


def test_a_resumed_run_counts_its_own_steps(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lines, run = ProgressLines(), trainer(global_step=4, current_epoch=2)
    with caplog.at_level(logging.INFO, "clinical_ie"):
        lines.on_train_start(run, MODULE)
        lines.on_train_epoch_start(run, MODULE)
        run.global_step, clock.now = 6, clock.now + 20
        lines.on_train_epoch_end(run, MODULE)
        run.global_step, run.current_epoch, clock.now = 8, 3, clock.now + 20
        lines.on_train_epoch_end(run, MODULE)
    assert caplog.messages == ["epoch 3/4, 20 s so far, about 20 s left", "epoch 4/4, 40 s so far"]


def test_long_epochs_and_tests_say_something_every_two_minutes(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lines, run = ProgressLines(), trainer(num_training_batches=100, estimated_stepping_batches=100)
    with caplog.at_level(logging.INFO, "clinical_ie"):
        lines.on_train_start(run, MODULE)
        lines.on_train_epoch_start(run, MODULE)
        for batch in range(5):
            clock.now, run.global_step = clock.now + 60, batch + 1
            lines.on_train_batch_end(run, taught(7.0), None, {"batch_targets": 7}, batch)
        assert caplog.messages == [
            "epoch 1, batch 2/100, loss 1.0000, 2 min 0 s so far, about 1 h 38 min left",
            "epoch 1, batch 4/100, loss 1.0000, 4 min 0 s so far, about 1 h 36 min left",
        ]
        caplog.clear()
        lines.on_test_start(run, MODULE)
        for batch in range(100):
            clock.now += 2
            lines.on_test_batch_end(run, MODULE, None, None, batch)
    assert caplog.messages == ["test: batch 60/100, 2 min 0 s so far, about 1 min 20 s left"]


def test_ranks_but_the_first_are_silent(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lines, run = ProgressLines(every=0), trainer(is_global_zero=False, state=SimpleNamespace(fn=TrainerFn("validate")))
    with caplog.at_level(logging.INFO, "clinical_ie"):
        lines.on_train_start(run, MODULE)
        lines.on_train_epoch_end(run, MODULE)
        lines.on_validation_batch_end(run, MODULE, None, None, 0)
        lines.on_predict_batch_end(run, MODULE, None, None, 0)
    assert caplog.messages == []


def test_a_run_without_an_end(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lines, run = ProgressLines(), trainer(max_epochs=-1, estimated_stepping_batches=float("inf"))
    with caplog.at_level(logging.INFO, "clinical_ie"):
        lines.on_train_start(run, MODULE)
        run.global_step, clock.now = 1, clock.now + 7
        lines.on_train_epoch_end(run, MODULE)
    assert caplog.messages == ["epoch 1, 7 s so far"]


@pytest.mark.parametrize(("fn", "what"), [("test", "test"), ("fit", "dev")])
def test_completions_are_counted_behind_the_last_batch(fn: str, what: str, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lines, run = ProgressLines(), trainer(state=SimpleNamespace(fn=TrainerFn(fn)))
    module = InstructionGenerator.__new__(InstructionGenerator)
    (lines.on_test_epoch_start if fn == "test" else lines.on_validation_epoch_start)(run, module)
    tell = module.on_generation_step
    assert tell is not None
    with caplog.at_level(logging.INFO, "clinical_ie"):
        for finished, left, seconds in ((0, 40, 100), (0, 40, 20), (10, 30, 20), (30, 10, 100), (39, 1, 60), (40, 0, 300)):
            clock.now += seconds
            tell(finished, left)
    assert caplog.messages == [
        f"{what}: 0/40 completions, 2 min 0 s so far",
        f"{what}: 30/40 completions, 4 min 0 s so far, about 1 min 20 s left",
    ]


def test_a_model_that_writes_nothing_is_left_alone() -> None:
    ProgressLines().on_test_epoch_start(trainer(), MODULE)
