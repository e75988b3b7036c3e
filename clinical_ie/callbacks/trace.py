"""What each rank is doing, written as it happens, so that a hang can be read: ``clinical-ie doctor --trace RUN_DIR``. JSON lines.

===============  ====================================================================================================
event            with
===============  ====================================================================================================
start            command, rank, world_size, host, pid; the process group stands by then
start            with collectives and batches so far, too: the same start goes on in another file
batch            epoch, batch, step: a training batch begins
backward         the backward pass begins, in which DDP averages gradients (by itself: its collectives are not seen)
backward_end
collective       op, n: the rank enters its n-th collective operation
collective_end   op, n, seconds: it has come out
evaluation       part: a pass over development or test documents begins
evaluation_batch part, batch
evaluation_end   part
save             step: a checkpoint is put together
batch_end        epoch, batch, step
exception        type
end
===============  ====================================================================================================

Every line has ``time`` (wall clock, to compare hosts) and ``monotonic`` (to measure on one). Nothing of any note is in it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from clinical_ie.callbacks.trace_events import BATCHES, FOLDER

COLLECTIVES = (
    "all_reduce", "reduce", "broadcast", "barrier", "monitored_barrier", "all_gather", "all_gather_into_tensor", "all_gather_single",
    "all_gather_object", "broadcast_object_list", "gather", "gather_object", "scatter", "reduce_scatter", "reduce_scatter_tensor",
    "reduce_scatter_single", "all_to_all", "all_to_all_single",
)  # fmt: skip
"""Functions of `torch.distributed` that are watched, where this torch has them; Lightning, DeepSpeed, FSDP2 and we call these."""
LARGEST = 16 * 1024 * 1024
"""Bytes of a file; the one before is kept beside it, so a rank's trace never takes more than twice that."""


class RankTrace:
    """The file of one rank.

    Args:
        path: Added to, where a run goes on.
        start: What every file begins with.
        largest: Bytes after which a new file is begun.
    """

    def __init__(self, path: Path, start: Mapping[str, str | int], largest: int = LARGEST) -> None:
        self.path, self.largest, self._start = path, largest, dict(start)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: int | None = None
        self._written = 0
        self._entered = self._batches = 0
        self._depth = threading.local()
        self._lock = threading.Lock()
        self._open()

    def _open(self, **so_far: int) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._written = os.fstat(self._file).st_size
        self._write(_line("start", **self._start, **so_far))

    def __call__(self, event: str, **values: str | int | float | None) -> None:
        """Write a line, without a buffer in which a hang could leave it."""
        line = _line(event, **values)
        with self._lock:
            if self._written > self.largest and self._file is not None:
                os.close(self._file)
                self.path.replace(self.path.with_suffix(".1.jsonl"))
                self._open(collectives=self._entered, batches=self._batches)
            self._batches += event in BATCHES
            self._write(line)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            return
        try:
            self._written += os.write(self._file, line)
        except OSError:  # a full disk: a run does not end for want of a trace
            self._file = None

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A collective operation that tells when it is entered and when it is left; not of those that it calls in turn."""

        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            if getattr(self._depth, "inside", False):
                return function(*given, **named)
            self._entered += 1
            number, begun = self._entered, time.monotonic()
            self("collective", op=name, n=number)
            self._depth.inside = True
            try:
                result = function(*given, **named)
            finally:
                self._depth.inside = False
            self("collective_end", op=name, n=number, seconds=round(time.monotonic() - begun, 6))
            return result

        return call


def _line(event: str, **values: Any) -> bytes:
    return (json.dumps({"time": round(time.time(), 3), "monotonic": round(time.monotonic(), 6), "event": event, **values}) + "\n").encode()


class Trace(pl.Callback):
    """Writes ``RUN_DIR/trace/rank_N.jsonl``.

    On by default where there are several ranks: one rank waits for nobody, and a hang of several leaves nothing else behind.

    Args:
        run_dir: The run's folder; nothing is written without it.
        enabled: Whether to write; by default in runs of several ranks.
    """

    def __init__(self, run_dir: str | None = None, enabled: bool | None = None) -> None:
        self.run_dir, self.enabled = run_dir, enabled
        self._trace: RankTrace | None = None
        self._before: dict[str, Callable[..., Any]] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: D102
        wanted = trainer.world_size > 1 if self.enabled is None else self.enabled
        if self._trace is not None or self.run_dir is None or not wanted or getattr(trainer, "fast_dev_run", False):
            return
        path = Path(self.run_dir) / FOLDER / f"rank_{trainer.global_rank}.jsonl"
        start: dict[str, str | int] = {
            "command": stage,
            "rank": trainer.global_rank,
            "world_size": trainer.world_size,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        with contextlib.suppress(OSError):  # a folder that only others may write to, as of a run that is only scored
            self._trace = RankTrace(path, start)
            self._watch(self._trace)

    def _watch(self, trace: RankTrace) -> None:
        if trace is not None and torch.distributed.is_available():
            for name in COLLECTIVES:
                if (function := getattr(torch.distributed, name, None)) is not None:
                    self._before[name] = function
                    setattr(torch.distributed, name, trace.watched(name, function))

    def _say(self, event: str, **values: str | int | float | None) -> None:
        if self._trace is not None:
            self._trace(event, **values)

    def on_train_batch_start(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._say("batch", epoch=trainer.current_epoch, batch=batch_idx, step=trainer.global_step)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:  # noqa: D102
        self._say("backward")

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._say("backward_end")

    def on_train_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._say("batch_end", epoch=trainer.current_epoch, batch=batch_idx, step=trainer.global_step)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: D102
        self._say("save", step=trainer.global_step)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._say("evaluation", part="dev")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._say("evaluation", part="test")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._say("evaluation", part="predict")

    def on_validation_batch_start(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._say("evaluation_batch", part="dev", batch=batch_idx)

    def on_test_batch_start(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._say("evaluation_batch", part="test", batch=batch_idx)

    def on_predict_batch_start(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._say("evaluation_batch", part="predict", batch=batch_idx)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._say("evaluation_end", part="dev")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._say("evaluation_end", part="test")

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._say("evaluation_end", part="predict")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:  # noqa: D102
        self._say("exception", type=type(exception).__name__)
        self._finish()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: D102
        self._say("end")
        self._finish()

    def _finish(self) -> None:
        for name, function in self._before.items():
            setattr(torch.distributed, name, function)
        self._before.clear()
        if self._trace is not None:
            self._trace.close()
        self._trace = None
