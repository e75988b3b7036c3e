"""Edit distance beside the textbook's table; the index beside a slow search."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.prompts.text_index import TextIndex, distance
from tests.prompts.grounding_cases import flat


def table(one: str, other: str) -> int:
    """Wagner and Fischer (1974), row by row."""
    row = list(range(len(other) + 1))
    for place, left in enumerate(one, 1):
        before, row[0] = row[0], place
        for rank, right in enumerate(other, 1):
            before, row[rank] = row[rank], min(row[rank] + 1, row[rank - 1] + 1, before + (left != right))
    return row[-1]


@given(st.text("abé🫀 ", max_size=90), st.text("abé🫀 ", max_size=90))
def test_distance_is_that_of_the_table(one: str, other: str) -> None:
    assert distance(one, other) == table(one, other)


@given(st.text("ab", min_size=60, max_size=140), st.lists(st.tuples(st.integers(0, 140), st.sampled_from(["", "a", "cc"])), max_size=5))
def test_distance_of_long_neighbours(one: str, edits: list[tuple[int, str]]) -> None:
    other = one
    for at, put in edits:
        other = other[:at] + put + other[at + 1 :]
    assert distance(one, other) == table(one, other)


@pytest.mark.parametrize(
    ("one", "other", "expected"), [("", "", 0), ("a", "", 1), ("", "ab", 2), ("a", "a", 0), ("a", "b", 1), ("ab", "ba", 2)]
)
def test_distance_by_hand(one: str, other: str, expected: int) -> None:
    assert distance(one, other) == expected


def test_index_of_nothing() -> None:
    index = TextIndex("")
    assert index.exact("") == []
    assert index.exact("a") == []
    assert index.similar("abc") == []
    assert index.similar_within("abc", 0, 10) == []


def test_exact_lists_every_whole_word() -> None:
    index = TextIndex("a pain, painful pain")
    assert index.exact("pain") == [(2, 6), (16, 20)]
    assert index.exact("ain") == [(3, 6), (9, 12), (17, 20)]
    assert index.exact("ain", inside_words=False) == []


@given(st.text("ab -", max_size=30).map(flat), st.text("ab -", min_size=1, max_size=4).map(flat))
def test_exact_is_what_a_slow_search_finds(text: str, words: str) -> None:
    """To the letter and as whole words, where there are such places."""
    edges = [match.span() for match in re.finditer(r"[^\W\d_]+|\S", text)]
    starts, ends = {start for start, _ in edges}, {end for _, end in edges}
    slow = [
        (place, place + len(words))
        for place in range(len(text))
        if words and text.startswith(words, place) and place in starts and place + len(words) in ends
    ]
    if slow:
        assert TextIndex(text).exact(words) == slow
