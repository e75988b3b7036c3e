"""Attention masks of encoders: who attends to whom, in layers with full attention and in those with a sliding window.

Shape legend: ``B`` rows, ``Q`` attending places, ``L`` places that are attended to.

Reference: Warner et al., Smarter, better, faster, longer (2024), for encoders whose layers have a sliding window but for every third.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedConfig


class AttentionMasks:
    """The mask or masks of one pass, as the architecture takes them.

    An architecture with sliding windows makes their masks from columns, and it makes none where it is given one for each pair of places: it
    would take that for every layer. So where tokens have positions of their own, each kind of layer gets a mask, and distances are those of
    positions: a marker behind the text is near its mention.

    Args:
        config: The backbone's; what it calls ``layer_types`` and ``sliding_window``.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        kinds = dict.fromkeys(getattr(config, "layer_types", None) or ())
        slides = "sliding_attention" in kinds
        self.windows: dict[str, int | None] = {
            kind: int(config.sliding_window) if kind == "sliding_attention" else None for kind in kinds if slides
        }
        """Kind of layer -> the largest distance at which tokens see each other; None for any. Empty where all layers are of one kind."""

    def __call__(
        self, visible: Tensor, positions: Tensor | None, dtype: torch.dtype, last: int | None = None
    ) -> Tensor | dict[str, Tensor]:
        """Masks for a pass.

        Args:
            visible: True or 1 where a place is attended to, by all or by each.
            positions: Of all places; None where they are those of the columns.
            dtype: Of the backbone's weights, and so of what is added to attention scores.
            last: How many of the places attend, from the right; all when None.

        Shape:
            - visible: ``(B, L)`` or ``(B, Q, L)``; positions: ``(B, L)``; result: as `visible`, or ``(B, 1, 1 or Q, L)`` for each kind.
        """
        if not self.windows or (positions is None and visible.dim() == 2):
            return _additive(visible, dtype)
        if positions is None:
            positions = torch.arange(visible.shape[-1], device=visible.device).unsqueeze(0)
        attended = visible.bool() if visible.dim() == 3 else visible.bool().unsqueeze(1)
        own = positions if last is None else positions[:, -last:]
        distance = (own.int().unsqueeze(2) - positions.int().unsqueeze(1)).abs()  # half of what 64 bits would take of a long row
        return {kind: _additive(attended if most is None else attended & (distance <= most), dtype) for kind, most in self.windows.items()}


def unattended_mask(attention_mask: Tensor, unattended: Tensor) -> Tensor:
    """The attention mask where some tokens are not attended to: each token attends to all others and to itself.

    Shape:
        - attention_mask, unattended: ``(B, L)``; result: ``(B, L, L)``
    """
    attended = (attention_mask.bool() & ~unattended).unsqueeze(1)
    return attended | torch.eye(unattended.shape[1], dtype=torch.bool, device=unattended.device)


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as every architecture takes it: 2-D for whole rows, additive (4-D) where tokens attend to different keys."""
    if visible.dim() == 2:
        return visible
    scores = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return scores.masked_fill(~visible, torch.finfo(dtype).min).unsqueeze(1)
