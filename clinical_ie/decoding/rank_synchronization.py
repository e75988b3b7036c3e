"""Synchronised generation on ranks with sharded weights (FSDP2, ZeRO-3), where every forward pass needs all ranks.

A rank with fewer or shorter completions would leave the others waiting for its shards. So all ranks make the same number of forward
passes of each kind: before each they agree on its kind, and a rank without work makes a dummy forward pass of one token.

Reference: DeepSpeed issue 5635; ``synced_gpus`` of transformers' ``generate``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.distributed.tensor import DTensor

DummyForward = Callable[[bool], None]


class RankSynchronizer:
    """Agrees with the other ranks on the next forward pass; does nothing where a rank has all weights.

    Args:
        model: The model that generates.
        dummy_forward: Makes a dummy forward pass; its argument says whether it is the prefill of a shared prefix, virtual tokens included.
    """

    def __init__(self, model: nn.Module, dummy_forward: DummyForward) -> None:
        self._dummy_forward = dummy_forward
        self._synced = is_sharded(model)
        self._device = next(model.parameters()).device

    def before_forward(self, *, is_prefix: bool) -> None:
        """Call before every forward pass of this rank. Prefills of prefixes are made first, by all ranks."""
        while self._synced:
            prefixes, _ = self._wanted(prefix=is_prefix, step=not is_prefix)
            if is_prefix or not prefixes:
                return
            self._dummy_forward(True)

    def finish(self) -> None:
        """Make the forward passes that other ranks still need."""
        while self._synced:
            prefixes, steps = self._wanted(prefix=False, step=False)
            if not prefixes and not steps:
                return
            self._dummy_forward(bool(prefixes))

    def _wanted(self, *, prefix: bool, step: bool) -> tuple[int, int]:
        """How many ranks want the prefill of a prefix next, and how many a generation step."""
        counts = torch.tensor([int(prefix), int(step)], device=self._device)
        torch.distributed.all_reduce(counts)
        return int(counts[0]), int(counts[1])


def is_sharded(model: nn.Module) -> bool:
    """Whether a model's weights are sharded over ranks, as FSDP2 and ZeRO-3 do."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1):
        return False
    return any(isinstance(parameter, DTensor) or hasattr(parameter, "ds_id") for parameter in model.parameters())
