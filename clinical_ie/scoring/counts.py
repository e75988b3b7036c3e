"""True and false positives, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["strict", "lenient"]
MODES: tuple[Mode, ...] = ("strict", "lenient")
Kind = Literal["entities", "relations", "attributes"]
KINDS: tuple[Kind, ...] = ("entities", "relations", "attributes")


@dataclass(slots=True)
class Counts:
    """Counts of one type, one document, or a sum of such; every ratio is 0 where its denominator is 0."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """Share of the predicted that is right."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold that was found."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 where one of them is."""
        # event rules count a hit in gold's row, where nothing may be predicted: a precision of 0
        none_of_one = not (self.tp + self.fp and self.tp + self.fn)
        return 0.0 if none_of_one or not self.tp else 2 * self.tp / (2 * self.tp + self.fp + self.fn)

    def to_dict(self) -> dict[str, float]:
        """Ratios and counts by name."""
        ratios = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {**ratios, "tp": self.tp, "fp": self.fp, "fn": self.fn}


DocumentRow = tuple[int, int, int]
"""True positives, false positives and false negatives of a document."""
TypeCounts = dict[str, Counts]
"""Counts by type."""


@dataclass(slots=True)
class DocumentCounts:
    """What one document contributes: mode -> type -> counts, for mentions, for links between them and for their attributes.

    `events` counts ``(event, argument, subtype) -> (gold, predicted, true positives)`` under event rules.
    """

    id: str
    entities: dict[Mode, TypeCounts] = field(default_factory=dict)
    relations: dict[Mode, TypeCounts] = field(default_factory=dict)
    events: dict[tuple[str, str, str], tuple[int, int, int]] = field(default_factory=dict)
    attributes: dict[Mode, TypeCounts] = field(default_factory=dict)


def total(counts: Iterable[Counts]) -> Counts:
    """The sum."""
    tp = fp = fn = 0
    for one in counts:
        tp, fp, fn = tp + one.tp, fp + one.fp, fn + one.fn
    return Counts(tp, fp, fn)


def by_type(documents: Iterable[Mapping[str, Counts]]) -> TypeCounts:
    """Counts per type over documents, types by name."""
    found: TypeCounts = {}
    for types in documents:
        for name, counts in types.items():
            found[name] = found[name] + counts if name in found else counts
    return dict(sorted(found.items()))
