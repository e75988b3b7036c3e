"""Attention of a few new tokens to many keys that groups of heads share, without a copy of the keys for every head.

Shape legend: ``B`` rows, ``H`` heads, ``K`` heads of keys, ``Q`` new tokens, ``T`` tokens they see, ``D`` width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_NAME = "sdpa_heads_as_queries"
_FEW = 32
"""New tokens up to which keys, not scores, are what takes the time."""


def heads_as_queries(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """The heads of a group as more queries of one head: the same numbers as torch's own, from keys that are not repeated.

    Shape:
        - query: ``(B, H, Q, D)``; key, value: ``(B, K, T, D)``; attention_mask: ``(B, 1, Q, T)``; result: ``(B, Q, H, D)``
    """
    rows, heads, width, size = query.shape
    shared = key.shape[1]
    special = any(options.get(name) is not None for name in ("softcap", "position_bias", "s_aux"))
    if heads == shared or attention_mask is None or attention_mask.shape[1] > 1 or width > _FEW or special or torch.is_grad_enabled():
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    each = heads // shared
    mask = attention_mask.expand(rows, -1, -1, -1).unsqueeze(2).expand(-1, -1, each, -1, -1)
    found = scaled_dot_product_attention(
        query.reshape(rows, shared, each * width, size),
        key,
        value,
        attn_mask=mask.reshape(rows, 1, each * width, -1),
        scale=options.get("scaling"),
    )
    return found.reshape(rows, heads, width, value.shape[3]).transpose(1, 2).contiguous(), None


AttentionInterface.register(_NAME, heads_as_queries)


@contextmanager
def shared_keys(model: PreTrainedModel) -> Iterator[None]:
    """Where a model takes torch's attention, let it take ours."""
    if model.config.get_text_config()._attn_implementation != "sdpa":
        yield
        return
    before = {
        id(part.config): (part.config, part.config._attn_implementation) for part in model.modules() if isinstance(part, PreTrainedModel)
    }
    try:
        for config, name in before.values():
            if name == "sdpa":
                config._attn_implementation = _NAME
        yield
    finally:
        for config, name in before.values():
            config._attn_implementation = name
