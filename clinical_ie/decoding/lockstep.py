"""Ranks that generate side by side while weights are spread over them, so that every forward pass needs all of them.

A rank with fewer or shorter answers would leave the others waiting for its part of the weights. So all make the same passes: before each
they agree on its kind, and one that has nothing to read reads one token for nothing.

Reference: DeepSpeed issue 5635, what ``synced_gpus`` is for in transformers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.distributed.tensor import DTensor

Idle = Callable[[bool], None]


class Lockstep:
    """Nothing at all where a rank has all weights; else a count of who wants which pass.

    Args:
        model: What is generated with.
        idle: Makes a pass for nothing; told whether it is one that begins rows, virtual tokens included.
    """

    def __init__(self, model: nn.Module, idle: Idle) -> None:
        self._idle = idle
        self._together = spread(model)
        self._device = next(model.parameters()).device

    def before(self, *, opening: bool) -> None:
        """Before every pass of this rank: passes that begin rows are made first, by all."""
        while self._together:
            openings, _ = self._wanted(opening=opening, going_on=not opening)
            if opening or not openings:
                return
            self._idle(True)

    def finish(self) -> None:
        """Make the passes that others still need."""
        while self._together:
            openings, others = self._wanted(opening=False, going_on=False)
            if not openings and not others:
                return
            self._idle(bool(openings))

    def _wanted(self, *, opening: bool, going_on: bool) -> tuple[int, int]:
        counts = torch.tensor([int(opening), int(going_on)], device=self._device)
        torch.distributed.all_reduce(counts)
        return int(counts[0]), int(counts[1])


def spread(model: nn.Module) -> bool:
    """Whether a model's weights lie on several ranks, as FSDP2 and ZeRO-3 leave them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1):
        return False
    return any(isinstance(parameter, DTensor) or hasattr(parameter, "ds_id") for parameter in model.parameters())
