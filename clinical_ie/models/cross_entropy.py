"""Chunked cross-entropy: never holds the logits of all tokens at once, and recomputes them in the backward pass.

Reference: Wijmans et al., Cut your losses in large-vocabulary language models (2024), of which this is the plain form in chunks.

Shape legend: ``N`` tokens to be predicted, ``H`` hidden.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def chunked_cross_entropy(hidden: Tensor, targets: Tensor, logits: Callable[[Tensor], Tensor], chunk: int = 256) -> Tensor:
    """The sum over tokens of their negative log-likelihood; logits are computed chunk by chunk, and again in the backward pass.

    Args:
        hidden: Hidden states of the positions that predict.
        targets: The tokens to predict.
        logits: Maps hidden states to logits of the vocabulary.
        chunk: Tokens whose logits are held at once; 0 for all.

    Shape:
        - hidden: ``(N, H)``; targets: ``(N,)``
    """

    def chunk_loss(states: Tensor, chunk_targets: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(logits(states).float(), chunk_targets, reduction="sum")

    if not chunk or len(targets) <= chunk:
        return chunk_loss(hidden, targets)
    sums = [
        checkpoint(chunk_loss, hidden[start : start + chunk], targets[start : start + chunk], use_reentrant=False)
        for start in range(0, len(targets), chunk)
    ]
    return torch.stack([item for item in sums if item is not None]).sum()
