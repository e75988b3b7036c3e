"""How far a score, or the difference of two, may be chance: intervals over clusters and training seeds."""

from __future__ import annotations

import math
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
FEW_CLUSTERS = 8
"""Below so many the bootstrap's range is too narrow for its ends: of three notes it holds the truth 77 times in 100, not 95."""
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
    method: Method | None = None,
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 0,
) -> Interval:
    """An interval of a cell's F1, the mean of its seeds' micro F1, or of the difference of two cells on the same clusters.

    A seed is a unit of runs here: one run, or the mean of those that share their shots (`Clustered.units`).

    With ``F_s(w)``, the micro F1 of seed ``s`` where cluster ``c`` counts ``w_c`` times, the cell's score is ``mean_s F_s(1)``.

    *Percentile*: a sample draws ``C`` of ``C`` clusters with replacement, and beside them ``S - 1`` of ``S`` seeds; its score is
    ``mean_s F_s(drawn w) + shrink * mean over drawn s of (F_s(1) - mean F(1))``. Seeds are crossed with clusters: every seed's model
    reads every cluster, so that seeds drawn anew inside each cluster would average away what a seed does everywhere, and models drawn
    whole would count twice what they do in single clusters, which ``shrink`` takes out (`standard_error`). With ``S - 1`` draws the
    variance over seeds is without bias; with one seed there is nothing to draw, and the interval is of that model. Two cells share the
    clusters of a sample and draw their seeds apart. The ends are the quantiles ``(1 - level) / 2`` and ``(1 + level) / 2``.

    *Expanded percentile*: the same samples with the quantiles at ``Phi(-+ sqrt(C / (C - 1)) t)``, as percentiles of few clusters are too
    narrow. ``t`` is the quantile of Student's t with ``C - 1`` degrees of freedom, or fewer where a few clusters hold most of the errors or
    few seeds have a share in them (`_freedom`).

    *Jackknife-t*: ``score -+ t se`` with ``se`` as in `standard_error`. All are cut where a score ends.

    Args:
        cell: What is scored.
        minus: What is taken away from it.
        method: One of these three; expanded percentile where nothing is said, and jackknife-t of less than `FEW_CLUSTERS` clusters.
        level: The share of intervals that are to hold the truth, in (0, 1).
        samples: Bootstrap samples, at least 2.
        seed: Same seed, same interval.

    Returns:
        The interval; from one cluster or none, which say nothing about others, the whole range.

    Raises:
        InputError: The cells were not scored on the same clusters.

    Reference: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 11 and 13; Hesterberg, What Teachers Should Know About
        the Bootstrap, The American Statistician 69 (2015); one draw less of a small stratum: McCarthy & Snowden, The Bootstrap and Finite
        Population Sampling (1985); shrunken effects: Davison & Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
    """
    cells = _cells(cell, minus)
    clusters = cell.clusters
    method = method or ("expanded percentile" if clusters >= FEW_CLUSTERS else "jackknife-t")
    least = -1.0 if minus is not None else 0.0
    drawn = 0 if method == "jackknife-t" else samples
    if clusters < 2:
        return Interval(least, 1.0, level, method, clusters, drawn)
    parts = _squared_error(cells)
    t = t_quantile((1 + level) / 2, _freedom(parts, clusters))
    if method == "jackknife-t":
        middle, reach = cell.f1 - (minus.f1 if minus is not None else 0.0), t * parts.whole**0.5
        return Interval(max(least, middle - reach), min(1.0, middle + reach), level, method, clusters, drawn)
    outside = (1 - level) / 2
    if method == "expanded percentile":
        outside = NormalDist().cdf(-((clusters / (clusters - 1)) ** 0.5) * t)
    low, high = np.quantile(_scores(cells, parts, samples, seed), [outside, 1 - outside])
    return Interval(max(least, float(low)), min(1.0, float(high)), level, method, clusters, drawn)


def standard_error(cell: Clustered, minus: Clustered | None = None) -> float:
    """The jackknife's standard error of a cell's F1, or of the difference of two, over clusters and seeds.

    ``se^2 = (C - 1) / C * sum_c (F_(c) - mean_c F_(c))^2 + sum over cells of max(0, sd_s^2 - e) / S``: ``F_(c)`` is the score without
    cluster ``c``, ``sd_s`` the standard deviation of the seeds' F1, and ``e`` the share of it that is chance of single clusters, which
    the first part holds already: the same jackknife of what is neither common to a cluster nor to a seed, with ``S - 1`` in place of ``S``.
    Infinite with fewer than two clusters, which say nothing of others.

    Raises:
        InputError: The cells were not scored on the same clusters.

    Reference: Efron & Tibshirani (1993), chapter 11; the second part is the component of a two-way analysis of variance.
    """
    cells = _cells(cell, minus)
    return _squared_error(cells).whole ** 0.5 if cell.clusters > 1 else math.inf


