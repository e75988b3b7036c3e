"""Variable-length (padding-free) attention: the new tokens of all sequences of a batch, concatenated without padding.

A decoder is given all new tokens of a batch as one sequence, so that its linear layers compute nothing for padding. Only attention must
know which token belongs to which sequence: each attends to the keys and values of its own row of the KV cache.
Neighbouring sequences of similar length are padded to a bucket inside this function only. Grouped-query attention is computed
without repeating keys and values for each query head.

References: Dao, FlashAttention-2 (2023), whose ``flash_attn_varlen_func`` does the same on GPUs; Ainslie et al., GQA: Training generalized
multi-query transformer models (EMNLP 2023).

Shape legend: ``N`` new tokens of all sequences, ``R`` rows of the cache (sequences), ``H`` query heads, ``K`` key-value heads, ``Q`` new
tokens of the longest sequence of a bucket, ``T`` positions of the cache, ``D`` width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from clinical_ie.models import packed_attention

_IMPLEMENTATION = "sdpa_varlen"
_MAX_GROUPED_TOKENS = 32
"""New tokens of a sequence up to which repeating keys, not computing scores, takes the time."""
_MASK_KINDS = 2
"""Masks that `Decoder` gives to a model: of full attention, and of sliding-window attention."""


@dataclass(frozen=True, slots=True)
class _LengthBucket:
    """Neighbouring sequences of similar length, padded: their rows of the cache, and the index of each token, ``(R, Q)``.

    `is_token` is false for padding; `is_full` says that there is none.
    """

    rows: slice
    token_indices: Tensor
    is_token: Tensor
    is_full: bool


@dataclass(frozen=True, slots=True)
class VarlenLayout:
    """Which new tokens belong to which sequence, in buckets of neighbouring sequences of similar length.

    Shape:
        - rows, cache_positions: ``(N,)``, the row of the cache of each token and the position there that it is written to
    """

    rows: Tensor
    cache_positions: Tensor
    buckets: tuple[_LengthBucket, ...]
    _masks: dict[int, tuple[Tensor, list[Tensor]]] = field(default_factory=dict)

    @classmethod
    def of(cls, bucket_lengths: Sequence[Sequence[int]], cache_positions: Sequence[int], device: torch.device) -> VarlenLayout:
        """The layout of sequences with these numbers of new tokens, bucket by bucket, written to these positions of the cache."""
        buckets = []
        row = token = 0
        for lengths in filter(None, bucket_lengths):
            each = torch.tensor(lengths, device=device).unsqueeze(1)
            offsets = torch.arange(max(lengths), device=device)
            first = torch.tensor([token + sum(lengths[:rank]) for rank in range(len(lengths))], device=device).unsqueeze(1)
            is_token = offsets < each
            buckets.append(
                _LengthBucket(
                    slice(row, row + len(lengths)), torch.where(is_token, first + offsets, first), is_token, min(lengths) == max(lengths)
                )
            )
            row, token = row + len(lengths), token + sum(lengths)
        rows = [rank for rank, length in enumerate(length for lengths in bucket_lengths for length in lengths) for _ in range(length)]
        return cls(torch.tensor(rows, device=device), torch.tensor(cache_positions, device=device), tuple(buckets))

    def masks(self, mask: Tensor) -> list[Tensor]:
        """The attention mask of each bucket, ``(R, 1, Q, T)``; made once for all layers."""
        if id(mask) not in self._masks:  # the mask is kept beside, so that no other gets its id
            self._masks[id(mask)] = mask, [mask[0, 0][bucket.token_indices].unsqueeze(1) for bucket in self.buckets]
        return self._masks[id(mask)][1]


_LAYOUT: ContextVar[VarlenLayout | None] = ContextVar("layout", default=None)
_RECORDED_MASKS: ContextVar[list[Tensor | None] | None] = ContextVar("recorded_masks", default=None)


def varlen_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attention of each token to the keys of its own sequence.

    Shape:
        - query: ``(1, H, N, D)``; key, value: ``(R, K, T, D)``; attention_mask: ``(1, 1, N, T)``; result: ``(1, N, H, D)``
    """
    if (recorded := _RECORDED_MASKS.get()) is not None:
        recorded.append(attention_mask)
    layout = _LAYOUT.get()
    if layout is None or attention_mask is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    states = query[0].transpose(0, 1)
    outputs = []
    for bucket, mask in zip(layout.buckets, layout.masks(attention_mask), strict=True):
        output = grouped_query_attention(
            module, states[bucket.token_indices].transpose(1, 2), key[bucket.rows], value[bucket.rows], mask, **options
        )[0]  # fmt: skip
        outputs.append(output.flatten(0, 1) if bucket.is_full else output[bucket.is_token])
    return torch.cat(outputs).unsqueeze(0), None


