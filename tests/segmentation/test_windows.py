from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.errors import SettingError
from clinical_ie.segmentation.windows import Window, starts_of, windows


@st.composite
def notes(draw: st.DrawFn) -> tuple[int, int, int, list[int]]:
    count = draw(st.integers(0, 200))
    overlap = draw(st.integers(0, 12))
    budget = draw(st.integers(2 * overlap + 1, 2 * overlap + 60))
    preferred = sorted(draw(st.sets(st.integers(0, 210), max_size=40)))
    return count, budget, overlap, preferred


@given(notes())
def test_cores_own_every_subword_once_and_windows_keep_the_budget(note: tuple[int, int, int, list[int]]) -> None:
    count, budget, overlap, preferred = note
    found = windows(count, budget, overlap, preferred)
    assert [index for window in found for index in range(window.core_first, window.core_last)] == list(range(count))
    for window in found:
        assert 0 <= window.first <= window.core_first < window.core_last <= window.last <= count
        assert window.last - window.first <= budget


@given(notes())
def test_every_mention_as_long_as_the_overlap_lies_in_the_window_that_owns_it(note: tuple[int, int, int, list[int]]) -> None:
    count, budget, overlap, preferred = note
    found = windows(count, budget, overlap, preferred)
    for start in range(count):
        (owner,) = [window for window in found if window.core_first <= start < window.core_last]
        assert owner.first <= start
        assert min(count, start + overlap) <= owner.last


@given(notes())
def test_context_on_both_sides_except_at_the_ends(note: tuple[int, int, int, list[int]]) -> None:
    count, budget, overlap, preferred = note
    for window in windows(count, budget, overlap, preferred):
        assert window.first == max(0, window.core_first - overlap)
        assert window.last == min(count, window.core_last + overlap)


def test_a_short_note_is_one_window() -> None:
    assert windows(10, 10, 4) == [Window(0, 10, 0, 10)]
    assert windows(0, 10, 4) == []


def test_a_long_note_by_hand() -> None:
    assert windows(20, 10, 2) == [Window(0, 10, 0, 8), Window(6, 16, 8, 14), Window(12, 20, 14, 20)]


def test_cores_begin_at_preferred_places_where_they_can() -> None:
    found = windows(20, 10, 2, [1, 6, 7, 19])
    assert found[0] == Window(0, 9, 0, 7)
    assert found[1].core_first == 7


def test_a_preferred_place_that_would_waste_most_of_a_window_is_not_taken() -> None:
    assert windows(20, 10, 2, [1])[0].core_last == 8


@pytest.mark.parametrize(("budget", "overlap"), [(0, 0), (8, 4), (10, -1)])
def test_no_room_is_said(budget: int, overlap: int) -> None:
    with pytest.raises(SettingError):
        windows(5, budget, overlap)


def test_characters_become_subwords() -> None:
    assert starts_of([0, 4, 5, 9, 99], [0, 2, 5, 8, 10]) == [2, 4]
