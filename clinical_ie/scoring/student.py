"""Student's t distribution, as far as intervals need it."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300
_PRECISION = 1e-15


def two_sided(t: float, freedom: float) -> float:
    """The probability that a Student t variable lies further from 0 than `t`.

    Args:
        t: At least 0.
        freedom: Degrees of freedom, above 0.

    Reference: ``I_x(freedom / 2, 1 / 2)`` at ``x = freedom / (freedom + t^2)``; DLMF 8.17 (regularised incomplete beta function).
    """
    x = freedom / (freedom + t * t)
    return _beta_ratio(x, freedom / 2, 0.5)


@lru_cache(maxsize=256)
def t_quantile(probability: float, freedom: float) -> float:
    """The value below which a Student t variable lies with this probability.

    Args:
        probability: In (0, 1).
        freedom: Degrees of freedom, above 0; infinity gives the normal distribution.

    Example:
        >>> round(t_quantile(0.975, 36), 3)
        2.028
    """
    if math.isinf(freedom):
        return NormalDist().inv_cdf(probability)
    outside = 2 * min(probability, 1 - probability)
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > outside:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if two_sided(middle, freedom) > outside else (low, middle)
    return math.copysign(high, probability - 0.5) if outside < 1 else 0.0


def _beta_ratio(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function ``I_x(a, b)``, by the continued fraction on the side where it converges fast."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    factor = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return factor * _continued_fraction(x, a, b) / a
    return 1 - factor * _continued_fraction(1 - x, b, a) / b


def _continued_fraction(x: float, a: float, b: float) -> float:
    """The fraction of DLMF 8.17.22, evaluated from the front (Lentz 1976; Thompson & Barnett 1986)."""
    value, upper, lower = 1.0, 1.0, 0.0
    for step in range(1, 100_000):
        half = step // 2
        if step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        upper = 1 + term / (upper or _TINY)
        lower = 1 / (1 + term * lower or _TINY)
        value *= upper * lower
        if abs(upper * lower - 1) < _PRECISION:
            break
    return 1 / value