def grouped_query_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **options: Any
) -> tuple[Tensor, None]:
    """Grouped-query attention without repeated keys: query heads that share a key-value head become further queries of that head.

    The numbers are those of torch's own.

    Shape:
        - query: ``(R, H, Q, D)``; key, value: ``(R, K, T, D)``; attention_mask: ``(R, 1, Q, T)``; result: ``(R, Q, H, D)``
    """
    rows, heads, length, size = query.shape
    key_value_heads = key.shape[1]
    special = any(options.get(name) is not None for name in ("softcap", "position_bias", "s_aux"))
    if heads == key_value_heads or length > _MAX_GROUPED_TOKENS or special or torch.is_grad_enabled():
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    group_size = heads // key_value_heads
    mask = attention_mask.unsqueeze(2).expand(-1, -1, group_size, -1, -1)
    output = scaled_dot_product_attention(
        query.reshape(rows, key_value_heads, group_size * length, size),
        key,
        value,
        attn_mask=mask.reshape(rows, 1, group_size * length, -1),
        scale=options.get("scaling"),
    )
    return output.reshape(rows, heads, length, value.shape[3]).transpose(1, 2).contiguous(), None


AttentionInterface.register(_IMPLEMENTATION, varlen_attention)


@contextmanager
def use_layout(layout: VarlenLayout) -> Iterator[None]:
    """Inputs of a model under `use_varlen_attention` are concatenated as the layout says."""
    token = _LAYOUT.set(layout)
    try:
        yield
    finally:
        _LAYOUT.reset(token)


@contextmanager
def record_attention_masks() -> Iterator[list[Tensor | None]]:
    """The masks that the layers of a model under `use_varlen_attention` pass to attention, in their order."""
    recorded: list[Tensor | None] = []
    token = _RECORDED_MASKS.set(recorded)
    try:
        yield recorded
    finally:
        _RECORDED_MASKS.reset(token)


def supports_varlen_attention(recorded: Sequence[Tensor | None], layers: int) -> bool:
    """Whether a model can take concatenated sequences: every layer called `varlen_attention`, with one of the masks that it was given.

    Args:
        recorded: What `record_attention_masks` gave for one forward pass.
        layers: Layers of the KV cache.
    """
    shared = [mask for mask in recorded if mask is not None and mask.shape[:2] == (1, 1)]
    return len(recorded) == len(shared) == layers and len({id(mask) for mask in shared}) <= _MASK_KINDS


@contextmanager
def use_varlen_attention(model: PreTrainedModel) -> Iterator[None]:
    """Replace torch's scaled dot-product attention by `varlen_attention` in every part of a model that uses it."""
    before = {
        id(part.config): (part.config, part.config._attn_implementation) for part in model.modules() if isinstance(part, PreTrainedModel)
    }
    try:
        for config, name in before.values():
            if name in ("sdpa", packed_attention.IMPLEMENTATION):
                config._attn_implementation = _IMPLEMENTATION
        yield
    finally:
        for config, name in before.values():
            config._attn_implementation = name
