"""Intervals over clusters and seeds, against all possible draws, formulas and closed forms."""

import itertools
import math
import statistics

import numpy as np
import pytest

from clinical_ie.errors import InputError
from clinical_ie.scoring.clusters import Clustered
from clinical_ie.scoring.intervals import Interval, Method, interval, standard_error
from clinical_ie.scoring.student import t_quantile
from tests.scoring.systems import Row, cell, even, f1, system

METHODS: tuple[Method, ...] = ("expanded percentile", "jackknife-t", "percentile")


def normal(z: float) -> float:
    """The normal distribution function."""
    return math.erfc(-z / math.sqrt(2)) / 2


def ends(found: Interval) -> tuple[float, float]:
    return found.low, found.high


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", [5, 30, 202])
def test_an_interval_holds_the_point_estimate(number: int, method: Method) -> None:
    documents = system(number, number, 0.8)
    found = interval(cell(documents), method=method, seed=number)
    assert 0 <= found.low < f1(documents) < found.high <= 1
    assert found[2:] == (0.95, method, number, 0 if method == "jackknife-t" else 1000)


@pytest.mark.parametrize(("method", "outside"), [("percentile", 0.1), ("expanded percentile", normal(-1.533 * math.sqrt(5 / 4)))])
def test_ends_are_quantiles_of_all_draws(method: Method, outside: float) -> None:
    """Of the 5^5 equally likely draws of five notes; 1.533 is Student's t of 0.9 with 4 degrees of freedom (NIST, 1.3.6.7.2)."""
    documents = system(7, 5, 0.7)
    scores = sorted(f1(draw) for draw in itertools.product(documents, repeat=5))
    found = interval(cell(documents), method=method, level=0.8, samples=50_000)
    for end, place in ((found.low, outside), (found.high, 1 - outside)):
        # between the quantiles four binomial standard deviations away
        error = 4 * math.sqrt(place * (1 - place) / 50_000)
        low, high = (scores[min(len(scores) - 1, int(len(scores) * share))] for share in (place - error, place + error))
        assert low - 1e-12 <= end <= high + 1e-12


def test_the_expanded_interval_is_wider_and_becomes_the_plain_one() -> None:
    def widths(number: int) -> list[float]:
        found = [interval(cell(system(1, number, 0.8)), method=method) for method in ("expanded percentile", "percentile")]
        return [one.high - one.low for one in found]

    few, many = widths(10), widths(2000)
    # in standard deviations: 2.262 sqrt(10 / 9) = 2.384 against 1.960, within the error of 1,000 samples of ten notes
    assert few[0] / few[1] == pytest.approx(2.384 / 1.960, rel=0.12)
    assert 1 <= many[0] / many[1] < 1.02


def test_two_documents() -> None:
    # Drawing two of {all right, all wrong}: F1 is 0 (1/4), 2*5/(10+5+5) = 1/2 (1/2) or 1 (1/4).
    documents = cell([(5, 0, 0), (0, 5, 5)])
    assert ends(interval(documents, method="percentile", samples=2000)) == (0.0, 1.0)
    # The middle 40 % of that distribution is 1/2 alone.
    assert ends(interval(documents, method="percentile", samples=2000, level=0.4)) == (0.5, 0.5)
    # Student's t of 0.7 with one degree of freedom is tan(0.2 pi) = 0.727, and Phi(-0.727 sqrt 2) = 0.152 falls on the first quarter.
    assert ends(interval(documents, method="expanded percentile", samples=2000, level=0.4)) == (0.0, 1.0)


@pytest.mark.parametrize("documents", [[], [(3, 1, 1)]])
@pytest.mark.parametrize("method", METHODS)
def test_one_cluster_says_nothing_of_others(documents: list[Row], method: Method) -> None:
    one = cell(documents)
    assert ends(interval(one, method=method)) == (0.0, 1.0)
    assert ends(interval(one, one, method=method)) == (-1.0, 1.0)
    assert math.isinf(standard_error(one))


