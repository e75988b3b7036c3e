"""Randomisation, tests of many rows, and the smallest visible difference."""

import itertools
from collections.abc import Sequence

import pytest

from clinical_ie.errors import InputError
from clinical_ie.scoring.clusters import Clustered
from clinical_ie.scoring.intervals import standard_error
from clinical_ie.scoring.paired import approximate_randomisation, better_on_at_least, holm, smallest_visible_difference
from tests.scoring.systems import Row, cell, even, f1, system


def exact_p(first: Sequence[Sequence[Row]], second: Sequence[Sequence[Row]]) -> float:
    """The share of all 2^n exchanges with a difference of mean F1 at least as large as the observed one; a list for each seed."""
    seeds, number = len(first), len(first[0])
    observed = abs(sum(f1(one) - f1(two) for one, two in zip(first, second, strict=True)) / seeds)
    hits = 0
    for swaps in itertools.product((False, True), repeat=number):
        difference = 0.0
        for one, two in zip(first, second, strict=True):
            a = [right if swap else left for left, right, swap in zip(one, two, swaps, strict=True)]
            b = [left if swap else right for left, right, swap in zip(one, two, swaps, strict=True)]
            difference += (f1(a) - f1(b)) / seeds
        hits += abs(difference) >= observed - 1e-12
    return hits / 2**number


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("number", "seeds"), [(2, 1), (4, 1), (7, 1), (9, 1), (7, 3)])
def test_p_is_that_of_all_exchanges(seed: int, number: int, seeds: int) -> None:
    first, second = ([system(base + 10 * run + seed, number, right) for run in range(seeds)] for base, right in ((0, 0.8), (100, 0.72)))
    p, samples = exact_p(first, second), 10_000
    error = (p * (1 - p) / samples) ** 0.5
    found = approximate_randomisation(cell(*first), cell(*second), samples=samples, seed=seed)
    assert found == pytest.approx(p, abs=4 * error + 2 / samples)


def test_documents_of_a_patient_are_exchanged_together() -> None:
    """With 2 patients the difference is as large in 2 of 4 exchanges; with their 8 notes apart it would be in 2 of 256."""
    notes = [f"{patient}{note}" for patient in "ab" for note in range(4)]
    patients = {name: name[0] for name in notes}
    better, worse = dict.fromkeys(notes, (9, 1, 1)), dict.fromkeys(notes, (6, 4, 4))
    together = approximate_randomisation(Clustered.of([better], patients), Clustered.of([worse], patients))
    apart = approximate_randomisation(Clustered.of([better]), Clustered.of([worse]))
    assert together == pytest.approx(1 / 2, abs=0.02)
    assert apart == pytest.approx(2 / 256, abs=0.004)


def test_clearly_different_and_identical_systems() -> None:
    better, worse = cell([(9, 1, 1)] * 40), cell([(6, 4, 4)] * 40)
    p = approximate_randomisation(better, worse, samples=10_000)
    assert p == pytest.approx(1 / 10_001)  # 2 in 2^40 exchanges are as extreme; the estimate is (0 + 1) / (n + 1)
    assert approximate_randomisation(worse, better, samples=10_000) == p
    assert approximate_randomisation(better, better) == 1.0


def test_number_of_exchanges_need_not_be_round() -> None:
    better, worse = cell([(9, 1, 1)] * 60), cell([(6, 4, 4)] * 60)
    for samples in (1, 999, 1000, 1001, 2500):
        assert approximate_randomisation(better, worse, samples=samples) == pytest.approx(1 / (samples + 1))


def test_same_seed_same_value() -> None:
    first, second = cell(system(1, 40, 0.8)), cell(system(2, 40, 0.77))
    values = [approximate_randomisation(first, second, seed=seed, samples=3000) for seed in (5, 5, 6, 7, 8)]
    assert values[0] == values[1]
    assert len(set(values)) > 1


def test_degenerate_inputs() -> None:
    assert approximate_randomisation(cell([]), cell([])) == 1.0
    assert approximate_randomisation(cell([(0, 0, 0)]), cell([(0, 0, 0)])) == 1.0
    # One document: exchanging it turns the difference round, so it is always as large.
    assert approximate_randomisation(cell([(9, 0, 0)]), cell([(0, 9, 9)])) == 1.0


def test_what_cannot_be_exchanged_is_refused() -> None:
    with pytest.raises(InputError, match="2 and 1 clusters"):
        approximate_randomisation(cell([(1, 0, 0)] * 2), cell([(1, 0, 0)]))
    with pytest.raises(InputError, match="1 and 2 seeds"):
        approximate_randomisation(cell([(1, 0, 0)]), cell([(1, 0, 0)], [(1, 0, 0)]))


def test_holm_by_hand() -> None:
    # sorted 0.005, 0.011, 0.02, 0.04, 0.13 by 5, 4, 3, 2, 1: 0.025, 0.044, 0.06, 0.08, 0.13
    assert holm([0.011, 0.02, 0.005, 0.13, 0.04]) == pytest.approx([0.044, 0.06, 0.025, 0.13, 0.08])
    assert holm([0.02, 0.021, 0.5]) == pytest.approx([0.06, 0.06, 0.5]), "never below a smaller one's"
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_better_on_at_least_by_hand() -> None:
    # (n - u + 1) p_(u) of 0.004, 0.01, 0.03, 0.2: 0.016, 0.03, 0.06, 0.2
    assert better_on_at_least([0.03, 0.004, 0.2, 0.01]) == 2
    assert better_on_at_least([0.03, 0.004, 0.2, 0.01], alpha=0.1) == 3
    # 0.02 by 4 is 0.08: the first is not shown, and so no later one, though 1 * 0.04 is below alpha
    assert better_on_at_least([0.02, 0.03, 0.035, 0.04]) == 0
    assert better_on_at_least([]) == 0


def test_the_smallest_visible_difference() -> None:
    """Quantiles of 0.975 and 0.8, times the standard error of the difference (Card et al. 2020), of Student's t (NIST, 1.3.6.7.2)."""
    first, second = cell(system(1, 4000, 0.8)), cell(system(2, 4000, 0.7))
    assert smallest_visible_difference(first, second) == pytest.approx((1.959964 + 0.841621) * standard_error(first, second), rel=2e-3)
    # one system: as if the other's error were as large and correlated by 1/2; four notes have 3 degrees of freedom
    assert smallest_visible_difference(cell(even(2, 4, 6, 8))) == pytest.approx((3.182446 + 0.978472) * (20 / 3) ** 0.5 / 10 / 2, rel=1e-6)
    assert smallest_visible_difference(first, power=0.5) == pytest.approx(1.959964 * standard_error(first), rel=2e-3)
    for alike in ([], [(3, 1, 1)], [(3, 1, 1)] * 5, [(0, 2, 4)] * 5):
        assert smallest_visible_difference(cell(alike)) is None
