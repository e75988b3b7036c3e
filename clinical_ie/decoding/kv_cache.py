"""KV cache for continuous batching: rows of unequal length behind shared prefixes, each of which is computed once (prefix caching).

Each token's keys and values are stored at its position, so that those of rejected draft tokens are overwritten.

Shape legend: ``R`` rows (sequences), ``K`` key-value heads, ``N`` new tokens of all rows, ``T`` positions, ``D`` width of a head.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor
from transformers import Cache, DynamicCache

from clinical_ie.decoding.varlen_attention import VarlenLayout

_LEAST_GROWTH = 64
"""Positions that are allocated beyond those needed, or an eighth of them: each growth copies all."""


class KVCache(Cache):
    """Keys and values of the sequences of a batch; finished rows are reused.

    Memory follows the sequences that run: where it grows for long ones while others have ended, it is for those that are left.

    Args:
        like: The cache of any prefix, which says how many layers there are and what they hold.
        rows: Most sequences at a time.

    Shape:
        - keys, values: ``(R, K, T, D)``
    """

    def __init__(self, like: DynamicCache, rows: int) -> None:
        self.layers: list[Any] = []
        self._most_rows = rows
        self._buffers = [[part.new_zeros(0, part.shape[1], 0, part.shape[3]) for part in pair] for pair in _parts(like)]
        self._layout: VarlenLayout | None = None
        self._rows = self._positions = 0

    def admit(self, row: int, prefix: DynamicCache) -> None:
        """Start a sequence in a row, behind a prefix (one row)."""
        parts = _parts(prefix)
        length = parts[0][0].shape[2]
        self._reserve(row + 1, length)
        for buffers, pair in zip(self._buffers, parts, strict=True):
            for buffer, part in zip(buffers, pair, strict=True):
                buffer[row, :, :length] = part[0]

    def move(self, source: int, target: int) -> None:
        """Copy a row over another."""
        for buffers in self._buffers:
            for buffer in buffers:
                buffer[target] = buffer[source]

    def prepare(self, layout: VarlenLayout, rows: int, positions: int) -> None:
        """Set where the next forward pass writes, and how many rows and positions it reads."""
        self._reserve(rows, positions)
        self._layout, self._rows, self._positions = layout, rows, positions

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store the keys and values of new tokens; those of all tokens come out.

        Shape:
            - key_states, value_states: ``(1, K, N, D)``; results: ``(R, K, T, D)``
        """
        assert self._layout is not None
        keys, values = self._buffers[layer_idx]
        for buffer, states in ((keys, key_states), (values, value_states)):
            buffer[self._layout.rows, :, self._layout.cache_positions] = states[0].transpose(0, 1).to(buffer.dtype)
        return keys[: self._rows, :, : self._positions], values[: self._rows, :, : self._positions]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions that are read."""
        return self._positions

    def _reserve(self, rows: int, positions: int) -> None:
        """Have room for so many rows and positions; rows behind them are free, and are given back where positions grow."""
        allocated_rows, _, allocated, _ = self._buffers[0][0].shape
        if allocated_rows >= rows and allocated >= positions:
            return
        if allocated_rows < rows:
            rows = min(self._most_rows, max(rows, 2 * allocated_rows))
        if allocated < positions:
            positions += max(_LEAST_GROWTH, positions // 8)
        positions, kept = max(positions, allocated), min(rows, allocated_rows)
        for buffers in self._buffers:
            for rank, old in enumerate(buffers):
                buffers[rank] = old.new_zeros(rows, old.shape[1], positions, old.shape[3])
                buffers[rank][:kept, :, :allocated] = old[:kept]


def _parts(cache: DynamicCache) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer."""
    return [(cast("Any", layer).keys, cast("Any", layer).values) for layer in cache.layers]
