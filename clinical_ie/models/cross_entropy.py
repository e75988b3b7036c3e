"""Chunked cross-entropy: never holds the logits of all tokens at once, and recomputes them in the backward pass.

Reference: Wijmans et al., Cut your losses in large-vocabulary language models (2024), of which this is the plain form in chunks.

Shape legend: ``N`` tokens to be predicted, ``H`` hidden.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def chunks_of(number: int, size: int) -> int:
    """Into how many chunks so many tokens are cut; `size` 0 is one for all."""
    return max(1, -(-number // size)) if size else 1


def chunked_cross_entropy(hidden: Tensor, targets: Tensor, logits: Callable[[Tensor], Tensor], chunks: int = 1) -> Tensor:
    """The sum over tokens of their negative log-likelihood; logits are computed chunk by chunk, and again in the backward pass.

    Args:
        hidden: Hidden states of the positions that predict.
        targets: The tokens to predict.
        logits: Maps hidden states to logits of the vocabulary. It is called for every chunk, also for an empty one: where weights are
            sharded, all ranks must call it equally often.
        chunks: How many.

    Shape:
        - hidden: ``(N, H)``; targets: ``(N,)``
    """

    def chunk_loss(states: Tensor, chunk_targets: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(logits(states).float(), chunk_targets, reduction="sum")

    if chunks == 1:
        return chunk_loss(hidden, targets)
    parts = zip(hidden.tensor_split(chunks), targets.tensor_split(chunks), strict=True)
    sums = [checkpoint(chunk_loss, states, chunk_targets, use_reentrant=False) for states, chunk_targets in parts]
    return torch.stack([item for item in sums if item is not None]).sum()
