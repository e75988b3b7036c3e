"""Token-budget batches of examples of similar length (length bucketing), and packed rows behind shared prefixes (sequence packing).

Reference: Krell et al., Efficient sequence packing without cross-contamination (2021), for packing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

_OPEN_ROWS = 8


def budget_batches(lengths: Sequence[int], budget: int, *, noise: float = 0.0, seed: int | str = 0) -> list[list[int]]:
    """Indices in batches whose longest example times their number stays within a budget.

    Args:
        lengths: Sub-words of each example.
        budget: Most sub-words of a batch, padding included; an example longer than that is a batch of its own.
        noise: Lengths are compared after multiplying with a random factor in ``[1 - noise, 1 + noise]``, so that
            batches differ from epoch to epoch.
        seed: Of that factor.
    """
    generator = random.Random(seed)
    keys = [length * (1 + noise * (2 * generator.random() - 1)) for length in lengths] if noise else list(lengths)
    batches: list[list[int]] = []
    current: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda index: keys[index]):
        longest = max(longest, lengths[index])
        if current and longest * (len(current) + 1) > budget:
            batches.append(current)
            current, longest = [], lengths[index]
        current.append(index)
    if current:
        batches.append(current)
    return batches


def packed_batches(
    suffix_lengths: Sequence[int], prefixes: Sequence[int], prefix_lengths: Sequence[int], budget: int, *, seed: int | str = 0
) -> list[list[int]]:
    """Indices in batches that fit into one row, which holds each shared prefix once (first-fit packing).

    Args:
        suffix_lengths: Sub-words of each example without its prefix.
        prefixes: For each example, the index of its prefix.
        prefix_lengths: Sub-words of each prefix.
        budget: Most sub-words of a row; an example longer than that is a row of its own.
        seed: Of the order in which examples are packed.
    """
    order = list(range(len(suffix_lengths)))
    random.Random(seed).shuffle(order)
    batches: list[list[int]] = []
    free: list[int] = []
    open_rows: dict[int, list[int]] = {}
    for index in order:
        # the first of the last few open rows with the same prefix and enough free tokens
        rows = open_rows.setdefault(prefixes[index], [])
        found = next((row for row in rows if free[row] >= suffix_lengths[index]), None)
        if found is None:
            batches.append([])
            free.append(budget - prefix_lengths[prefixes[index]])
            found = len(batches) - 1
            rows.append(found)
            del rows[:-_OPEN_ROWS]
        batches[found].append(index)
        free[found] -= suffix_lengths[index]
    return batches
