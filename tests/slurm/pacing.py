"""A run that takes its time, so that something can happen to its nodes meanwhile."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl


class Paced(pl.Callback):
    """Waits after each batch.

    Args:
        seconds: How long.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, *_: Any) -> None:
        time.sleep(self.seconds)
