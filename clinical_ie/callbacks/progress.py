"""How far a run is: a bar on a terminal, and lines where there is none (in a log file, under SLURM)."""

from __future__ import annotations

import logging
import time
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.trainer.states import TrainerFn

from clinical_ie.modules.instruction_generator import InstructionGenerator
from clinical_ie.reports.durations import duration

_LOG = logging.getLogger(__name__)


class _GenerationLines(pl.Callback):
    """A line every few minutes of a pass in which a decoder writes completions, most of them behind the last batch.

    Args:
        every: Seconds between two lines.
    """

    def __init__(self, every: float = 120.0) -> None:
        super().__init__()
        self.every = every

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not isinstance(pl_module, InstructionGenerator):
            return
        asked = cast("TrainerFn", trainer.state.fn)
        what = "dev" if asked == "fit" else asked.value
        begun = said = time.monotonic()

        def tell(finished: int, left: int) -> None:
            nonlocal said
            if left and time.monotonic() - said >= self.every and trainer.is_global_zero:
                said = time.monotonic()
                ahead = f", about {duration((said - begun) / finished * left)} left" if finished else ""
                _LOG.info(f"{what}: {finished:,}/{finished + left:,} completions, {duration(said - begun)} so far{ahead}")

        pl_module.on_generation_step = tell

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start


class ProgressLines(_GenerationLines):
    """A line after each epoch with mean loss, development scores and time left; within long epochs and tests one every few minutes.

    Args:
        every: Seconds between two lines inside an epoch or a test.
    """

    def __init__(self, every: float = 120.0) -> None:
        super().__init__(every)
        self._begun = self._said = 0.0
        self._first = self._targets = 0
        self._loss: torch.Tensor | float = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._begun = self._said = time.monotonic()
        self._first = _done(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._loss, self._targets = 0.0, 0

    def on_train_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # stays on its device: no waiting
        self._loss, self._targets = self._loss + pl_module.batch_loss, self._targets + batch["batch_targets"]  # type: ignore[operator]
        total = trainer.num_training_batches
        if self._due() and batch_idx + 1 < total:
            self._say(trainer, f"epoch {trainer.current_epoch + 1}, batch {batch_idx + 1:,}{_of(total)}", {})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if trainer.world_size > 1:  # within an epoch, a line is of the first rank's share: no rank waits for others to say something
            mine = torch.tensor([float(self._loss), self._targets], device=pl_module.device)
            self._loss, self._targets = cast("torch.Tensor", trainer.strategy.reduce(mine, reduce_op="sum")).tolist()
        scores = {name: float(value) for name, value in trainer.progress_bar_metrics.items() if name.startswith("dev/")}
        self._say(trainer, f"epoch {trainer.current_epoch + 1}{_of(trainer.max_epochs)}", scores)

    def _say(self, trainer: pl.Trainer, place: str, scores: dict[str, float]) -> None:
        parts = [place]
        if self._targets:
            parts.append(f"loss {float(self._loss) / self._targets:.4f}")
        parts += [f"{name} {value:.3f}" for name, value in scores.items()]
        seconds, made = time.monotonic() - self._begun, _done(trainer) - self._first
        parts.append(f"{duration(seconds)} so far")
        left = _all(trainer) - _done(trainer)
        if made > 0 and 0 < left < float("inf"):
            parts.append(f"about {duration(seconds / made * left)} left")
        self._said = time.monotonic()
        if trainer.is_global_zero:
            _LOG.info(", ".join(parts))

    def _due(self) -> bool:
        return time.monotonic() - self._said >= self.every

    def _start(self) -> None:
        self._begun = self._said = time.monotonic()

    def _evaluated(self, trainer: pl.Trainer, what: str, batch_idx: int, batches: list[int | float]) -> None:
        total = sum(batches)
        done = batch_idx + 1
        if self._due() and done < total and trainer.is_global_zero:
            self._said = time.monotonic()
            seconds = self._said - self._begun
            left = f", about {duration(seconds / done * (total - done))} left" if total < float("inf") else ""
            _LOG.info(f"{what}: batch {done:,}{_of(total)}, {duration(seconds)} so far{left}")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if trainer.state.fn == "validate":
            self._start()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._start()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._start()

    def on_validation_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.state.fn == "validate":
            self._evaluated(trainer, "validate", batch_idx, list(trainer.num_val_batches))

    def on_test_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._evaluated(trainer, "test", batch_idx, list(trainer.num_test_batches))

    def on_predict_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._evaluated(trainer, "predict", batch_idx, list(trainer.num_predict_batches))


class ProgressBar(_GenerationLines, RichProgressBar):
    """Lightning's bar with names that fit into a line, ``loss``, ``entities/strict_f1``; and lines of completions, which no bar counts."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands behind the bar."""
        shown = super().get_metrics(trainer, pl_module)
        return {name.removeprefix("train/").removeprefix("dev/"): value for name, value in shown.items() if name != "v_num"}


def _of(total: float | None) -> str:
    return f"/{int(total):,}" if total is not None and 0 <= total < float("inf") else ""


def _done(trainer: pl.Trainer) -> int:
    """Optimizer steps so far."""
    return trainer.global_step


def _all(trainer: pl.Trainer) -> float:
    """Optimizer steps of the whole run; infinite where nothing bounds it."""
    return float(trainer.estimated_stepping_batches)
