"""The KV cache keeps what running sequences hold, and no more memory than they need."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache

from clinical_ie.decoding.kv_cache import KVCache
from clinical_ie.decoding.varlen_attention import VarlenLayout

HEADS, WIDTH = 2, 4


def prefix(length: int, value: float) -> DynamicCache:
    """A cache of one row and one layer whose keys are ``value`` and whose values are ``-value``."""
    cache = DynamicCache()
    keys = torch.full((1, HEADS, length, WIDTH), value)
    cache.update(keys, -keys, 0)
    return cache


def written(cache: KVCache, rows: int, position: int) -> tuple[Tensor, Tensor]:
    """What the next pass reads after each of `rows` rows has written ``100 + row`` at `position`."""
    layout = VarlenLayout.of(([1] * rows,), [position] * rows, torch.device("cpu"))
    cache.prepare(layout, rows, position + 1)
    new = (100.0 + torch.arange(rows)).expand(1, HEADS, WIDTH, rows).transpose(2, 3)
    return cache.update(new, -new, 0)


def allocated(cache: KVCache) -> tuple[int, int]:
    rows, _, positions, _ = cache._buffers[0][0].shape
    return rows, positions


def test_memory_follows_the_sequences_that_run() -> None:
    cache = KVCache(prefix(5, 0.0), 32)
    for row in range(20):
        cache.admit(row, prefix(5, float(row)))
    assert 20 <= allocated(cache)[0] <= 32
    written(cache, 20, 5)
    cache.move(19, 1)
    keys, values = written(cache, 2, 1000)  # 18 have ended, and these two go on for long
    rows, positions = allocated(cache)
    assert (rows, positions >= 1001) == (2, True)
    assert positions <= 1001 * 9 / 8
    assert keys.shape == values.shape == (2, HEADS, 1001, WIDTH)
    for row, was in ((0, 0.0), (1, 19.0)):
        assert keys[row, :, :5].eq(was).all()
        assert keys[row, :, 5].eq(100 + was).all()
        assert keys[row, :, 1000].eq(100 + row).all()
    assert values.eq(-keys).all()
    for row in (2, 3, 4):  # and others begin beside them
        cache.admit(row, prefix(7, float(row)))
    keys, _ = written(cache, 5, 8)
    assert [keys[row, 0, 4, 0].item() for row in range(5)] == [0.0, 19.0, 2.0, 3.0, 4.0]
    assert keys[0, 0, 5, 0] == 100
    assert 5 <= allocated(cache)[0] <= 8


def test_never_more_rows_than_may_run_together() -> None:
    cache = KVCache(prefix(3, 0.0), 5)
    for row in range(5):
        cache.admit(row, prefix(3, float(row)))
    assert allocated(cache)[0] == 5
