"""Synchronised forward passes on ranks with sharded weights (FSDP2, ZeRO-3), where every pass needs all ranks.

A rank with fewer or shorter completions would leave the others waiting for its shards. So all ranks make the same number of forward
passes of each kind: before each they agree on its kind, and a rank without work makes a dummy forward pass of one token.

Reference: DeepSpeed issue 5635; ``synced_gpus`` of transformers' ``generate``.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from clinical_ie.models.sharded_weights import is_partitioned


class RankSynchronizer:
    """Agrees with the other ranks on the next forward pass; does nothing where a rank has all weights.

    Args:
        model: The model that generates.
    """

    def __init__(self, model: nn.Module) -> None:
        self._synced = is_sharded(model)
        self._device = next(model.parameters()).device

    def wanted(self, *, prefix: bool, step: bool) -> tuple[bool, bool]:
        """Whether any rank wants to prefill a shared prefix next, and whether any wants a generation step.

        Prefixes come first. All ranks make the pass that any of them wants.
        """
        if not self._synced:
            return prefix, step
        counts = torch.tensor([int(prefix), int(step)], device=self._device)
        torch.distributed.all_reduce(counts)
        return bool(counts[0]), bool(counts[1])


def most_of_ranks(number: int, model: nn.Module) -> int:
    """The highest of all ranks' numbers where weights are sharded, so that all make as many passes; elsewhere a rank's own."""
    if not is_sharded(model):
        return number
    highest = torch.tensor(number, device=next(model.parameters()).device)
    torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX)
    return int(highest)


def is_sharded(model: nn.Module) -> bool:
    """Whether a model's weights are sharded over ranks, as FSDP2 and ZeRO-3 do, and are whole in passes only; also on a single rank."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    return any(isinstance(parameter, DTensor) or is_partitioned(parameter) for parameter in model.parameters())
