from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.tasks import bio


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[bio.Mention], int]:
    """Mentions side by side, with or without gaps."""
    mentions: list[bio.Mention] = []
    at = 0
    for gap, width, name in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.sampled_from(["A", "B-C", "D"])), max_size=8)):
        mentions.append((name, at + gap, at + gap + width))
        at += gap + width
    return mentions, at + draw(st.integers(0, 3))


@given(rows())
def test_round_trip(row: tuple[list[bio.Mention], int]) -> None:
    mentions, length = row
    assert bio.decode(bio.encode(mentions, length)) == mentions


def test_adjacent_mentions_of_one_type_stay_apart() -> None:
    assert bio.encode([("A", 0, 1), ("A", 1, 3)], 4) == ["B-A", "B-A", "I-A", "O"]


def test_a_mention_cut_at_the_left_begins_inside() -> None:
    tags = bio.encode([("A", -2, 2)], 3)
    assert tags == ["I-A", "I-A", "O"]
    assert bio.decode(tags) == [("A", 0, 2)]


def test_inside_behind_another_type_begins_a_mention() -> None:
    assert bio.decode(["B-A", "I-B", "I-B", "O", "I-A"]) == [("A", 0, 1), ("B", 1, 3), ("A", 4, 5)]


def test_overlap_is_refused() -> None:
    with pytest.raises(ValueError, match="share unit 1"):
        bio.encode([("A", 0, 2), ("B", 1, 3)], 3)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [("O", "I-A", False), ("B-A", "I-A", True), ("I-A", "I-A", True), ("B-B", "I-A", False), ("I-A", "B-A", True), ("O", "O", True)],
)
def test_legal(before: str, after: str, expected: bool) -> None:
    assert bio.legal(before, after) is expected