@pytest.mark.parametrize("method", METHODS)
def test_clusters_that_are_alike(method: Method) -> None:
    assert ends(interval(cell([(3, 0, 0)] * 4), method=method)) == (1.0, 1.0)
    assert ends(interval(cell([(1, 1, 1)] * 4), method=method)) == (0.5, 0.5)  # 2*1 / (2*1 + 1 + 1)
    assert ends(interval(cell([(0, 0, 0)] * 4), method=method)) == (0.0, 0.0)


@pytest.mark.parametrize(("number", "method"), [(2, "jackknife-t"), (7, "jackknife-t"), (8, "expanded percentile")])
def test_few_clusters_have_an_interval_that_can_leave_their_range(number: int, method: Method) -> None:
    documents = cell(system(4, number, 0.6))
    assert interval(documents) == interval(documents, method=method)
    assert interval(documents).method == method


def test_runs_that_share_their_shots_are_one() -> None:
    """Three draws of two seeds each: the mean of each draw is what varies, as if it were one run."""
    notes = 10
    runs = [[(tp, 10 - tp, 10 - tp)] * notes for tp in (5, 7, 6, 8, 9, 9)]
    tables = [{f"d{place:03}": row for place, row in enumerate(rows)} for rows in runs]
    shared = Clustered.of(tables, units=["a", "a", "b", "b", "c", "c"])
    means = [0.6, 0.7, 0.9]
    assert shared.units == (0, 0, 1, 1, 2, 2)
    assert (shared.seeds, shared.f1) == (3, pytest.approx(sum(means) / 3))
    assert standard_error(shared) == pytest.approx(statistics.stdev(means) / math.sqrt(3))
    alone = cell(*[[(int(mean * 10), 10 - int(mean * 10), 10 - int(mean * 10))] * notes for mean in means])
    assert ends(interval(shared)) == pytest.approx(ends(interval(alone)))
    assert ends(interval(shared, cell(runs[0]))) == pytest.approx(ends(interval(alone, cell(runs[0]))))
    apart = Clustered.of(tables)
    assert standard_error(apart) < standard_error(shared)
    # uneven units: a mean of means
    assert Clustered.of(tables[:3], units="aab").f1 == pytest.approx((0.6 + 0.6) / 2)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    """Notes of equal size: micro F1 is a mean of n numbers, whose jackknife error is s / sqrt(n) (Efron & Tibshirani 1993, 11.5)."""
    right = (3, 5, 6, 6, 8, 9, 10)
    error = statistics.stdev(right) / 10 / math.sqrt(7)
    assert standard_error(cell(even(*right))) == pytest.approx(error)
    low, high = ends(interval(cell(even(*right)), method="jackknife-t"))
    middle, reach = sum(right) / 70, 2.447 * error  # t of 0.975 with 6 degrees of freedom, NIST 1.3.6.7.2
    assert (low, high) == pytest.approx((middle - reach, middle + reach), abs=0.0005 * error)
    assert interval(cell(even(9, 10, 10, 10)), method="jackknife-t").high == 1.0  # no F1 is above


def test_the_jackknife_of_uneven_notes_leaves_each_out_once() -> None:
    documents = system(3, 12, 0.75)
    without = [f1([*documents[:place], *documents[place + 1 :]]) for place in range(12)]
    mean = sum(without) / 12
    assert standard_error(cell(documents)) == pytest.approx(math.sqrt(11 / 12 * sum((one - mean) ** 2 for one in without)))


def test_documents_of_a_patient_are_drawn_together() -> None:
    rows = {"a1": (5, 1, 2), "b1": (3, 3, 0), "a2": (1, 0, 4), "c1": (7, 0, 1)}
    found = Clustered.of([rows], {"a1": "a", "a2": "a", "b1": "b"})
    assert (found.names, found.counts.tolist()) == (("a", "b", "c1"), [[[6, 1, 6], [3, 3, 0], [7, 0, 1]]])
    summed = Clustered.of([{"a": (6, 1, 6), "b": (3, 3, 0), "c1": (7, 0, 1)}])
    assert interval(found) == interval(summed)
    assert interval(found).clusters == 3
    # twenty patients with four equal notes each know as much as twenty notes: the interval of 80 would be half as wide
    right = [number % 10 for number in range(20)]
    notes = {f"{patient}-{note}": row for patient, row in enumerate(even(*right)) for note in range(4)}
    patients = {name: name.split("-")[0] for name in notes}
    assert standard_error(Clustered.of([notes], patients)) == pytest.approx(standard_error(cell(even(*right))))
    assert standard_error(Clustered.of([notes])) == pytest.approx(standard_error(cell(even(*right))) / 2, rel=0.02)