class _SquaredError(NamedTuple):
    """Parts of a squared standard error: of clusters, and of the seeds of each cell.

    Attributes:
        kurtosis: Fourth moment of the clusters' effects, over their squared second one; 3 of a normal distribution.
        observed: The variance of the mean of each cell's seeds, chance of single clusters included.
        shares: How much of that is the seeds' own.
    """

    clusters: float
    kurtosis: float
    seeds: list[float]
    observed: list[float]
    shares: list[float]
    freedom: list[int]

    @property
    def whole(self) -> float:
        return self.clusters + sum(self.seeds)


def _squared_error(cells: Sequence[tuple[int, Clustered]]) -> _SquaredError:
    clusters = cells[0][1].clusters
    scale = (clusters - 1) / clusters
    without = np.zeros(clusters)
    seeds, observed, shares, freedom = [], [], [], []
    for sign, cell in cells:
        totals, number = cell.counts.sum(1), cell.seeds
        left_out = cell.by_unit(f1(totals[:, None] - cell.counts))  # (seeds, clusters)
        without += sign * left_out.mean(0)
        rest = left_out - left_out.mean(0) - left_out.mean(1, keepdims=True) + left_out.mean()
        variance = float(cell.by_unit(f1(totals)).var(ddof=1)) if number > 1 else 0.0
        own = max(0.0, variance - scale * float((rest**2).sum()) / (number - 1)) if number > 1 else 0.0
        seeds.append(own / number)
        observed.append(variance / number)
        shares.append(own / variance if variance else 0.0)
        freedom.append(max(1, number - 1))
    effects = (without - without.mean()) ** 2
    second = float(effects.mean())
    kurtosis = float((effects**2).mean()) / second**2 if second**2 else 3.0
    return _SquaredError(scale * float(effects.sum()), kurtosis, seeds, observed, shares, freedom)


def _freedom(parts: _SquaredError, clusters: int) -> float:
    """Degrees of freedom of the whole error: those of a chi-squared variable that varies as much as its estimate does.

    A variance over ``C`` values of kurtosis ``k`` has ``2 C / (k - (C - 3) / (C - 1))`` of them, ``C - 1`` at ``k = 3``;
    we give it no more.
    Parts are put together as ``(sum of v)^2 / sum of (v^2 / freedom)``, the seeds' as observed: what of it is their own is known no better
    than that, and often comes out as 0 by chance.

    Reference: Satterthwaite, An Approximate Distribution of Estimates of Variance Components (1946); variance of a variance: Mood, Graybill
        & Boes, Introduction to the Theory of Statistics (1974), VI, theorem 3.
    """
    own = min(clusters - 1.0, 2 * clusters / (parts.kurtosis - (clusters - 3) / (clusters - 1)))
    weighed = parts.clusters**2 / own + sum(part**2 / freedom for part, freedom in zip(parts.observed, parts.freedom, strict=True))
    return (parts.clusters + sum(parts.observed)) ** 2 / weighed if weighed else own


def _cells(cell: Clustered, minus: Clustered | None) -> list[tuple[int, Clustered]]:
    """Cells by the sign with which their scores count."""
    if minus is None:
        return [(1, cell)]
    check_pair(cell, minus)
    return [(1, cell), (-1, minus)]


def freedom(cell: Clustered, minus: Clustered | None = None) -> float:
    """Degrees of freedom of `standard_error`, of two clusters or more."""
    return _freedom(_squared_error(_cells(cell, minus)), cell.clusters)


def _scores(cells: Sequence[tuple[int, Clustered]], parts: _SquaredError, samples: int, seed: int) -> NDArray[np.float64]:
    """Scores of bootstrap samples."""
    generator = np.random.default_rng(seed)
    clusters = cells[0][1].clusters
    scores = np.zeros(samples)
    for start in range(0, samples, _AT_ONCE):  # memory for some draws only, however many there are
        size = min(_AT_ONCE, samples - start)
        drawn = generator.integers(0, clusters, (size, clusters)) + clusters * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * clusters).reshape(size, clusters).astype(float)  # faster, and as exact
        found = scores[start : start + size]
        for (sign, cell), share in zip(cells, parts.shares, strict=True):
            found += sign * cell.by_unit(f1(weights @ cell.counts)).mean(0)
            if share:
                seeds, own = cell.seeds, cell.by_unit(f1(cell.counts.sum(1)))
                chosen = generator.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=size) / (seeds - 1)
                found += sign * share**0.5 * (chosen @ (own - own.mean()))
    return scores
