"""Going on with another number of processes: what is left of an epoch is shared out anew, and the schedule goes on where it was.

A checkpoint counts micro-steps and optimizer steps of the processes that wrote it. Both are brought into those of the processes that go on:
an epoch ends where its plan ends, and the rate falls from where it stood to 0 at the end of training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl

from clinical_ie.errors import SettingError


def share_out_anew(checkpoint: dict[str, Any], state: Mapping[str, Any], trainer: pl.Trainer) -> None:
    """Change the progress in a checkpoint into that of as many processes as there are.

    Args:
        checkpoint: Of another number of processes; changed in place, before Lightning takes up its loops and schedules.
        state: Where in its plan the training is (`clinical_ie.data.sampler.PlanSampler.state_dict`).
        trainer: Of the processes that go on.

    Raises:
        SettingError: An epoch does not end with its plan, or training not with its epochs, so that steps of fewer or more processes
            cannot be compared.
    """
    before, now = checkpoint["run"]["ranks"], trainer.world_size
    changed = f"{before} processes wrote the checkpoint, now there are {now}"
    if trainer.limit_train_batches not in (1.0, None):
        raise SettingError(
            f"{changed}, and trainer.limit_train_batches is {trainer.limit_train_batches}: an epoch of other processes would end elsewhere;"
            " go on with as many devices as before"
        )
    if trainer.max_steps >= 0:
        raise SettingError(
            f"{changed}, and trainer.max_steps is {trainer.max_steps}: steps of other processes teach more or less; go on with as many"
            " devices as before, or end the run by trainer.max_epochs"
        )
    fit = checkpoint["loops"]["fit_loop"]
    micro_steps, accumulated = -(-state["batches"] // now), trainer.accumulate_grad_batches
    finished = state["batches_done"] >= state["batches"] or fit["epoch_progress"]["current"]["processed"] > state["epoch"]
    done = micro_steps if finished else micro_steps - -(-(state["batches"] - state["batches_done"]) // now)
    current = fit["epoch_loop.batch_progress"]["current"]
    open_ended = current["ready"] - current["completed"]
    current.update(ready=done, started=done, processed=done, completed=done - open_ended)
    steps = state["epoch"] * -(-micro_steps // accumulated) + (-(-micro_steps // accumulated) if finished else done // accumulated)
    for scheduler in checkpoint["lr_schedulers"]:
        scheduler["last_epoch"] = steps