def test_seeds_that_differ_widen_the_interval() -> None:
    """Ten equal notes, so that all doubt is the seeds'."""
    three = cell([(6, 4, 4)] * 10, [(7, 3, 3)] * 10, [(9, 1, 1)] * 10)
    scores = [0.6, 0.7, 0.9]
    assert three.f1 == pytest.approx(sum(scores) / 3)
    assert standard_error(three) == pytest.approx(statistics.stdev(scores) / math.sqrt(3))
    # a sample is the mean of two draws of the three: 0.6 (1/9), 0.65 (2/9), 0.7, 0.75, 0.8, 0.9; their variance is the seeds' s^2 / 3
    draws = [(one + two) / 2 for one, two in itertools.product(scores, repeat=2)]
    assert statistics.pvariance(draws) == pytest.approx(statistics.variance(scores) / 3)
    assert ends(interval(three, method="percentile", samples=5000)) == pytest.approx((0.6, 0.9))
    assert ends(interval(three, method="percentile", samples=5000, level=0.6)) == pytest.approx((0.65, 0.8))


def test_seeds_see_the_same_draw_of_notes() -> None:
    """Two equal seeds know no more of the notes than one."""
    documents = system(5, 25, 0.8)
    one, two = (interval(cell(*[documents] * seeds), samples=4000) for seeds in (1, 2))
    assert ends(two) == pytest.approx(ends(one), abs=0.005)
    assert standard_error(cell(documents, documents)) == pytest.approx(standard_error(cell(documents)))


def test_what_seeds_do_in_single_notes_counts_once() -> None:
    """Notes of equal size make a two-way layout of seeds and notes; by its analysis of variance (Montgomery, random effects, one
    observation a cell), the mean's squared error is the notes' mean square and what the seeds' exceeds the residual one."""
    for table in ([(3, 5, 9, 4), (5, 2, 8, 6), (9, 7, 10, 8)], [(3, 8), (8, 3)]):
        seeds, notes = len(table), len(table[0])
        by_note, by_seed = [statistics.mean(column) for column in zip(*table, strict=True)], [statistics.mean(row) for row in table]
        mean = statistics.mean(by_seed)
        rest = [(table[s][c] - by_seed[s] - by_note[c] + mean) ** 2 for s in range(seeds) for c in range(notes)]
        residual = sum(rest) / (seeds - 1) / (notes - 1)
        error = statistics.variance(by_note) / notes + max(0, statistics.variance(by_seed) - residual / notes) / seeds
        assert standard_error(cell(*(even(*row) for row in table))) == pytest.approx(math.sqrt(error) / 10, abs=1e-12)


def test_few_seeds_leave_few_degrees_of_freedom() -> None:
    """All doubt is that of two seeds: Student's t with one degree of freedom, 12.706, by sd / sqrt(2)."""
    two = interval(cell([(60, 40, 40)] * 10, [(61, 39, 39)] * 10), method="jackknife-t")
    assert ends(two) == pytest.approx((0.605 - 12.706 * 0.005, 0.605 + 12.706 * 0.005), abs=1e-5)


def test_one_note_that_holds_most_errors_leaves_few_degrees_of_freedom() -> None:
    """Eight equal notes and one apart: deviations (8, -1, ..., -1) have the kurtosis (81 - 27 + 3) / 8 = 7.125, and a variance over nine
    values of that kurtosis has 2 * 9 / (7.125 - 6 / 8) = 2.8235 degrees of freedom."""
    found = interval(cell(even(*[8] * 8, 6)), method="jackknife-t", level=0.8)
    reach = t_quantile(0.9, 18 / 6.375) * statistics.stdev([8] * 8 + [6]) / 10 / 3
    assert ends(found) == pytest.approx((70 / 90 - reach, 70 / 90 + reach))


