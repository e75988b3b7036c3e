"""How far a score, or the difference of two, may be chance: intervals over clusters and training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clinical_ie.errors import SettingError
from clinical_ie.scoring.clusters import Clustered, check_pair, f1
from clinical_ie.scoring.student import t_quantile

Method = Literal["expanded percentile", "jackknife-t", "percentile"]
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
    """Ends of a confidence interval, and how it was made; `samples` is 0 where none were drawn."""

    low: float
    high: float
    level: float
    method: Method
    clusters: int
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """As ``results.json`` holds it."""
        return self._asdict()


def interval(
    cell: Clustered,
    minus: Clustered | None = None,
    *,
    method: Method = "expanded percentile",
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 0,
) -> Interval:
    """An interval of a cell's F1, the mean of its seeds' micro F1, or of the difference of two cells on the same clusters.

    With ``F_s(w)``, the micro F1 of seed ``s`` where cluster ``c`` counts ``w_c`` times, the cell's score is ``mean_s F_s(1)``.

    *Percentile*: a sample draws ``C`` of ``C`` clusters with replacement, and then ``S - 1`` of ``S`` seeds, which are the same for all of
    its clusters; its score is ``mean over drawn s of F_s(drawn w)``. Seeds and clusters are crossed: every seed's model reads every
    cluster, so that drawing seeds anew in each cluster would average the seeds' own differences away. With ``S - 1`` draws the variance
    over seeds is ``sd_s^2 / S`` without bias; with one seed there is nothing to draw, and the interval is of that model. Two cells share
    the clusters of a sample, and draw their seeds apart. The ends are the quantiles ``(1 - level) / 2`` and ``(1 + level) / 2``.

    *Expanded percentile*: the same samples with the quantiles at ``Phi(-+ sqrt(C / (C - 1)) t)``, where ``t`` is the quantile of
    Student's t with ``C - 1`` degrees of freedom, as percentiles of few clusters are too narrow.

    *Jackknife-t*: ``score -+ t se`` with ``se`` as in `standard_error`, cut where a score ends.

    Args:
        cell: What is scored.
        minus: What is taken away from it.
        method: One of these three.
        level: The share of intervals that are to hold the truth, in (0, 1).
        samples: Bootstrap samples, at least 2.
        seed: Same seed, same interval.

    Returns:
        The interval; from one cluster or none, which say nothing about others, the whole range.

    Raises:
        InputError: The cells were not scored on the same clusters.

    Reference: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 11 and 13; Hesterberg, What Teachers Should Know About
        the Bootstrap, The American Statistician 69 (2015), section 3.3; one draw less of a small stratum: McCarthy & Snowden, The
        Bootstrap and Finite Population Sampling (1985).
    """
    cells = _cells(cell, minus)
    clusters = cell.clusters
    least = -1.0 if minus is not None else 0.0
    drawn = 0 if method == "jackknife-t" else samples
    if clusters < 2:
        return Interval(least, 1.0, level, method, clusters, drawn)
    t = t_quantile((1 + level) / 2, clusters - 1)
    if method == "jackknife-t":
        middle, reach = cell.f1 - (minus.f1 if minus is not None else 0.0), t * standard_error(cell, minus)
        return Interval(max(least, middle - reach), min(1.0, middle + reach), level, method, clusters, drawn)
    outside = (1 - level) / 2
    if method == "expanded percentile":
        outside = NormalDist().cdf(-((clusters / (clusters - 1)) ** 0.5) * t)
    low, high = np.quantile(_scores(cells, samples, seed), [outside, 1 - outside])
    return Interval(float(low), float(high), level, method, clusters, drawn)


def standard_error(cell: Clustered, minus: Clustered | None = None) -> float:
    """The jackknife's standard error of a cell's F1, or of the difference of two, over clusters and seeds.

    ``se^2 = (C - 1) / C * sum_c (F_(c) - mean_c F_(c))^2 + sum over cells of sd_s^2 / S``: ``F_(c)`` is the score without cluster ``c``,
    ``sd_s`` the standard deviation of the seeds' F1. What seeds and clusters share of it is counted twice, so that it is a little
    too large rather than too small. 0 with fewer than two clusters.

    Raises:
        InputError: The cells were not scored on the same clusters.

    Reference: Efron & Tibshirani (1993), chapter 11.
    """
    cells = _cells(cell, minus)
    clusters = cell.clusters
    if clusters < 2:
        return 0.0
    without = np.zeros(clusters)
    variance = 0.0
    for sign, counts in cells:
        totals = counts.sum(1)
        without += sign * f1(totals[:, None] - counts).mean(0)
        if len(counts) > 1:
            variance += float(f1(totals).var(ddof=1)) / len(counts)
    return float(((clusters - 1) / clusters * ((without - without.mean()) ** 2).sum() + variance) ** 0.5)


def _cells(cell: Clustered, minus: Clustered | None) -> list[tuple[int, NDArray[np.int64]]]:
    """Counts by the sign with which their scores count."""
    if minus is None:
        return [(1, cell.counts)]
    check_pair(cell, minus)
    return [(1, cell.counts), (-1, minus.counts)]


def _scores(cells: Sequence[tuple[int, NDArray[np.int64]]], samples: int, seed: int) -> NDArray[np.float64]:
    """Scores of bootstrap samples."""
    generator = np.random.default_rng(seed)
    clusters = cells[0][1].shape[1]
    scores = np.zeros(samples)
    for start in range(0, samples, _AT_ONCE):  # memory for some draws only, however many there are
        size = min(_AT_ONCE, samples - start)
        weights = generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=size)
        for sign, counts in cells:
            found = f1(weights @ counts)  # (seeds, samples)
            seeds = len(counts)
            if seeds > 1:
                chosen = generator.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=size).T
                found = found * chosen / (seeds - 1)
            scores[start : start + size] += sign * found.sum(0)
    return scores
