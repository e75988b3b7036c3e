"""Student's t against a printed table and closed forms."""

import math

import pytest

from clinical_ie.scoring.student import t_quantile, two_sided

# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, "Critical Values of the Student's t Distribution"
TABLE = {
    1: (3.078, 6.314, 12.706, 31.821, 63.657),
    2: (1.886, 2.920, 4.303, 6.965, 9.925),
    5: (1.476, 2.015, 2.571, 3.365, 4.032),
    10: (1.372, 1.812, 2.228, 2.764, 3.169),
    19: (1.328, 1.729, 2.093, 2.539, 2.861),
    30: (1.310, 1.697, 2.042, 2.457, 2.750),
    36: (1.306, 1.688, 2.028, 2.434, 2.719),
    100: (1.290, 1.660, 1.984, 2.364, 2.626),
    math.inf: (1.282, 1.645, 1.960, 2.326, 2.576),
}
PROBABILITIES = (0.90, 0.95, 0.975, 0.99, 0.995)


@pytest.mark.parametrize("freedom", TABLE)
def test_quantiles_are_those_of_the_printed_table(freedom: float) -> None:
    found = [t_quantile(probability, freedom) for probability in PROBABILITIES]
    assert found == pytest.approx(TABLE[freedom], abs=0.00051)
    assert [t_quantile(1 - probability, freedom) for probability in PROBABILITIES] == pytest.approx([-value for value in found])


@pytest.mark.parametrize("p", [0.501, 0.6, 0.975, 0.9999, 1 - 1e-9])
def test_closed_forms_of_one_two_and_four_degrees_of_freedom(p: float) -> None:
    assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-6)  # Cauchy
    alpha = 4 * p * (1 - p)
    assert t_quantile(p, 2) == pytest.approx(2 * (p - 0.5) * math.sqrt(2 / alpha), rel=1e-6)
    # four (Shaw, Journal of Computational Finance 9(4), 2006)
    ratio = math.cos(math.acos(math.sqrt(alpha)) / 3) / math.sqrt(alpha)
    assert t_quantile(p, 4) == pytest.approx(2 * math.sqrt(ratio - 1), rel=1e-6)


@pytest.mark.parametrize("freedom", [1, 2.5, 7, 36, 500, 100_000])
def test_a_quantile_has_its_probability(freedom: float) -> None:
    assert t_quantile(0.5, freedom) == 0
    assert two_sided(0, freedom) == 1
    for p in (0.6, 0.9, 0.999):
        assert two_sided(t_quantile(p, freedom), freedom) == pytest.approx(2 * (1 - p), rel=1e-9)


def test_many_degrees_of_freedom_are_normal() -> None:
    assert t_quantile(0.975, 1e6) == pytest.approx(t_quantile(0.975, math.inf), abs=5e-6)
