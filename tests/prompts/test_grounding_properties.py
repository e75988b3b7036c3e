"""Grounding of drawn texts and mentions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.prompts.answers import NormalizedText
from clinical_ie.prompts.grounding import Grounded, counted, ground
from tests.prompts.grounding_cases import Said, flat

STATUSES = {"exact", "ordered", "fuzzy", "none"}
ALPHABET = st.sampled_from(
    ["pain", "Pain", "chest", "a", "b", "10", "mg", "é", "İ", "Σ", "ς", "ß", "\U0001fac0", "\u0301", "...", ".", "-", "(", "x"]
)
TEXTS = st.lists(st.tuples(ALPHABET, st.sampled_from(["", " ", " ", "\n", "\r\n", "  ", "\u00a0"])), max_size=25).map(
    lambda parts: "".join(word + blank for word, blank in parts)
)
WORDS = (
    st.text(max_size=12)
    | TEXTS
    | st.sampled_from(["pain", "Pain", "paim", "chest pain", "pain ... pain", "a ... b ... 10", " ... ", "10 mg", "10mg"])
)
SAID = st.lists(st.tuples(st.sampled_from(["A", "B"]), WORDS), max_size=15)


def inside(text: str, found: Sequence[Grounded]) -> bool:
    return all(0 <= one.span.start < one.span.end <= len(text) for one in found if one.span is not None)


@given(text=TEXTS | st.text(max_size=40), said=SAID, literal=st.booleans())
def test_anything_is_answered(text: str, said: list[Said], literal: bool) -> None:
    found = ground(text, said, literal=literal)
    assert len(found) == len(said)
    assert inside(text, found)
    for one in found:
        assert one.status in STATUSES
        assert (one.span is None) == (one.status == "none")
    assert sum(counted(found).values()) == len(said)


@given(
    st.lists(st.sampled_from(["pain", "Pain", "paim", "x-ray"]), max_size=4).map(" ".join),
    st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["pain", "Pain", "paim", "pain paim", "x-ray", "x - ray"])), max_size=6),
)
def test_no_place_is_given_twice_to_a_type(text: str, said: list[Said]) -> None:
    found = Counter((kind, one.span) for (kind, _), one in zip(said, ground(text, said), strict=True) if one.span is not None)
    assert all(count == 1 for count in found.values())


@st.composite
def slices(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> tuple[str, list[tuple[int, int]]]:
    """A text, and some trimmed stretches of it in text order."""
    text = draw(texts)
    found = []
    for start, end in draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=8)):
        start, end = min(start, end), max(start, end)
        inner = text[start:end]
        start, end = start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())
        if start < end:
            found.append((start, end))
    return text, sorted(set(found), key=lambda place: (place[0], -place[1]))


@given(slices(TEXTS | st.text("abAB ", max_size=10)))
def test_literal_mentions_stand_where_their_letters_are(case: tuple[str, list[tuple[int, int]]]) -> None:
    text, cuts = case
    said = [("T", flat(text[start:end])) for start, end in cuts]
    for (_, words), one in zip(said, ground(text, said, literal=True), strict=True):
        assert one.span is not None
        assert flat(text[one.span.start : one.span.end]) == words


@given(st.lists(st.integers(0, 30), unique=True, max_size=20).map(sorted), st.sampled_from([" ", "\n", ", ", "\r\n  "]), st.booleans())
def test_distinct_words_in_order_are_exact(ranks: list[int], between: str, literal: bool) -> None:
    words = [f"w{'abcdefghijklmnopqrstuvwxyzäöüßéè'[rank]}" for rank in range(31)]
    text = between.join(words)
    said = [("T", words[rank]) for rank in ranks]
    found = ground(text, said, literal=literal)
    assert [text[one.span.start : one.span.end] if one.span else None for one in found] == [word for _, word in said]
    assert all(one.status == "exact" for one in found)


@given(slices())
def test_all_repeats_are_placed(case: tuple[str, list[tuple[int, int]]]) -> None:
    """Whole words said as often as they stand there each get a place of their own."""
    text = case[0].replace("İ", "i").replace("Σ", "s")  # test_words_whose_lower_case_depends_on_context_are_exact is about these
    words = re.findall(r"[^\W\d_]+|\d+", NormalizedText.of(text).text)
    found = ground(text, [("T", word) for word in words])
    assert all(one.span is not None for one in found)
    assert [flat(text[one.span.start : one.span.end]) for one in found if one.span] == words
