"""What ranks decide together, so that none enters a collective operation alone."""

from __future__ import annotations

import lightning.pytorch as pl
import torch


def any_rank(trainer: pl.Trainer, *wishes: bool) -> list[bool]:
    """For each wish whether any rank has it, in one collective operation; every rank must ask for the same wishes."""
    if trainer.world_size == 1:
        return list(wishes)
    counts = torch.tensor(wishes, dtype=torch.float, device=trainer.strategy.root_device)
    return [count > 0 for count in trainer.strategy.reduce(counts, reduce_op="sum").tolist()]
