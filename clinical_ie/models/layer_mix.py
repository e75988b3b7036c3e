"""A learned mean of an encoder's last layers.

Reference: Peters et al., Deep contextualized word representations (NAACL 2018), section 3.2, with softmax weights and without scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LayerMix(nn.Module):
    """Weighs the last `count` layers; starts as their plain mean.

    Shape:
        - hidden_states: every layer's ``(B, L, H)``, the last one last; result: ``(B, L, H)``.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(count), requires_grad=count > 1)

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """The mean."""
        count = self.weights.numel()
        shares = torch.softmax(self.weights, 0)
        mixed = shares[0] * hidden_states[-count]
        for rank in range(1, count):
            mixed = mixed + shares[rank] * hidden_states[rank - count]
        return mixed
