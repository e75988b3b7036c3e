"""Invented systems and plain formulas, for tests of intervals and paired comparisons."""

import random
from collections.abc import Sequence

from clinical_ie.scoring.clusters import Clustered

Row = tuple[int, int, int]


def f1(rows: Sequence[Row]) -> float:
    tp, fp, fn = (sum(column) for column in zip(*rows, strict=True))
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def system(seed: int, number: int, right: float) -> list[Row]:
    """Counts of so many documents by a system that finds this share."""
    generator = random.Random(seed)
    found = []
    for _ in range(number):
        size = generator.randint(5, 40)
        tp = sum(generator.random() < right for _ in range(size))
        found.append((tp, generator.randint(0, size - tp), size - tp))
    return found


def cell(*runs: Sequence[Row]) -> Clustered:
    """A cell of these runs; document k is a cluster of its own."""
    return Clustered.of([{f"d{place:03}": row for place, row in enumerate(rows)} for rows in runs])


def even(*right: int) -> list[Row]:
    """Documents of ten mentions with so many found and as many invented as missed: their micro F1 is the mean of their F1."""
    return [(tp, 10 - tp, 10 - tp) for tp in right]
