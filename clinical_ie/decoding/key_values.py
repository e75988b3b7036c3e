"""Keys and values of rows of unequal age, each token in the column of its position, so that what was guessed wrong is written over.

Shape legend: ``R`` rows, ``K`` heads of keys, ``N`` new tokens of all rows, ``T`` columns, ``D`` width of a head.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor
from transformers import Cache, DynamicCache

from clinical_ie.decoding.attention import Layout

_ROOM = 64
"""Columns that are added when there are none left."""


class KeyValues(Cache):
    """A cache whose rows come and go; all begin with the same opening.

    Args:
        opening: What a library cache of one row holds.
        rows: Most rows at a time.

    Shape:
        - keys, values: ``(R, K, T, D)``
    """

    def __init__(self, opening: DynamicCache, rows: int) -> None:
        self.layers: list[Any] = []
        self._opening = [(cast("Any", layer).keys[0], cast("Any", layer).values[0]) for layer in opening.layers]
        self._opened = self._opening[0][0].shape[1]
        self._stores = [[part.new_zeros(rows, part.shape[0], 0, part.shape[2]) for part in pair] for pair in self._opening]
        self._layout: Layout | None = None
        self._rows = self._columns = 0

    def admit(self, row: int) -> None:
        """Begin a row anew, behind the opening."""
        self._reserve(self._opened)
        for stores, parts in zip(self._stores, self._opening, strict=True):
            for store, part in zip(stores, parts, strict=True):
                store[row, :, : self._opened] = part

    def move(self, source: int, target: int) -> None:
        """Put a row in the place of another."""
        for stores in self._stores:
            for store in stores:
                store[target] = store[source]

    def expect(self, layout: Layout, rows: int, columns: int) -> None:
        """Where the next tokens go, and how many rows and columns there are then."""
        self._reserve(columns)
        self._layout, self._rows, self._columns = layout, rows, columns

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write new tokens to their columns.

        Shape:
            - key_states, value_states: ``(1, K, N, D)``; results: ``(R, K, T, D)``
        """
        assert self._layout is not None
        keys, values = self._stores[layer_idx]
        for store, states in ((keys, key_states), (values, value_states)):
            store[self._layout.rows, :, self._layout.columns] = states[0].transpose(0, 1).to(store.dtype)
        return keys[: self._rows, :, : self._columns], values[: self._rows, :, : self._columns]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns there are."""
        return self._columns

    def _reserve(self, columns: int) -> None:
        if (there := self._stores[0][0].shape[2]) >= columns:
            return
        for stores in self._stores:
            for rank, old in enumerate(stores):
                stores[rank] = old.new_zeros(*old.shape[:2], columns + _ROOM, old.shape[3])
                stores[rank][:, :, :there] = old
