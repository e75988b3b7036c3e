"""The best and the last state of a run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from clinical_ie.callbacks.metrics import monitored
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.strategies.checkpoint_names import BEST, LAST


def _default_monitor(trainer: pl.Trainer) -> str | None:
    """The score of what the task of the data finds, where the data are ours."""
    data = getattr(trainer, "datamodule", None)
    return monitored(data.task.finds) if isinstance(data, ExtractionDataModule) else None


class Checkpoints(ModelCheckpoint):
    """``checkpoints/best.ckpt`` by a development score and ``checkpoints/last.ckpt`` after each epoch.

    Where a corpus has no development part, the best is the last.

    Args:
        run_dir: The run's folder.
        monitor: The score; when None, strict F1 of what the task finds (``dev/entities/strict_f1`` or ``dev/links/strict_f1``).
        mode: Whether more or less of it is better.
    """

    def __init__(self, run_dir: str | None = None, monitor: str | None = None, mode: str = "max") -> None:
        super().__init__(
            dirpath=str(Path(run_dir) / "checkpoints") if run_dir else None,
            filename=BEST.removesuffix(".ckpt"),
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            save_last=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self._chosen = False

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best score of a run whose folder was moved or copied, or that goes on in another folder."""
        here = {
            name: str(Path(str(self.dirpath), Path(value).name)) if value else value
            for name, value in state_dict.items()
            if name in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        scores = {str(Path(str(self.dirpath), Path(path).name)): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **here, "best_k_models": scores, "dirpath": self.dirpath})

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Bring the best state along where a run goes on in another folder."""
        best = Path(str(self.dirpath), BEST)
        before = Path(str(trainer.ckpt_path)).with_name(BEST)
        if trainer.state.fn == "fit" and trainer.is_global_zero and before.is_file() and not best.exists():
            best.parent.mkdir(parents=True, exist_ok=True)
            _placed(before, best)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: D102
        data = getattr(trainer, "datamodule", None)
        if not self._chosen:
            self.monitor = self.monitor or _default_monitor(trainer)
        if stage == "fit":
            self._chosen = True  # what follows a fit in the same process finds this callback's state by the same name
            if trainer.limit_val_batches == 0 or (isinstance(data, ExtractionDataModule) and not data.examples.get("dev")):
                self.monitor = None
        super().setup(trainer, pl_module, stage)

    def _save_last_checkpoint(self, trainer: pl.Trainer, monitor_candidates: dict[str, torch.Tensor]) -> None:
        """The best of this very step is the last too: one file under two names instead of the same bytes written twice.

        Checkpoints are replaced, never written into, so a later one leaves the other name's file alone.
        """
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        best, last = Path(str(self.dirpath), BEST), Path(str(self.dirpath), LAST)
        if self._last_global_step_saved != trainer.global_step or Path(self._last_checkpoint_saved).name != BEST:
            super()._save_last_checkpoint(trainer, monitor_candidates)
        elif trainer.is_global_zero:
            _placed(best, last)
        trainer.strategy.barrier()

    def on_train_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        last_of_all = trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        if last_of_all or trainer.global_step == trainer.max_steps:
            trainer.should_stop = True
        if trainer.should_stop:  # the end is validated and saved, wherever in an epoch and in the intervals of validations it comes
            trainer.check_val_every_n_epoch = 1

    def _should_save_on_train_epoch_end(self, trainer: pl.Trainer) -> bool:
        """Where nothing is validated, every epoch is saved, whatever the interval of validations would be."""
        return self.monitor is None or super()._should_save_on_train_epoch_end(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        super().on_validation_end(trainer, pl_module)
        if not self._should_save_on_train_epoch_end(trainer):
            self._keep_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        super().on_train_epoch_end(trainer, pl_module)
        if self._should_save_on_train_epoch_end(trainer):
            self._keep_last(trainer)

    def _keep_last(self, trainer: pl.Trainer) -> None:
        """Lightning writes the last state only when it is also the best; a run must go on from where it was."""
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))


def _placed(file: Path, other: Path) -> None:
    """Copy a file atomically."""
    partial = other.with_name(f".{other.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(file, partial)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, partial)
    partial.replace(other)


class Patience(EarlyStopping):
    """Stops a run whose development score has not risen for a while.

    Args:
        epochs: How many validations without a better score; never when None.
        monitor: The score; when None, that of `Checkpoints`.
        mode: Whether more or less of it is better.
    """

    def __init__(self, epochs: int | None = None, monitor: str | None = None, mode: str = "max") -> None:
        never = 1_000_000
        super().__init__(
            monitor=monitor or "", mode=mode, patience=never if epochs is None else epochs, strict=False, check_on_train_epoch_end=False
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: D102
        self.monitor = self.monitor or _default_monitor(trainer) or ""
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting, with the patience that is set now."""
        super().load_state_dict({**state_dict, "patience": self.patience})
