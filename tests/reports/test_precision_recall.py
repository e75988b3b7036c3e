"""The curve against counting at each threshold."""

from __future__ import annotations

import random

import pytest

from clinical_ie.reports.precision_recall import THRESHOLDS, ConfidenceCounts
from clinical_ie.scoring.judged import Judged


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_what_counting_gives(seed: int) -> None:
    generator = random.Random(seed)
    predicted = [
        Judged("entities", "X", generator.choice([0.0, 0.29, 0.5, 1.0, generator.random()]), generator.random() < 0.7) for _ in range(200)
    ]
    other = [Judged("relations", "X", 0.5, True), Judged("entities", "X", None, True)]
    counts, half = ConfidenceCounts("entities"), ConfidenceCounts("entities")
    counts.add(predicted[:120], 100)
    half.add([*predicted[120:], *other], 80)
    counts.update(half)
    curve = counts.curve()
    assert counts.unsure == 1
    for place in range(THRESHOLDS):
        kept = [one for one in predicted if one.confidence is not None and one.confidence >= place / 100 - 1e-9]
        right = sum(one.right for one in kept)
        assert (curve["tp"][place], curve["fp"][place], curve["fn"][place]) == (right, len(kept) - right, 180 - right)
        assert curve["recall"][place] == right / 180
        assert curve["precision"][place] == (right / len(kept) if kept else 1.0)


def test_nothing_at_all() -> None:
    curve = ConfidenceCounts("entities").curve()
    assert set(curve["precision"]) == {1.0}
    assert set(curve["recall"]) == {0.0}
