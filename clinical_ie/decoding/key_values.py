"""Keys and values of rows of unequal age, written in place.

Shape legend: ``B`` rows, ``K`` heads of keys, ``T`` columns, ``D`` width of a head.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

_ROOM = 64
"""Columns that are added when there are none left."""


class KeyValues(Cache):
    """A cache whose rows come and go. Which columns of a row mean something is kept by `valid`, and their positions by `positions`.

    Args:
        pairs: Keys and values of each layer.
        valid: Columns that mean something.
        positions: Position of each column.

    Shape:
        - keys, values: ``(B, K, T, D)``; valid, positions: ``(B, T)``
    """

    def __init__(self, pairs: list[tuple[Tensor, Tensor]], valid: Tensor, positions: Tensor) -> None:
        self.layers: list[Any] = []
        self._keys = [keys for keys, _ in pairs]
        self._values = [values for _, values in pairs]
        self.valid, self.positions = valid, positions
        self.width = valid.shape[1]

    @classmethod
    def of(cls, cache: DynamicCache, positions: Tensor) -> KeyValues:
        """What a library cache of one row holds."""
        pairs = [(cast("Any", layer).keys, cast("Any", layer).values) for layer in cache.layers]
        return cls(pairs, torch.ones_like(positions, dtype=torch.bool), positions)

    def repeated(self, rows: int) -> KeyValues:
        """One row as many."""
        pairs = [
            (keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in zip(self._keys, self._values, strict=True)
        ]
        return KeyValues(pairs, self.valid.expand(rows, -1), self.positions.expand(rows, -1))

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns there are."""
        return self.width

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write new columns behind the others; `grow` counts them when all layers have."""
        last = self.width + key_states.shape[2]
        if self._keys[layer_idx].shape[2] < last or not self._keys[layer_idx].is_contiguous():
            room = last + _ROOM
            for store in (self._keys, self._values):
                old = store[layer_idx]
                new = old.new_zeros(*old.shape[:2], room, old.shape[3])
                new[:, :, : self.width] = old[:, :, : self.width]
                store[layer_idx] = new
        self._keys[layer_idx][:, :, self.width : last] = key_states
        self._values[layer_idx][:, :, self.width : last] = value_states
        return self._keys[layer_idx][:, :, :last], self._values[layer_idx][:, :, :last]

    def grow(self, valid: Tensor, positions: Tensor) -> None:
        """Count the columns that every layer has written."""
        self.valid = torch.cat([self.valid, valid], 1)
        self.positions = torch.cat([self.positions, positions], 1)
        self.width = self.valid.shape[1]

    def forget(self, positions: Tensor) -> None:
        """Columns at these positions and behind them mean nothing any more.

        Shape:
            - positions: ``(B, 1)``
        """
        self.valid = self.valid & (self.positions < positions)

    def kept(self, rows: Tensor) -> KeyValues:
        """Some of the rows, without columns that mean nothing in any of them, those of each row moved together."""
        valid = self.valid[rows]
        width = int(valid.sum(1).max())
        order = torch.argsort((~valid).to(torch.int8), dim=1, stable=True)[:, :width]
        place = order[:, None, :, None]
        pairs = []
        for keys, values in zip(self._keys, self._values, strict=True):
            shape = (-1, keys.shape[1], -1, keys.shape[3])
            pairs.append(tuple(part[rows].gather(2, place.expand(*shape)) for part in (keys, values)))
        return KeyValues(pairs, valid.gather(1, order), self.positions[rows].gather(1, order))  # type: ignore[arg-type]

    def joined(self, other: KeyValues) -> KeyValues:
        """The rows of both."""
        width = max(self.width, other.width)
        pairs = [
            tuple(torch.cat([_padded(one, width), _padded(two, width)]) for one, two in zip(mine, theirs, strict=True))
            for mine, theirs in zip(self._pairs(), other._pairs(), strict=True)
        ]
        valid, positions = (
            torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts])
            for parts in ((self.valid, other.valid), (self.positions, other.positions))
        )
        return KeyValues(pairs, valid, positions)  # type: ignore[arg-type]

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        return [(keys[:, :, : self.width], values[:, :, : self.width]) for keys, values in zip(self._keys, self._values, strict=True)]


def _padded(part: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(part, (0, 0, 0, width - part.shape[2]))
