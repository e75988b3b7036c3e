"""Attention masks of decoders: which keys each token attends to, as every architecture takes them.

Shape legend: ``B`` rows, ``L`` tokens, ``T`` keys.
"""

from __future__ import annotations

import torch
from torch import Tensor


def additive_mask(attention_mask: Tensor) -> Tensor:
    """Zero where a token attends, and as good as minus infinity elsewhere; tokens that attend to nothing (padding) attend to all.

    Shape:
        - attention_mask: ``(B, L, T)``, bool; result: ``(B, 1, L, T)``
    """
    attended = attention_mask | ~attention_mask.any(2, keepdim=True)
    scores = torch.zeros(attended.shape, device=attended.device)
    return scores.masked_fill(~attended, torch.finfo(scores.dtype).min).unsqueeze(1)


def block_mask(segment_ids: Tensor, prefix_segment_ids: Tensor) -> Tensor:
    """The attention mask of packed rows: block-diagonal and causal, and each segment attends to its shared prefix.

    Shape:
        - segment_ids, prefix_segment_ids: ``(B, L)``, 0 for padding and for segments without a prefix; result: ``(B, L, L)``
    """
    query, key = segment_ids.unsqueeze(2), segment_ids.unsqueeze(1)
    causal = torch.ones(segment_ids.shape[1], segment_ids.shape[1], dtype=torch.bool, device=segment_ids.device).tril()
    return causal & (query > 0) & ((query == key) | (prefix_segment_ids.unsqueeze(2) == key) & (key > 0))
