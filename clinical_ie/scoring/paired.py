"""Two systems on the same documents: tests, tests of many rows, and how small a difference can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from clinical_ie.errors import InputError
from clinical_ie.scoring.clusters import Clustered, check_pair, f1
from clinical_ie.scoring.intervals import freedom, standard_error
from clinical_ie.scoring.student import t_quantile

_AT_ONCE = 1000


def approximate_randomisation(first: Clustered, second: Clustered, *, samples: int = 10_000, seed: int = 0) -> float:
    """The p-value of a difference in F1 at least this large, either way, if the two systems were exchangeable in every cluster.

    A cluster is exchanged with the models of all seeds at once: the test is of these models, and says nothing of other seeds (their
    interval does). 1 without any cluster.

    Args:
        first: One system's runs.
        second: The other's.
        samples: How many random exchanges.
        seed: Same seed, same value.

    Raises:
        InputError: The systems were not scored on the same clusters, or with different numbers of seeds, or of runs that share their shots.

    Reference: Yeh, More accurate tests for the statistical significance of result differences,
        COLING 2000; (r + 1) / (n + 1) as in Noreen (1989).
    """
    check_pair(first, second)
    if first.units != second.units:
        raise InputError(
            f"an exchange needs as many runs of both systems; they have {len(first.counts)} and {len(second.counts)}, of"
            f" {first.seeds} and {second.seeds} seeds or draws"
        )
    if not first.clusters:
        return 1.0
    a, b = first.counts, second.counts
    observed = abs(first.f1 - second.f1)
    generator = np.random.default_rng(seed)
    at_least = 0
    for start in range(0, samples, _AT_ONCE):
        size = min(_AT_ONCE, samples - start)
        swap = generator.integers(0, 2, size=(size, first.clusters)).astype(float)  # as exact as integers, and faster
        moved = swap @ (b - a)  # (seeds, samples, 3)
        one, two = f1(a.sum(1)[:, None] + moved), f1(b.sum(1)[:, None] - moved)
        at_least += int((np.abs(first.by_unit(one - two).mean(0)) >= observed - 1e-12).sum())
    return (at_least + 1) / (samples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of a table's rows, raised so that calling those below alpha real errs in any row with probability alpha at most.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Reference: Holm, A simple sequentially rejective multiple test procedure (1979); Dror et al., TACL 2017.
    """
    raised, least = list(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(raised)), key=lambda place: raised[place])):
        least = max(least, min(1.0, (len(raised) - rank) * raised[place]))
        raised[place] = least
    return raised


def better_on_at_least(p_values: Sequence[float], alpha: float = 0.05) -> int:
    """On how many corpora, at least, the first system is truly better (partial conjunction).

    Args:
        p_values: One-sided, a corpus each: half a two-sided one where the first system is ahead, else one minus that half.
        alpha: The probability to say too much.

    Returns:
        The largest ``u`` such that ``(n - v + 1) p_(v) <= alpha`` for all ``v`` from 1 to ``u``, with ``p_(v)`` the v-th smallest.

    Example:
        >>> better_on_at_least([0.001, 0.02, 0.3])
        2

    Reference: Benjamini & Heller (2008); k-Bonferroni of Dror et al., TACL 2017 (arXiv 1709.09500).
    """
    found = 0
    for rank, p in enumerate(sorted(p_values)):
        if (len(p_values) - rank) * p > alpha:
            break
        found += 1
    return found


def smallest_visible_difference(
    cell: Clustered, minus: Clustered | None = None, *, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """How large a true difference must be, in F1, to be found with this power on these clusters: ``(t_{1 - alpha/2} + t_power) se``.

    The quantiles are those of Student's t with the error's degrees of freedom, as in its interval. ``se`` is the standard error of the
    paired difference. Where there is one system only, the other is taken to have as large an error, correlated with the first one's by
    1/2, so that ``se^2 (1 + 1 - 2 * 1/2)`` is that of its own score. None with fewer than two clusters, and where all clusters score alike:
    no error can be seen there.

    Args:
        cell: A system's runs.
        minus: The other's, where they are there.
        power: The probability to find it.
        alpha: The probability to find one that is not there.

    Reference: Card et al., With Little Power Comes Great Responsibility, EMNLP 2020.
    """
    error = standard_error(cell, minus)
    if not 0 < error < math.inf:
        return None
    degrees = freedom(cell, minus)
    return (t_quantile(1 - alpha / 2, degrees) + t_quantile(power, degrees)) * error
