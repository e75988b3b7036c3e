"""The end of a run is validated and saved, wherever in an epoch and in the intervals of validations it comes."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from clinical_ie.callbacks.agreement import any_rank
from clinical_ie.callbacks.checkpoints import Checkpoints
from clinical_ie.callbacks.interruption import SafeInterruption

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*`max_epochs` was not set"),
]
BATCHES = 4


class Counting(pl.LightningModule):
    """Scores itself by its step, so that a later state is a better one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.validated: list[int] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.weight - batch.mean()).pow(2)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(self.global_step)
        self.log("dev/score", float(self.global_step))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fitted(folder: Path, *, monitor: str | None = "dev/score", **settings: Any) -> tuple[Counting, dict[str, int]]:
    """The model, and the step of each checkpoint."""
    model = Counting()
    settings = {"callbacks": [Checkpoints(str(folder), monitor)], **settings}
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        num_sanity_val_steps=0, **settings,
    )  # fmt: skip
    trainer.fit(model, DataLoader(torch.ones(BATCHES, 1)), DataLoader(torch.ones(1, 1)))  # type: ignore[arg-type]
    return model, steps_in(folder)


def steps_in(folder: Path) -> dict[str, int]:
    """The step of each checkpoint."""
    return {path.name: int(torch.load(path, weights_only=True)["global_step"]) for path in (folder / "checkpoints").glob("*.ckpt")}


@pytest.mark.parametrize(
    ("settings", "validated"),
    [
        ({"max_epochs": 2}, [4, 8]),
        ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [8, 12]),
        ({"max_epochs": 1, "check_val_every_n_epoch": 5}, [4]),
        ({"max_epochs": 1, "val_check_interval": 3}, [3, 4]),
        ({"max_epochs": 2, "val_check_interval": 0.5}, [2, 4, 6, 8]),
        ({"max_epochs": 2, "val_check_interval": 5, "check_val_every_n_epoch": None}, [5, 8]),
        ({"max_epochs": 1, "val_check_interval": "00:01:00:00"}, [4]),
        ({"max_epochs": -1, "max_steps": 6}, [4, 6]),
        ({"max_epochs": -1, "max_steps": 2, "check_val_every_n_epoch": 2}, [2]),
    ],
)
def test_the_end_is_validated_and_saved(settings: dict[str, Any], validated: list[int], tmp_path: Path) -> None:
    model, steps = fitted(tmp_path, **settings)
    assert model.validated == validated
    assert steps == {"best.ckpt": validated[-1], "last.ckpt": validated[-1]}


@pytest.mark.parametrize("settings", [{}, {"check_val_every_n_epoch": 5}, {"val_check_interval": "00:01:00:00"}])
def test_what_is_never_validated_is_saved(settings: dict[str, Any], tmp_path: Path) -> None:
    model, steps = fitted(tmp_path, monitor=None, max_epochs=2, limit_val_batches=0, **settings)
    assert not model.validated
    assert steps == {"best.ckpt": 8, "last.ckpt": 8}


@pytest.mark.parametrize(("every_minutes", "kept"), [(0, {"last.ckpt": 3}), (30, {}), (None, {})])
def test_a_crash_between_validations_loses_no_more_than_so_many_minutes(
    every_minutes: float | None, kept: dict[str, int], tmp_path: Path
) -> None:
    class Crash(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == 3:
                raise OSError("the disk is gone")

    keepers = [Checkpoints(str(tmp_path), "dev/score", every_minutes=every_minutes), SafeInterruption(str(tmp_path))]
    with pytest.raises(OSError, match="disk is gone"):
        fitted(tmp_path, callbacks=[Crash(), *keepers], max_epochs=1)
    assert steps_in(tmp_path) == kept


def test_ranks_agree_on_several_wishes_at_once() -> None:
    operations = []

    def reduce(wishes: Tensor, reduce_op: str) -> Tensor:
        operations.append(reduce_op)
        return wishes + torch.tensor([0.0, 1.0, 1.0])

    trainer: Any = SimpleNamespace(world_size=2, strategy=SimpleNamespace(root_device="cpu", reduce=reduce))
    assert any_rank(trainer, False, False, True) == [False, True, True]
    assert operations == ["sum"]
    assert any_rank(SimpleNamespace(world_size=1), True, False) == [True, False]  # type: ignore[arg-type]


class StopAt(pl.Callback):
    """Raises a flag as a signal would, after so many batches, beginnings and ends of validations and ends of epochs."""

    def __init__(self, interruption: SafeInterruption, event: int | None) -> None:
        self.interruption, self.event, self.seen = interruption, event, 0

    def _see(self, *_: Any) -> None:
        if self.seen == self.event:
            self.interruption._signal = signal.SIGTERM
        self.seen += 1

    on_train_batch_end = on_validation_start = on_validation_batch_end = on_validation_end = on_train_epoch_end = _see


class Tracing(Counting):
    """Notes every step and every finished validation, with the weight; its score soon stops rising."""

    def __init__(self, trace: list[tuple[str, int, float]]) -> None:
        super().__init__()
        self.trace = trace

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.trace.append(("step", self.global_step, float(self.weight.detach())))
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("dev/score", float(min(self.global_step, BATCHES)))

    def on_validation_epoch_end(self) -> None:
        self.trace.append(("validation", self.global_step, float(self.weight.detach())))


def traced(folder: Path, trace: list[tuple[str, int, float]], event: int | None, settings: dict[str, Any]) -> tuple[int, bool]:
    """Train, or go on; how many events there were, and whether it came to its end."""
    interruption = SafeInterruption(str(folder))
    stop = StopAt(interruption, event)
    monitor = None if settings.get("limit_val_batches") == 0 else "dev/score"
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        num_sanity_val_steps=0, callbacks=[stop, Checkpoints(str(folder), monitor), interruption], **settings,
    )  # fmt: skip
    last = folder / "checkpoints" / "last.ckpt"
    try:
        trainer.fit(
            Tracing(trace), DataLoader(torch.ones(BATCHES, 1)), DataLoader(torch.ones(2, 1)), ckpt_path=last if last.exists() else None
        )
    except SystemExit:
        return stop.seen, False
    return stop.seen, True


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize(
    "settings",
    [
        {"max_epochs": 2},
        {"max_epochs": 3, "check_val_every_n_epoch": 2},  # the end alone asks for the last validation
        {"max_epochs": -1, "max_steps": 6, "check_val_every_n_epoch": 2},  # an epoch without one, and an end inside the next
        {"max_epochs": -1, "max_steps": 6, "limit_val_batches": 0},
    ],
)
def test_stopped_at_any_moment_nothing_is_lost_or_done_twice(settings: dict[str, Any], tmp_path: Path) -> None:
    whole: list[tuple[str, int, float]] = []
    events, ended = traced(tmp_path / "whole", whole, None, settings)
    assert ended
    for event in range(events):
        folder, trace = tmp_path / str(event), list[tuple[str, int, float]]()
        if not traced(folder, trace, event, settings)[1]:
            assert traced(folder, trace, None, settings)[1]
        assert trace == whole, event
        for name in ("best.ckpt", "last.ckpt"):
            one, two = (torch.load(place / "checkpoints" / name, weights_only=True) for place in (folder, tmp_path / "whole"))
            assert one["global_step"] == two["global_step"], (event, name)
            assert torch.equal(one["state_dict"]["weight"], two["state_dict"]["weight"])
            (first,), (second,) = ([state for key, state in ckpt["callbacks"].items() if "Checkpoints" in key] for ckpt in (one, two))
            assert all(first[score] == second[score] for score in ("best_model_score", "current_score")), (event, name)
