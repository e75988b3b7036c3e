"""How far a score may be chance: bootstrap intervals and a paired randomisation test, over documents.

Documents are resampled, not mentions: mentions of one note are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clinical_ie.errors import InputError, SettingError
from clinical_ie.scoring.counts import Counts

MOST_SAMPLES = 1_000_000
_AT_ONCE = 1000


def check_samples(samples: int, setting: str) -> None:
    """Make sure that a number of bootstrap samples gives an interval, or is 0, which means none.

    Args:
        samples: The number.
        setting: Its name, for the message.

    Raises:
        SettingError: It is 1, negative, or above a million.
    """
    if samples != 0 and not 2 <= samples <= MOST_SAMPLES:
        raise SettingError(
            f"{setting} is {samples}; expected a number of bootstrap samples such as 1000, up to {MOST_SAMPLES:,}, or 0 for none"
        )


class Interval(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of rows of (tp, fp, fn); 0 where all are 0."""
    tp, fp, fn = counts[..., 0], counts[..., 1], counts[..., 2]
    total = 2 * tp + fp + fn
    scores: NDArray[np.float64] = np.divide(2 * tp, total, out=np.zeros(total.shape), where=total > 0)
    return scores


def _matrix(documents: Sequence[Counts]) -> NDArray[np.int64]:
    return np.array([(one.tp, one.fp, one.fn) for one in documents], dtype=np.int64).reshape(-1, 3)


def bootstrap_f1(documents: Sequence[Counts], *, samples: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Percentile interval of micro F1 when documents are drawn with replacement.

    Args:
        documents: Counts of each document.
        samples: How many draws, at least 2.
        level: Share of draws that the interval holds, in (0, 1).
        seed: Same seed, same interval.

    Reference: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    if not documents:
        return Interval(0.0, 0.0)
    counts = _matrix(documents)
    generator = np.random.default_rng(seed)
    scores = np.empty(samples)
    for start in range(0, samples, _AT_ONCE):  # memory for some draws only, however many there are
        size = min(_AT_ONCE, samples - start)
        weights = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=size)
        scores[start : start + size] = _f1(weights @ counts)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def approximate_randomisation(first: Sequence[Counts], second: Sequence[Counts], *, samples: int = 10_000, seed: int = 0) -> float:
    """The p-value of a difference in micro F1 at least this large, if the two systems were exchangeable.

    Args:
        first: Counts of each document by one system.
        second: Counts of the same documents, in the same order, by the other.
        samples: How many random exchanges.
        seed: Same seed, same value.

    Raises:
        InputError: The systems were not scored on the same number of documents.

    Reference: Yeh, More accurate tests for the statistical significance of result differences,
        COLING 2000; (r + 1) / (n + 1) as in Noreen (1989).
    """
    if len(first) != len(second):
        raise InputError(f"a paired test needs the same documents; the systems have {len(first)} and {len(second)}")
    if not first:
        return 1.0
    a, b = _matrix(first), _matrix(second)
    observed = abs(_f1(a.sum(0)) - _f1(b.sum(0)))
    generator = np.random.default_rng(seed)
    at_least = 0
    for start in range(0, samples, _AT_ONCE):
        size = min(_AT_ONCE, samples - start)
        swap = generator.integers(0, 2, size=(size, len(a)))
        moved = swap @ (b - a)
        difference = np.abs(_f1(a.sum(0) + moved) - _f1(b.sum(0) - moved))
        at_least += int((difference >= observed - 1e-12).sum())
    return (at_least + 1) / (samples + 1)
