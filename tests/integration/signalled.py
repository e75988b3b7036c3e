"""A callback that sends its own process a signal, for runs in processes of their own."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl


class Signalled(pl.Callback):
    """As a setting it is the same for a run that is stopped and one that is not.

    Args:
        file: ``RANK STEP train`` or ``RANK STEP validation``: who is stopped, and when. It is used up; nothing happens without it.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def _send(self, trainer: pl.Trainer, where: str) -> None:
        wanted = f"{trainer.global_rank} {trainer.global_step} {where}"
        try:
            asked = self.file.read_text(encoding="utf-8")
        except FileNotFoundError:  # another rank may use it up at this very moment
            return
        if asked == wanted:
            self.file.unlink()
            os.kill(os.getpid(), signal.SIGTERM)

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        self._send(trainer, "train")

    def on_validation_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        self._send(trainer, "validation")
