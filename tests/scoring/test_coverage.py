"""Intervals hold the truth as often as they say, in a simulation whose truth is a formula (`benchmarks/intervals.py` prints all of it)."""

import pytest

from benchmarks.intervals import coverage, difference_coverage, draw_coverage, false_positives, few_coverage, seed_coverage, visible

TRIALS = {20: 3000, 37: 3000, 100: 1500}
"""Invented test sets by how many notes they have; a large one takes longer."""


def holds(found: float, low: float, high: float, trials: int) -> bool:
    """Whether a share is between these, but for two binomial standard errors of the simulation itself."""
    errors = [2 * (share * (1 - share) / trials) ** 0.5 for share in (low, high)]
    return low - errors[0] <= found <= high + errors[1]


@pytest.mark.slow
@pytest.mark.parametrize("notes", [20, 37, 100])
def test_intervals_cover_94_to_96_percent(notes: int) -> None:
    found = coverage(notes, TRIALS[notes])
    for method in ("expanded percentile", "jackknife-t"):
        assert holds(found[method], 0.94, 0.96, TRIALS[notes])
    assert found["percentile"] < found["expanded percentile"]
    if notes == 20:  # protocol.md, rule 9: 91.3 %
        assert found["percentile"] < 0.925


@pytest.mark.slow
def test_the_interval_of_a_difference_covers_94_to_96_percent() -> None:
    assert holds(difference_coverage(37, TRIALS[37]), 0.94, 0.96, TRIALS[37])


@pytest.mark.slow
def test_the_interval_of_three_seeds_covers_94_to_96_percent() -> None:
    assert holds(seed_coverage(100, TRIALS[100]), 0.94, 0.96, TRIALS[100])


@pytest.mark.slow
@pytest.mark.parametrize("notes", [3, 5, 7])
def test_the_interval_of_a_handful_of_notes_covers_92_to_97_percent(notes: int) -> None:
    found = few_coverage(notes, 2000)
    assert holds(found, 0.92, 0.97, 2000)
    assert few_coverage(notes, 2000, "expanded percentile") < found


@pytest.mark.slow
def test_the_interval_of_draws_with_several_seeds_is_that_of_the_draws() -> None:
    assert holds(draw_coverage(37, 1500, draws=5, seeds=3), 0.92, 0.97, 1500)
    assert draw_coverage(37, 500, draws=5, seeds=3, together=False) < 0.88, "runs of one draw are not independent"


@pytest.mark.slow
@pytest.mark.parametrize("notes", [20, 37])
def test_randomisation_sees_a_difference_that_is_not_there_in_4_to_6_percent(notes: int) -> None:
    assert holds(false_positives(notes, TRIALS[notes]), 0.04, 0.06, TRIALS[notes])


@pytest.mark.parametrize(("notes", "published"), [(37, 3.5), (60, 2.7), (100, 2.0)])
def test_the_smallest_visible_difference_is_near_the_simulated_one(notes: int, published: float) -> None:
    """Points of F1 with a power of 80 %, simulated on UW's counts with another error model (Card et al. 2020 for the method)."""
    assert 100 * visible(notes, 200) == pytest.approx(published, rel=0.1)
