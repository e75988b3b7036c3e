"""Signals in the middle of a run: for this process, and for one rank of several."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from clinical_ie.callbacks.interruption import SafeInterruption


@contextmanager
def signal_at(number: int, step: int | None = None, hook: str = "on_train_batch_end") -> Iterator[list[int]]:
    """This process gets a signal in a hook of `SafeInterruption`, before that acts, at one step or each time; the steps where it did."""
    original = getattr(SafeInterruption, hook)
    sent: list[int] = []

    def hooked(self: SafeInterruption, trainer: pl.Trainer, *rest: Any) -> None:
        if step is None or trainer.global_step == step:
            os.kill(os.getpid(), number)
            sent.append(trainer.global_step)
        original(self, trainer, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SafeInterruption, hook, hooked)
        yield sent


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
