"""How fast training is, in sub-words that mean something."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
import torch


class Throughput(pl.Callback):
    """Logs real (unpadded) sub-words per second and the share of padding, over all ranks' steps since the last log.

    Validation and checkpoints do not count.
    """

    def __init__(self) -> None:
        self._real = self._slots = 0
        self._seconds = 0.0
        self._begun: float | None = None
        self.total_real = 0
        self.total_seconds = 0.0
        self._earlier = 0
        self.all_ranks_real = 0

    def _tick(self, *, going_on: bool) -> None:
        """Add the time since the last tick, if the clock was running."""
        now = time.perf_counter()
        if self._begun is not None:
            self._seconds += now - self._begun
            self.total_seconds += now - self._begun
        self._begun = now if going_on else None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._tick(going_on=True)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._tick(going_on=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._tick(going_on=False)

    def on_train_batch_start(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._begun is None:  # after a validation or a checkpoint
            self._begun = time.perf_counter()

    def _count(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add up the ranks; every rank must get here."""
        real = torch.tensor(self.total_real, device=pl_module.device)
        self.all_ranks_real = self._earlier + int(trainer.strategy.reduce(real, reduce_op="sum"))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._count(trainer, pl_module)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: D102
        self._tick(going_on=False)
        self._count(trainer, pl_module)
        checkpoint["throughput"] = {"real": self.all_ranks_real, "seconds": self.total_seconds}

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: D102
        if trainer.state.fn == "fit":
            self.all_ranks_real = self._earlier = checkpoint["throughput"]["real"]
            self.total_seconds = checkpoint["throughput"]["seconds"]

    def on_train_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._tick(going_on=True)
        real, slots = batch["subwords"], batch["attention_mask"].numel()
        self._real, self._slots, self.total_real = self._real + real, self._slots + slots, self.total_real + real
        if trainer.global_step % max(1, trainer.log_every_n_steps) == 0:  # type: ignore[attr-defined]
            sums: Any = (self._real, self._slots)
            if trainer.world_size > 1:
                sums = trainer.strategy.reduce(torch.tensor(sums, device=pl_module.device), reduce_op="sum")
            pl_module.log("train/tokens_per_second", sums[0] / max(self._seconds, 1e-9))
            pl_module.log("train/padding_share", 1 - sums[0] / sums[1])
            self._real = self._slots = 0
            self._seconds = 0.0
