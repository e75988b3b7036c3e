"""Stopping anywhere and going on as if nothing had happened."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from clinical_ie.strategies.checkpoint_names import LAST


class SafeInterruption(pl.Callback):
    """On the first SIGINT or SIGTERM, finishes the step, saves ``last.ckpt`` and stops; on the second, stops at once.

    The handler only sets a flag. Ranks agree on it at the end of a batch, so none saves while another is in a
    collective operation of the next step (what makes Lightning's own handler deadlock, issue #21406).

    Args:
        run_dir: The run's folder.
    """

    def __init__(self, run_dir: str | None = None) -> None:
        self.run_dir = run_dir
        self._signal = 0
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if self.run_dir is not None and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal:
            raise KeyboardInterrupt
        self._signal = number

    def on_train_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop = trainer.fit_loop
        if loop._should_accumulate() or loop.epoch_loop.batch_progress.is_last_batch:
            return  # gradients that wait for more batches would be lost, and so would the epoch's validation
        if self.run_dir is not None and self._is_requested(trainer, pl_module):
            trainer.save_checkpoint(Path(self.run_dir) / "checkpoints" / LAST)
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if self.run_dir is not None and trainer.current_epoch and self._is_requested(trainer, pl_module):
            self._stop(trainer)  # the epoch before has been scored and saved

    def _is_requested(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
        """Whether any rank got a signal."""
        requested = torch.tensor(float(self._signal != 0), device=pl_module.device)
        return bool(trainer.strategy.reduce(requested, reduce_op="sum") > 0)

    def _stop(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            path = Path(str(self.run_dir)) / "checkpoints" / LAST
            print(f"\nStopped at step {trainer.global_step}. Go on with --ckpt_path {path}", flush=True)
        raise KeyboardInterrupt

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: D102
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()


class RandomState(pl.Callback):
    """Puts random states into checkpoints, so that a resumed run draws the dropout masks that an uninterrupted one draws.

    One rank's state is kept; with several, each adds its rank to the seed that it goes on with.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        version, numbers, gauss = random.getstate()
        kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
        state: dict[str, Any] = {
            "torch": torch.get_rng_state(),
            "python": [version, list(numbers), gauss],
            "numpy": [str(kind), torch.from_numpy(np.asarray(keys, dtype=np.int64)), int(position), int(has_gauss), float(cached)],
        }
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state_all()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # noqa: D102
        self._loaded = state_dict

    def on_train_batch_start(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._loaded is None:
            return
        state, self._loaded = self._loaded, None
        torch.set_rng_state(state["torch"])
        version, numbers, gauss = state["python"]
        random.setstate((version, tuple(numbers), gauss))
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
        if "cuda" in state and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])
        if trainer.world_size > 1:
            torch.manual_seed(torch.initial_seed() + trainer.global_step * trainer.world_size + trainer.global_rank)
