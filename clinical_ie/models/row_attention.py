"""Attention within each row of a batch that is laid out without padding (padding-free), for encoders on a CPU.

Rows stand one behind the other as one long row, so that linear layers compute no padding; attention looks at each row by itself and needs
no mask, which keeps it in its fast kernel. On a GPU a kernel call for each row would cost more than padding does.

Shape legend: ``N`` sub-words of all rows, ``B`` rows, ``L`` the longest, ``D`` width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IMPLEMENTATION = "sdpa_by_row"
_LENGTHS: ContextVar[Sequence[int] | None] = ContextVar("lengths of rows", default=None)


@contextmanager
def rows_of(lengths: Sequence[int]) -> Iterator[None]:
    """While it is active, a single row is taken for rows of these lengths, one behind the other."""
    token = _LENGTHS.set(lengths)
    try:
        yield
    finally:
        _LENGTHS.reset(token)


def row_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attention within rows where `rows_of` is active, and torch's own elsewhere.

    Shape:
        - query, key, value: ``(1, heads, N, D)``; result: ``(1, N, heads, D)``
    """
    lengths = _LENGTHS.get()
    if lengths is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    scale, places = options.get("scaling"), list(lengths)
    rows = zip(*(torch.split(each, places, 2) for each in (query, key, value)), strict=True)
    found = torch.cat([nn.functional.scaled_dot_product_attention(q, k, v, scale=scale) for q, k, v in rows], 2)
    return found.transpose(1, 2).contiguous(), None


AttentionInterface.register(IMPLEMENTATION, row_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)


def use_row_attention(model: PreTrainedModel) -> bool:
    """Let a model's attention look at rows by themselves; whether it has one that can."""
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    if any(part.config._attn_implementation not in ("sdpa", IMPLEMENTATION) for part in parts):
        return False
    for part in parts:
        part.config._attn_implementation = IMPLEMENTATION
    return True


def padded_rows(packed: Tensor, mask: Tensor) -> Tensor:
    """Rows with zeros where the mask is off.

    Shape:
        - packed: ``(1, N, H)``; mask: ``(B, L)``, on for ``N`` places; result: ``(B, L, H)``
    """
    found = packed.new_zeros(*mask.shape, packed.shape[2])
    found[mask] = packed[0]
    return found
