"""Matchings and overlaps against networkx and against looking at all pairs."""

import random

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.document import Span
from clinical_ie.scoring.matching import (
    lenient_matching_size,
    matching_size,
    overlap_matching_size,
    overlapping,
    overlapping_keys,
)

Interval = tuple[int, int]
INTERVALS = st.lists(st.builds(lambda start, length: (start, start + length), st.integers(0, 15), st.integers(1, 6)), max_size=12)


def shares(first: Interval, second: Interval) -> bool:
    return first[0] < second[1] and second[0] < first[1]


def all_pairs(left: list[Interval], right: list[Interval]) -> list[list[int]]:
    return [[j for j, other in enumerate(right) if shares(one, other)] for one in left]


def largest(partners: list[list[int]]) -> int:
    graph = networkx.Graph()
    top = [("left", i) for i in range(len(partners))]
    graph.add_nodes_from(top)
    graph.add_edges_from((("left", i), ("right", j)) for i, options in enumerate(partners) for j in options)
    return len(networkx.bipartite.hopcroft_karp_matching(graph, top)) // 2


def draw(generator: random.Random, number: int, width: int, longest: int) -> list[Interval]:
    starts = [generator.randrange(width) for _ in range(number)]
    return [(start, start + generator.randint(1, longest)) for start in starts]


@settings(max_examples=400, deadline=None)
@given(INTERVALS, INTERVALS)
def test_overlaps_are_those_of_all_pairs(left: list[Interval], right: list[Interval]) -> None:
    assert overlapping(left, right) == all_pairs(left, right)


@settings(max_examples=600, deadline=None)
@given(INTERVALS, INTERVALS)
def test_interval_matching_is_as_large_as_can_be(left: list[Interval], right: list[Interval]) -> None:
    expected = largest(all_pairs(left, right))
    assert overlap_matching_size(left, right) == expected
    assert overlap_matching_size(right, left) == expected


@pytest.mark.parametrize(("number", "width", "longest"), [(60, 40, 30), (150, 400, 8), (200, 300, 40)])
def test_interval_matching_of_crowded_notes(number: int, width: int, longest: int) -> None:
    for seed in range(4):
        generator = random.Random(seed)
        left, right = draw(generator, number, width, longest), draw(generator, number - 10, width, longest)
        assert overlap_matching_size(left, right) == largest(all_pairs(left, right))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(st.integers(0, 7), unique=True, max_size=8), max_size=9))
def test_general_matching_is_as_large_as_can_be(partners: list[list[int]]) -> None:
    assert matching_size(partners) == largest(partners)


@pytest.mark.parametrize("density", [0.01, 0.03, 0.2])
def test_general_matching_of_large_graphs(density: float) -> None:
    for seed in range(3):
        generator = random.Random(seed)
        partners = [[j for j in range(110) if generator.random() < density] for _ in range(120)]
        assert matching_size(partners) == largest(partners)


def test_greedy_choice_must_be_undone() -> None:
    # 0 takes a first; 1 can only have a, so 0 must move to b; 2 only b, so 0 moves on to c.
    assert matching_size([[0, 1, 2], [0], [1]]) == 3
    # A chain: every newcomer pushes all earlier ones one place on.
    assert matching_size([[i, i + 1] for i in range(3000)] + [[0]]) == 3001


def test_halves_that_touch_do_not_overlap() -> None:
    assert overlap_matching_size([(0, 5)], [(5, 9)]) == 0
    assert overlapping([(0, 5)], [(5, 9)]) == [[]]
    assert overlap_matching_size([(0, 6)], [(5, 9)]) == 1


def test_nothing_on_a_side() -> None:
    assert overlap_matching_size([], [(0, 1)]) == overlap_matching_size([(0, 1)], []) == 0
    assert matching_size([]) == matching_size([[], []]) == 0
    assert lenient_matching_size([], []) == 0


def fragmented(generator: random.Random) -> Span:
    points = sorted(generator.sample(range(24), 2 * generator.randint(1, 3)))
    return Span(tuple(zip(points[::2], points[1::2], strict=True)))


def test_fragments_match_by_a_shared_character_not_by_their_hull() -> None:
    # (0-2, 8-10) lies around (4-6) and shares nothing with it.
    around, inside = Span(((0, 2), (8, 10))), Span(((4, 6),))
    assert lenient_matching_size([around], [inside]) == 0
    assert lenient_matching_size([around], [Span(((9, 12),))]) == 1
    keys = [("A", span.fragments) for span in (around, inside)]
    assert overlapping_keys(keys[:1], keys[1:]) == {keys[0]: []}
    hull = ("A", ((around.start, around.end),))
    assert overlapping_keys([hull], [keys[1], keys[1], ("B", inside.fragments)]) == {hull: [keys[1]]}


def test_fragmented_matchings_against_networkx() -> None:
    for seed in range(300):
        generator = random.Random(seed)
        left, right = ([fragmented(generator) for _ in range(generator.randint(0, 9))] for _ in range(2))
        partners = [
            [j for j, other in enumerate(right) if any(shares(a, b) for a in one.fragments for b in other.fragments)] for one in left
        ]
        assert lenient_matching_size(left, right) == largest(partners)
