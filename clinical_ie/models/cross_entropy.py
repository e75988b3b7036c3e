"""Cross-entropy that never holds the scores of all tokens at once.

Shape legend: ``N`` tokens to be predicted, ``H`` hidden.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def summed_cross_entropy(hidden: Tensor, targets: Tensor, logits: Callable[[Tensor], Tensor], chunk: int = 256) -> Tensor:
    """The sum over tokens of their negative log-likelihood; scores are computed chunk by chunk, and again in the backward pass.

    Args:
        hidden: What the scores are computed from.
        targets: The right tokens.
        logits: Hidden states to scores of the vocabulary.
        chunk: Tokens whose scores are held at once; 0 holds all.

    Shape:
        - hidden: ``(N, H)``; targets: ``(N,)``
    """

    def part(states: Tensor, right: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(logits(states).float(), right, reduction="sum")

    if not chunk or len(targets) <= chunk:
        return part(hidden, targets)
    sums = [
        checkpoint(part, hidden[start : start + chunk], targets[start : start + chunk], use_reentrant=False)
        for start in range(0, len(targets), chunk)
    ]
    return torch.stack([item for item in sums if item is not None]).sum()
