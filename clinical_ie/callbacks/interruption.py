"""Stopping anywhere and going on as if nothing had happened."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, NoReturn

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from clinical_ie.callbacks.agreement import any_rank
from clinical_ie.callbacks.checkpoints import Checkpoints
from clinical_ie.errors import Stopped
from clinical_ie.strategies.slurm_job import requeue
from clinical_ie.strategies.stop_signals import SIGNALS, name_of


class SafeInterruption(Checkpoint):
    """On a signal, finishes the step, saves ``last.ckpt`` and stops; in a validation or test it stops at the end of the batch.

    The state before a validation has been saved when the validation begins, so that a run goes on with that validation. A second Ctrl-C
    stops at once.

    The handler only sets a flag. Ranks agree on it at the end of a batch, so none saves while another is in a
    collective operation of the next step (what makes Lightning's own handler deadlock, issue #21406).

    It counts as a checkpoint, so that Lightning calls it behind `Checkpoints`, which knows what is due after a step and has saved what is.
    With the signals ranks agree on whether it is time to save (`Checkpoints.late`).

    A job of SLURM goes back into the queue, unless the signal was Ctrl-C.

    Args:
        run_dir: The run's folder; signals are not listened to without it.
    """

    def __init__(self, run_dir: str | None = None) -> None:
        self.run_dir = run_dir
        self._signal = 0
        self._previous: dict[int, Any] = {}

    def _listen(self) -> None:
        """Take the signals from whoever has them: Lightning sets handlers of its own right before a loop begins."""
        if self.run_dir is not None and threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if handler != self._note:
                    self._previous[number] = handler
                    signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal and number == signal.SIGINT:
            raise Stopped("stopped at once")
        self._signal = self._signal or number

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._listen()

    on_test_start = on_predict_start = on_train_start

    def on_train_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        checkpoints = next(one for one in trainer.checkpoint_callbacks if isinstance(one, Checkpoints))  # others may be there, too
        if not checkpoints.between_steps(trainer):
            return
        late, requested = any_rank(trainer, checkpoints.late, self._signal != 0)
        if late or requested:
            checkpoints.keep(trainer)
        if requested:
            pl_module.on_train_batch_end(outputs, batch, batch_idx)  # which Lightning calls, and logs the step, behind this hook
            trainer._logger_connector.update_train_step_metrics()
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if trainer.current_epoch and self._is_requested(trainer):
            self._stop(trainer)  # the epoch before has been scored and saved

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._listen()
        if self._is_requested(trainer):
            self._stop(trainer)

    def on_validation_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._is_requested(trainer):
            self._stop(trainer)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def _is_requested(self, trainer: pl.Trainer) -> bool:
        """Whether any rank got a signal; every rank must ask."""
        return self.run_dir is not None and any_rank(trainer, self._signal != 0)[0]

    def _stop(self, trainer: pl.Trainer) -> NoReturn:
        launcher = trainer.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.procs.clear()  # they stop by themselves; whoever watches them would take that for a crash and kill this process
        command = trainer.state.fn
        where = f"at step {trainer.global_step}" if command in (None, "fit") else f"in {command.value}"
        for logger in trainer.loggers:
            logger.finalize("stopped")  # once the job is requeued, SLURM ends this process at any moment
        trainer.strategy.barrier("saved")
        if trainer.is_global_zero and self._signal != signal.SIGINT:
            requeue(where)
        trainer.strategy.barrier("requeued")  # srun may end the first rank when another has ended
        raise Stopped(f"stopped by {name_of(self._signal) if self._signal else 'a signal to another rank'} {where}")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: D102
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)
        self._previous.clear()
