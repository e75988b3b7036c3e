"""What ranks decide together, so that none enters a collective operation alone."""

from __future__ import annotations

import lightning.pytorch as pl
import torch


def any_rank(trainer: pl.Trainer, wish: bool) -> bool:
    """Whether any rank wishes it; every rank must ask."""
    if trainer.world_size == 1:
        return wish
    wishes = torch.tensor(float(wish), device=trainer.strategy.root_device)
    return bool(trainer.strategy.reduce(wishes, reduce_op="sum") > 0)
