"""The best and the last state of a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from safetensors import SafetensorError

from clinical_ie.callbacks.metrics import monitored
from clinical_ie.callbacks.model_folder import folder_name, remove_folders, write_folder
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.errors import InputError, RunError
from clinical_ie.strategies.checkpoint import Checkpoint
from clinical_ie.strategies.checkpoint_names import BEST, LAST


def _default_monitor(trainer: pl.Trainer) -> str | None:
    """The score of what the tasks of the data find, where the data are ours."""
    data = getattr(trainer, "datamodule", None)
    return monitored(task.finds for task in data.tasks.values()) if isinstance(data, ExtractionDataModule) else None


class Checkpoints(ModelCheckpoint):
    """``checkpoints/best.ckpt`` by a development score, and ``checkpoints/last.ckpt``, from which a run goes on.

    The last state is written before each validation and after it, at the end of an epoch without one, and in the meantime every so many
    minutes. What was written before a validation says that the validation is still to come: a run goes on with it.
    Where a corpus has no development part, the best is the last.
    Beside the best of a generator lies the same as a folder for PEFT (``adapter/``) or transformers (``model/``).

    Args:
        run_dir: The run's folder.
        monitor: The score; when None, strict F1 of what the tasks find: ``dev/entities/strict_f1`` or ``dev/links/strict_f1``, and
            ``dev/strict_f1`` where some find the one and some the other.
        mode: Whether more or less of it is better.
        every_minutes: The most training, in minutes, that a killed process loses; None for up to an epoch. `SafeInterruption`, with
            which ranks agree on it, does this saving.
        model_folder: Whether to write that folder. It takes a third of a checkpoint, which has the optimizer's states, too.
    """

    def __init__(
        self,
        run_dir: str | None = None,
        monitor: str | None = None,
        mode: str = "max",
        every_minutes: float | None = 30.0,
        model_folder: bool = True,
    ) -> None:
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
        self.every_minutes, self.model_folder = every_minutes, model_folder
        self._chosen = False
        self._written = time.monotonic()
        self._kept = -1
        """The step whose state, with nothing due, is in the last checkpoint."""
        self._due: dict[str, torch.Tensor] | None = None
        """What had been logged when the validation began that is under way or still to come; None where there is none."""
        self._put_off = False
        self._end: tuple[int, bool] | None = None

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return {**super().state_dict(), "validation_due": self._due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best score of a run whose folder was moved or copied, or that goes on in another folder."""
        here = {
            name: str(Path(str(self.dirpath), Path(value).name)) if value else value
            for name, value in state_dict.items()
            if name in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        scores = {str(Path(str(self.dirpath), Path(path).name)): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **here, "best_k_models": scores, "dirpath": self.dirpath})
        self.current_score = state_dict["current_score"]  # Lightning would have none until a score is the best again
        self._due = state_dict["validation_due"]

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Bring the best and the last state along where a run goes on in another folder."""
        if trainer.state.fn != "fit":
            return
        self._kept = checkpoint["global_step"]
        came_from = Path(str(trainer.ckpt_path))
        for before, here in ((Checkpoint(came_from.with_name(BEST)), self._path(BEST)), (Checkpoint(came_from), self._path(LAST))):
            if trainer.is_global_zero and before.exists and not here.exists():
                here.parent.mkdir(parents=True, exist_ok=True)
                before.put(here)

    def _path(self, name: str) -> Path:
        return Path(str(self.dirpath), name)

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
        """The best of this very step is the last too: a file gets a second name instead of being written twice."""
        if trainer.fast_dev_run or not self._resumable(trainer):  # type: ignore[attr-defined]
            return
        if self._last_global_step_saved != trainer.global_step or Path(self._last_checkpoint_saved).name != BEST:
            super()._save_last_checkpoint(trainer, monitor_candidates)
        elif trainer.is_global_zero:
            Checkpoint(self._path(BEST)).put(self._path(LAST))
        trainer.strategy.barrier()
        self._written, self._kept = time.monotonic(), trainer.global_step

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        """Of the best state a folder is written, too; one that is there belongs to the best checkpoint at any time."""
        is_best = Path(filepath) == self._path(BEST)
        if is_best and trainer.is_global_zero:
            remove_folders(Path(filepath).parent)
        super()._save_checkpoint(trainer, filepath)
        if is_best:
            self._write_folder(trainer)

    def _write_folder(self, trainer: pl.Trainer) -> None:
        """The best state as a Hugging Face folder; every rank must call it.

        Raises:
            RunError: It cannot be written; on all ranks.
        """
        module: Any = trainer.lightning_module
        if not self.model_folder or folder_name(module) is None:
            return
        failure: Exception | None = None
        if trainer.is_global_zero:
            try:
                write_folder(module, Checkpoint(self._path(BEST)))
            except (InputError, RunError, OSError, SafetensorError) as error:
                failure = error
        if trainer.strategy.broadcast(failure is not None):
            raise RunError(f"{self._path(BEST).parent}: the folder of the best model cannot be written") from failure

    def keep(self, trainer: pl.Trainer) -> None:
        """Write the last state as it is now; every rank must call it."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(self._path(LAST), weights_only=False)
        self._written = time.monotonic()
        self._kept = trainer.global_step if self._due is None else -1

    @property
    def late(self) -> bool:
        """Whether it is time, on this rank, to save between two validations."""
        return self.every_minutes is not None and time.monotonic() - self._written >= 60 * self.every_minutes

    def between_steps(self, trainer: pl.Trainer) -> bool:
        """Whether nothing is due after this batch: no gradients that wait for more batches, no validation, no end of an epoch or a run.

        Only then is the state after a batch one from which a run goes on exactly.
        """
        loop = trainer.fit_loop
        ends = loop.epoch_loop.batch_progress.is_last_batch or (trainer.should_stop and loop._can_stop_early)
        return not (loop._should_accumulate() or ends or self._validates(trainer))

    def _validates(self, trainer: pl.Trainer) -> bool:
        """Whether a validation follows this batch."""
        fetcher = trainer.fit_loop._data_fetcher
        return self.monitor is not None and fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let a run begin that is at its end but for a validation; Lightning would find nothing to do."""
        if self._due is not None:
            loop = trainer.fit_loop.epoch_loop
            self._end = loop.max_steps, trainer.should_stop
            loop.max_steps += loop.max_steps != -1
            trainer.should_stop = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make up for a validation that was interrupted; begin where the checkpoint says, for which Lightning's loops need help."""
        super().on_train_start(trainer, pl_module)
        name = folder_name(pl_module)
        if trainer.strategy.broadcast(name is not None and self._path(BEST).exists() and not self._path(name).exists()):
            self._write_folder(trainer)  # of a run that was moved here, or ended between the two
        self._written = time.monotonic()
        loop = trainer.fit_loop
        if self._end is not None:
            loop.epoch_loop.max_steps, trainer.should_stop = self._end
            self._end = None
        if self._due is not None:
            self._make_up(trainer)
        if loop.restarted_on_epoch_end:  # only runs that end by steps get here; they would take one more batch for the epoch that is over
            loop.epoch_progress.increment_completed()
            loop._restarting = loop.epoch_loop.restarting = False
            loop.reset_restart_stage()
        elif loop.restarting and loop.epoch_loop._is_training_done and not self._validates(trainer):
            loop.epoch_loop.val_loop._has_run = True  # or they would look for one more batch where the end alone asked for a validation

    def _make_up(self, trainer: pl.Trainer) -> None:
        """Validate as Lightning's loop would have done it."""
        loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
        connector._callback_metrics.update(self._due or {})
        first = connector._first_loop_iter
        trainer.validating = True
        loop.val_loop.restarting = False
        loop.val_loop.run()
        trainer.training = True
        connector._first_loop_iter = first
        loop.val_loop._has_run = False  # from here on as from a checkpoint written after the validation

    def on_train_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._settle_the_end(trainer)

    def _settle_the_end(self, trainer: pl.Trainer) -> None:
        """See to it that the end is validated and saved, wherever in an epoch and in the intervals of validations it comes."""
        if (trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs) or trainer.global_step == trainer.max_steps:
            trainer.should_stop = True
        trainer.should_stop = trainer.should_stop or self._put_off
        self._put_off = trainer.should_stop and trainer.fit_loop._should_accumulate()
        if self._put_off:  # time is up between two steps; what was computed since the last one would be lost
            trainer.should_stop = False
        if trainer.should_stop and trainer.fit_loop._can_stop_early:
            trainer.check_val_every_n_epoch = 1

    def _should_save_on_train_epoch_end(self, trainer: pl.Trainer) -> bool:
        """After every validation, or, where nothing is validated, after every epoch, whatever the interval of validations would be."""
        return self.monitor is None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what the validation is of, where that is a state to go on from."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self._due is None and self._resumable(trainer):
            self._due = {name: value.detach().cpu() for name, value in trainer.callback_metrics.items()}
            self.keep(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._due = None
        super().on_validation_end(trainer, pl_module)
        if not self._should_save_on_train_epoch_end(trainer):
            self._keep_last(trainer)

    def _resumable(self, trainer: pl.Trainer) -> bool:
        """Whether no gradients wait for more batches, or none will come."""
        return trainer.should_stop or not trainer.fit_loop._should_accumulate()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        super().on_train_epoch_end(trainer, pl_module)
        if self._should_save_on_train_epoch_end(trainer):
            self._keep_last(trainer)
        elif self._kept != trainer.global_step:  # an epoch without a validation
            self.keep(trainer)
        trainer.fit_loop.epoch_loop.restarting = False  # the next epoch begins at its beginning, even where nothing of this one was left
        trainer.fit_loop.epoch_loop.on_iteration_done()

    def _keep_last(self, trainer: pl.Trainer) -> None:
        """Lightning writes the last state only when it is also the best; a run must go on from where it was."""
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))


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
