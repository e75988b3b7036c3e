"""Precision and recall at every threshold of confidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from clinical_ie.scoring.counts import Kind
from clinical_ie.scoring.judged import Judged

THRESHOLDS = 101
"""0, 0.01, ..., 1."""


@dataclass(slots=True)
class ConfidenceCounts:
    """How many predicted annotations of each confidence are right, and how many gold has, over documents and ranks.

    `found` counts (confidence in percent, rounded down; right), so that an annotation is kept at the thresholds that are not above its
    confidence. `unsure` are those without a confidence, which are on no curve.
    """

    kind: Kind
    gold: int = 0
    unsure: int = 0
    found: Counter[tuple[int, bool]] = field(default_factory=Counter)

    def add(self, judged: Iterable[Judged], gold: int) -> None:
        """Count a document, which has so many gold annotations of this kind."""
        self.gold += gold
        for one in judged:
            if one.kind == self.kind and one.confidence is not None:
                self.found[int(one.confidence * (THRESHOLDS - 1) + 1e-9), one.right] += 1
            elif one.kind == self.kind:
                self.unsure += 1

    def update(self, other: ConfidenceCounts) -> None:
        """Add the counts of other documents."""
        self.gold += other.gold
        self.unsure += other.unsure
        self.found.update(other.found)

    def curve(self) -> dict[str, list[float]]:
        """True and false positives, false negatives, precision and recall at every threshold, ascending.

        Gold annotations that were not predicted at all are false negatives everywhere, so recall ends below 1 where a model misses some.
        Precision is 1 where nothing is kept.
        """
        found: dict[str, list[float]] = {name: [] for name in ("tp", "fp", "fn", "precision", "recall")}
        tp = fp = 0
        for percent in reversed(range(THRESHOLDS)):
            tp, fp = tp + self.found[percent, True], fp + self.found[percent, False]
            precision = tp / (tp + fp) if tp + fp else 1.0
            row = (tp, fp, self.gold - tp, precision, tp / self.gold if self.gold else 0.0)
            for name, value in zip(found, row, strict=True):
                found[name].append(value)
        return {name: values[::-1] for name, values in found.items()}
