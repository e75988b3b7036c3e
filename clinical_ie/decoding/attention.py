"""Attention of rows of unequal width that lie one behind the other, to keys that groups of heads share.

A decoder is given all new tokens of a batch as one row without padding, so that its layers do no work for nothing; only here, where tokens
of different rows must not see each other, they are told apart again.

Shape legend: ``N`` new tokens of all rows, ``R`` rows, ``H`` heads, ``K`` heads of keys, ``Q`` new tokens of the widest row of a group,
``T`` columns of the cache, ``D`` width of a head.
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

_NAME = "sdpa_rows_apart"
_FEW = 32
"""New tokens up to which keys, not scores, are what takes the time."""
_KINDS = 2
"""Masks that `Decoder` gives to a model: of all tokens, and of those in a window."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows of like width: which they are, and where their tokens lie, ``(R, Q)``; those that are not `given` fill up."""

    rows: slice
    places: Tensor
    given: Tensor
    full: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Which new tokens belong to which row, in groups of neighbouring rows of like width.

    Shape:
        - rows, columns: ``(N,)``, the row of each token and the column of the cache that it is written to
    """

    rows: Tensor
    columns: Tensor
    groups: tuple[_Group, ...]
    _masks: dict[int, tuple[Tensor, list[Tensor]]] = field(default_factory=dict)

    @classmethod
    def of(cls, widths: Sequence[Sequence[int]], columns: Sequence[int], device: torch.device) -> Layout:
        """The layout of groups of rows, each so many tokens wide, whose tokens go to some columns."""
        groups = []
        row = token = 0
        for some in filter(None, widths):
            each = torch.tensor(some, device=device).unsqueeze(1)
            wide = torch.arange(max(some), device=device)
            first = torch.tensor([token + sum(some[:rank]) for rank in range(len(some))], device=device).unsqueeze(1)
            given = wide < each
            groups.append(_Group(slice(row, row + len(some)), torch.where(given, first + wide, first), given, min(some) == max(some)))
            row, token = row + len(some), token + sum(some)
        rows = [rank for rank, width in enumerate(width for some in widths for width in some) for _ in range(width)]
        return cls(torch.tensor(rows, device=device), torch.tensor(columns, device=device), tuple(groups))

    def masks(self, mask: Tensor) -> list[Tensor]:
        """What the tokens of each group see, ``(R, 1, Q, T)``; made once for all layers."""
        if id(mask) not in self._masks:  # the mask is kept beside, so that no other gets its number
            self._masks[id(mask)] = mask, [mask[0, 0][group.places].unsqueeze(1) for group in self.groups]
        return self._masks[id(mask)][1]


_LAYOUT: ContextVar[Layout | None] = ContextVar("layout", default=None)
_CALLS: ContextVar[list[Tensor | None] | None] = ContextVar("calls", default=None)


def rows_apart(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Each token's attention to the keys of its own row.

    Shape:
        - query: ``(1, H, N, D)``; key, value: ``(R, K, T, D)``; attention_mask: ``(1, 1, N, T)``; result: ``(1, N, H, D)``
    """
    if (calls := _CALLS.get()) is not None:
        calls.append(attention_mask)
    layout = _LAYOUT.get()
    if layout is None or attention_mask is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    states = query[0].transpose(0, 1)
    found = []
    for group, mask in zip(layout.groups, layout.masks(attention_mask), strict=True):
        one = heads_as_queries(
            module, states[group.places].transpose(1, 2), key[group.rows], value[group.rows], mask, **options
        )[0]  # fmt: skip
        found.append(one.flatten(0, 1) if group.full else one[group.given])
    return torch.cat(found).unsqueeze(0), None


def heads_as_queries(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **options: Any
) -> tuple[Tensor, None]:
    """The heads of a group as more queries of one head: the same numbers as torch's own, from keys that are not repeated.

    Shape:
        - query: ``(R, H, Q, D)``; key, value: ``(R, K, T, D)``; attention_mask: ``(R, 1, Q, T)``; result: ``(R, Q, H, D)``
    """
    rows, heads, width, size = query.shape
    shared = key.shape[1]
    special = any(options.get(name) is not None for name in ("softcap", "position_bias", "s_aux"))
    if heads == shared or width > _FEW or special or torch.is_grad_enabled():
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    each = heads // shared
    mask = attention_mask.unsqueeze(2).expand(-1, -1, each, -1, -1)
    found = scaled_dot_product_attention(
        query.reshape(rows, shared, each * width, size),
        key,
        value,
        attn_mask=mask.reshape(rows, 1, each * width, -1),
        scale=options.get("scaling"),
    )
    return found.reshape(rows, heads, width, value.shape[3]).transpose(1, 2).contiguous(), None


AttentionInterface.register(_NAME, rows_apart)


@contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """Tokens lie in rows as the layout says, for models under `apart`."""
    token = _LAYOUT.set(layout)
    try:
        yield
    finally:
        _LAYOUT.reset(token)


@contextmanager
def watched() -> Iterator[list[Tensor | None]]:
    """The masks that a model under `apart` asks for attention with, layer by layer."""
    calls: list[Tensor | None] = []
    token = _CALLS.set(calls)
    try:
        yield calls
    finally:
        _CALLS.reset(token)


def keeps_apart(calls: Sequence[Tensor | None], layers: int) -> bool:
    """Whether a model's rows can lie one behind the other: every layer asked us, with one of the masks that it was given.

    Args:
        calls: What was `watched` in one pass.
        layers: How many layers have keys.
    """
    given = [mask for mask in calls if mask is not None and mask.shape[:2] == (1, 1)]
    return len(calls) == len(given) == layers and len({id(mask) for mask in given}) <= _KINDS


@contextmanager
def apart(model: PreTrainedModel) -> Iterator[None]:
    """Where a model takes torch's attention, let it take ours."""
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
