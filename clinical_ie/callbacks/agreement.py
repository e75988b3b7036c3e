"""What ranks decide together, so that none enters a collective operation alone."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import torch

from clinical_ie.errors import RunError


def any_rank(trainer: pl.Trainer, *wishes: bool) -> list[bool]:
    """For each wish whether any rank has it, in one collective operation; every rank must ask for the same wishes."""
    if trainer.world_size == 1:
        return list(wishes)
    counts = torch.tensor(wishes, dtype=torch.float, device=trainer.strategy.root_device)
    return [count > 0 for count in trainer.strategy.reduce(counts, reduce_op="sum").tolist()]


def check_same_beginning(trainer: pl.Trainer) -> None:
    """Make sure that all ranks begin with the same state: each looks for it by itself, and a network file system may show it late to some.

    Raises:
        RunError: On every rank, where they do not.
    """
    if trainer.world_size == 1:
        return
    name = trainer.ckpt_path
    at = Path(name).stat() if name and Path(name).exists() else None
    mine = f"{name or 'nothing'}{f' ({at.st_size} bytes, {at.st_mtime_ns})' if at else ''}"
    found: list[str] = [mine] * trainer.world_size
    torch.distributed.all_gather_object(found, mine)
    if other := next((rank for rank, one in enumerate(found) if one != found[0]), None):
        raise RunError(
            f"rank 0 would go on from {found[0]}, but rank {other} from {found[other]}; the run's folder has to be on a file system that"
            " all nodes share, and may need a minute after the job before: start it again"
        )
