"""Bootstrap intervals and the paired randomisation test."""

import itertools
import random

import pytest

from clinical_ie.errors import InputError
from clinical_ie.scoring.counts import Counts
from clinical_ie.scoring.significance import approximate_randomisation, bootstrap_f1


def f1(documents: list[Counts]) -> float:
    tp, fp, fn = (sum(getattr(one, name) for one in documents) for name in ("tp", "fp", "fn"))
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def exact_p(first: list[Counts], second: list[Counts]) -> float:
    """The share of all 2^n exchanges with a difference at least as large as the observed one."""
    observed = abs(f1(first) - f1(second))
    hits = 0
    for swaps in itertools.product((False, True), repeat=len(first)):
        one = [b if swap else a for a, b, swap in zip(first, second, swaps, strict=True)]
        two = [a if swap else b for a, b, swap in zip(first, second, swaps, strict=True)]
        hits += abs(f1(one) - f1(two)) >= observed - 1e-12
    return hits / 2 ** len(first)


def system(seed: int, number: int, right: float) -> list[Counts]:
    generator = random.Random(seed)
    found = []
    for _ in range(number):
        size = generator.randint(5, 40)
        tp = sum(generator.random() < right for _ in range(size))
        found.append(Counts(tp, generator.randint(0, size - tp), size - tp))
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("number", [5, 30, 202])
def test_interval_holds_the_point_estimate(seed: int, number: int) -> None:
    documents = system(seed, number, 0.8)
    low, high = bootstrap_f1(documents, samples=1000, seed=seed)
    assert 0 <= low < f1(documents) < high <= 1


def test_interval_of_two_documents_is_known() -> None:
    # Drawing two of {all right, all wrong}: F1 is 0 (1/4), 2*5/(10+5+5)=1/2 (1/2) or 1 (1/4).
    documents = [Counts(5, 0, 0), Counts(0, 5, 5)]
    assert bootstrap_f1(documents, samples=2000) == (0.0, 1.0)
    # The middle 40 % of that distribution is 1/2 alone.
    assert bootstrap_f1(documents, samples=2000, level=0.4) == (0.5, 0.5)


def test_more_documents_and_lower_levels_narrow_the_interval() -> None:
    def width(number: int, level: float) -> float:
        low, high = bootstrap_f1(system(3, number, 0.7), level=level)
        return high - low

    assert width(400, 0.95) < width(25, 0.95) / 2  # by the square root of 16, that is 4
    assert width(100, 0.5) < width(100, 0.95) < width(100, 0.999)


def test_coverage_is_near_the_level() -> None:
    """Intervals from samples of a large population hold its F1 about 95 times in 100."""
    population = system(1, 4000, 0.75)
    truth, generator = f1(population), random.Random(2)
    held = 0
    for seed in range(200):
        low, high = bootstrap_f1(generator.sample(population, 60), samples=400, seed=seed)
        held += low <= truth <= high
    assert 176 <= held <= 199  # 190 expected, 3 binomial standard deviations of 3.1; percentile intervals run a little short


def test_same_seed_same_value() -> None:
    first, second = system(1, 40, 0.8), system(2, 40, 0.77)
    assert bootstrap_f1(first, seed=5) == bootstrap_f1(first, seed=5) != bootstrap_f1(first, seed=6)
    values = [approximate_randomisation(first, second, seed=seed, samples=3000) for seed in (5, 5, 6, 7, 8)]
    assert values[0] == values[1]
    assert len(set(values)) > 1


def test_degenerate_inputs() -> None:
    assert bootstrap_f1([]) == (0.0, 0.0)
    assert bootstrap_f1([Counts()]) == (0.0, 0.0)
    assert bootstrap_f1([Counts(3, 0, 0)] * 4) == (1.0, 1.0)
    assert bootstrap_f1([Counts(1, 1, 1)]) == (0.5, 0.5)  # 2*1 / (2*1 + 1 + 1)
    assert approximate_randomisation([], []) == 1.0
    assert approximate_randomisation([Counts()], [Counts()]) == 1.0
    # One document: exchanging it turns the difference round, so it is always as large.
    assert approximate_randomisation([Counts(9, 0, 0)], [Counts(0, 9, 9)]) == 1.0


def test_different_numbers_of_documents_are_refused() -> None:
    with pytest.raises(InputError, match="2 and 1"):
        approximate_randomisation([Counts(), Counts()], [Counts()])


def test_identical_systems() -> None:
    documents = system(4, 50, 0.8)
    assert approximate_randomisation(documents, list(documents)) == 1.0


def test_clearly_different_systems() -> None:
    better, worse = [Counts(9, 1, 1)] * 40, [Counts(6, 4, 4)] * 40
    p = approximate_randomisation(better, worse, samples=10_000)
    assert p == pytest.approx(1 / 10_001)  # 2 in 2^40 exchanges are as extreme; the estimate is (0 + 1) / (n + 1)
    assert approximate_randomisation(worse, better, samples=10_000) == p


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("number", [2, 4, 7, 9])
def test_p_is_that_of_all_exchanges(seed: int, number: int) -> None:
    first, second = system(seed, number, 0.8), system(100 + seed, number, 0.72)
    p, samples = exact_p(first, second), 10_000
    error = (p * (1 - p) / samples) ** 0.5
    assert approximate_randomisation(first, second, samples=samples, seed=seed) == pytest.approx(p, abs=4 * error + 2 / samples)


def test_number_of_exchanges_need_not_be_round() -> None:
    better, worse = [Counts(9, 1, 1)] * 60, [Counts(6, 4, 4)] * 60
    for samples in (1, 999, 1000, 1001, 2500):
        assert approximate_randomisation(better, worse, samples=samples) == pytest.approx(1 / (samples + 1))