def test_seeds_that_agree_by_chance_leave_few_degrees_of_freedom_too() -> None:
    """Two seeds whose difference is no more than single notes explain: none of it counts as theirs, yet it is known by one value only."""
    table = [(3, 8, 5, 9), (8, 3, 6, 6)]
    documents = cell(*(even(*row) for row in table))
    notes = statistics.variance([statistics.mean(column) / 10 for column in zip(*table, strict=True)]) / 4
    seeds = statistics.variance([statistics.mean(row) / 10 for row in table]) / 2
    assert standard_error(documents) == pytest.approx(notes**0.5)
    t = t_quantile(0.75, (notes + seeds) ** 2 / (notes**2 / 3 + seeds**2))
    assert ends(interval(documents, method="jackknife-t", level=0.5)) == pytest.approx((0.6 - t * notes**0.5, 0.6 + t * notes**0.5))


def test_the_paired_difference() -> None:
    """A system that finds one mention more of ten in every note is better by exactly a tenth, however much the notes differ."""
    right = (2, 3, 5, 6, 7, 8, 8, 9)
    first, second = cell(even(*(one + 1 for one in right))), cell(even(*right))
    for method in METHODS:
        assert ends(interval(first, second, method=method)) == pytest.approx((0.1, 0.1))
        assert ends(interval(second, first, method=method)) == pytest.approx((-0.1, -0.1))
    assert standard_error(first, second) == pytest.approx(0, abs=1e-12)
    # and in general the error is that of the mean difference
    third = cell(even(3, 3, 5, 4, 8, 9, 6, 10))
    differences = [one - two for one, two in zip((3, 3, 5, 4, 8, 9, 6, 10), right, strict=True)]
    assert standard_error(third, second) == pytest.approx(statistics.stdev(differences) / 10 / math.sqrt(8))


def test_the_seeds_of_two_cells_are_drawn_apart() -> None:
    one, two = cell([(6, 4, 4)] * 5, [(8, 2, 2)] * 5), cell([(5, 5, 5)] * 5, [(7, 3, 3)] * 5)
    assert ends(interval(one, two, method="percentile", samples=2000)) == pytest.approx((0.6 - 0.7, 0.8 - 0.5))
    assert standard_error(one, two) == pytest.approx(math.sqrt(2 * 0.02 / 2))  # variances of {0.6, 0.8} and {0.5, 0.7}: 0.02 each


def test_more_documents_and_lower_levels_narrow_the_interval() -> None:
    def width(number: int, level: float) -> float:
        low, high = ends(interval(cell(system(3, number, 0.7)), level=level))
        return high - low

    assert width(400, 0.95) < width(25, 0.95) / 2  # by the square root of 16, that is 4
    assert width(100, 0.5) < width(100, 0.95) < width(100, 0.999)


def test_same_seed_same_interval() -> None:
    documents = cell(system(1, 40, 0.8))
    assert interval(documents, seed=5) == interval(documents, seed=5) != interval(documents, seed=6)
    assert interval(documents, samples=2500) == interval(documents, samples=2500), "samples are drawn in portions"


def test_what_cannot_be_compared_is_refused() -> None:
    rows = dict.fromkeys(("a", "b"), (1, 0, 0))
    with pytest.raises(InputError, match="number 1 and 2 differ in b"):
        Clustered.of([rows, {"a": (1, 0, 0)}])
    with pytest.raises(InputError, match="no runs to score"):
        Clustered.of([])
    with pytest.raises(InputError, match="2 and 1 clusters, which differ, such as b"):
        interval(Clustered.of([rows]), Clustered.of([{"a": (1, 0, 0)}]))


def test_levels_follow_student() -> None:
    """The reach of jackknife-t grows with the level as t does."""
    documents = cell(system(2, 15, 0.6))
    reach = [(found.high - found.low) / 2 for found in (interval(documents, method="jackknife-t", level=level) for level in (0.5, 0.9))]
    assert reach[1] / reach[0] == pytest.approx(t_quantile(0.95, 14) / t_quantile(0.75, 14))
    assert np.isfinite(reach).all()
