"""Words -> places, by hand and at random; distances beside the textbook's table."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.prompts import text_index
from clinical_ie.prompts.answers import NormalizedText
from clinical_ie.prompts.grounding import Grounded, counted, ground
from clinical_ie.prompts.text_index import TextIndex, distance

STATUSES = {"exact", "ordered", "fuzzy", "none"}
Said = tuple[str, str]


def places(text: str, mentions: Sequence[Said], literal: bool = False) -> list[tuple[int, int] | None]:
    """Start and end of each mention."""
    return [(one.span.start, one.span.end) if one.span else None for one in ground(text, mentions, literal=literal)]


def statuses(text: str, mentions: Sequence[Said], literal: bool = False) -> list[str]:
    return [one.status for one in ground(text, mentions, literal=literal)]


def drugs(*words: str) -> list[Said]:
    return [("Drug", word) for word in words]


# ---------------------------------------------------------------- where one place is meant


@pytest.mark.parametrize(
    ("text", "words", "place"),
    [
        ("takes aspirin daily", "aspirin", (6, 13)),
        ("takes aspirin daily", "Aspirin", (6, 13)),
        ("takes ASPIRIN daily", "aspirin", (6, 13)),
        ("takes aspirin daily", "  aspirin \n", (6, 13)),
        ("aspirin", "aspirin", (0, 7)),
        ("x-ray of the chest", "x - ray", (0, 5)),
        ("x - ray of the chest", "x-ray", (0, 7)),
        ("10mg bid", "10 mg", (0, 4)),
        ("10mg bid", "mg", (2, 4)),
        ("low\ndose heparin", "low dose heparin", (0, 16)),
        ("low\r\n  dose\theparin", "low dose heparin", (0, 19)),
        ("  low  dose", "low\n dose", (2, 11)),
        ("low\u00a0dose", "low dose", (0, 8)),
        ("trägt Höhenangst 😀 vor", "Höhenangst", (6, 16)),
        ("😀😀 fever", "fever", (3, 8)),
        ("😀 fever", "😀", (0, 1)),
        ("発熱 と 咳", "咳", (5, 6)),
        ("p<0.05 & so", "<0.05", (1, 6)),
        ("(fever)", "fever)", (1, 7)),
        ("no fever.", "fever.", (3, 9)),
    ],
)
def test_one_place(text: str, words: str, place: tuple[int, int]) -> None:
    found = ground(text, [("T", words)])
    assert [(one.span.start, one.span.end) if one.span else None for one in found] == [place]
    assert found[0].status == "exact"


def test_whole_words_come_before_parts_of_words() -> None:
    assert places("Vitamin A and a banana", drugs("a")) == [(14, 15)]
    assert places("painful, no pain", drugs("pain")) == [(12, 16)]


def test_case_decides_between_places() -> None:
    assert places("he and HE and he", drugs("HE")) == [(7, 9)]


@pytest.mark.parametrize("word", ["ΟΔΟΣ", "İLAÇ"])
def test_words_whose_lower_case_depends_on_context_are_exact(word: str) -> None:
    """Final sigma, and the dotted capital I that becomes two characters."""
    found = ground(f"a {word[:-1]}Q then {word} b", [("T", word)])
    assert [(one.span.start, one.span.end) if one.span else None for one in found] == [(12, 16)]
    assert found[0].status == "exact"


def test_empty_text_and_empty_lists() -> None:
    assert ground("", []) == []
    assert ground("fever", []) == []
    assert ground("", drugs("fever", "")) == [Grounded(None, "none")] * 2
    assert ground(" \n", drugs("fever", " ")) == [Grounded(None, "none")] * 2


@pytest.mark.parametrize("words", ["", " ", "\n\t", "\u00a0", " ... ", "..."])
@pytest.mark.parametrize("literal", [False, True])
def test_nothing_said_is_nowhere(words: str, literal: bool) -> None:
    assert ground("a fever", [("T", "a"), ("T", words), ("T", "fever")], literal=literal)[1] == Grounded(None, "none")


# ---------------------------------------------------------------- several places


def test_repeats_take_successive_places() -> None:
    text = "pain, later pain, then pain"
    assert places(text, drugs("pain", "pain", "pain")) == [(0, 4), (12, 16), (23, 27)]
    assert places(text, drugs("pain", "pain")) == [(0, 4), (12, 16)]


def test_what_is_said_more_often_than_it_stands_there_is_nowhere() -> None:
    assert places("pain, later pain", drugs("pain", "pain", "pain")) == [(0, 4), (12, 16), None]
    assert statuses("pain once", drugs("pain", "pain"))[1] == "none"


def test_repeats_fall_back_on_places_in_other_case() -> None:
    """Generators level the case of what they repeat."""
    assert places("Pain and pain", drugs("pain", "pain")) == [(0, 4), (9, 13)]


def test_repeats_fall_back_on_places_inside_words() -> None:
    """Guidelines cut off plural endings; MACCROBAT has "BAL" in "BALs", "platelet count" in "platelet counts"."""
    text = "platelet count, then platelet counts"
    assert places(text, drugs("platelet count", "platelet count")) == [(0, 14), (21, 35)]


@pytest.mark.parametrize(("one", "other"), [("pain", "Pain"), ("x-ray", "x - ray"), ("headache", "headacke")])
def test_one_place_is_given_once_to_a_type_however_it_is_spelled(one: str, other: str) -> None:
    found = places(f"a {one} b", drugs(one, other))
    assert found == [(2, 2 + len(one)), None]


def test_two_types_may_share_a_place() -> None:
    assert places("a pain b", [("Problem", "pain"), ("Sign", "pain")]) == [(2, 6), (2, 6)]
    text = "pain b pain"
    said = [("Problem", "pain"), ("Sign", "pain")] * 2
    assert places(text, said) == [(0, 4), (0, 4), (7, 11), (7, 11)]


def test_certain_neighbours_decide() -> None:
    text = "pain, fever, pain, cough, pain"
    assert places(text, drugs("fever", "pain", "cough")) == [(6, 11), (13, 17), (19, 24)]
    assert places(text, drugs("cough", "pain"))[1] == (26, 30)
    assert places(text, drugs("pain", "fever"))[0] == (0, 4)
    assert statuses(text, drugs("fever", "pain", "cough")) == ["exact", "ordered", "exact"]


def test_nested_mentions() -> None:
    text = "severe chest pain at rest"
    said = [("Problem", "severe chest pain"), ("Site", "chest"), ("Problem", "pain")]
    assert places(text, said) == [(0, 17), (7, 12), (13, 17)]
    assert statuses(text, said) == ["exact"] * 3


def test_nested_mention_of_a_repeated_word() -> None:
    """Said right behind the longer one, "pain" is the one inside where there is no other."""
    text = "chest pain and fever"
    assert places(text, [("P", "chest pain"), ("P", "pain"), ("P", "fever")]) == [(0, 10), (6, 10), (15, 20)]


def test_a_repeated_word_is_rather_not_the_one_inside_a_longer_mention() -> None:
    assert places("chest pain, then pain", drugs("chest pain", "pain")) == [(0, 10), (17, 21)]


def test_overlapping_mentions() -> None:
    assert places("left arm pain", [("Site", "left arm"), ("Problem", "arm pain")]) == [(0, 8), (5, 13)]


def test_lists_by_type() -> None:
    """Each type follows the text, the list as a whole does not."""
    text = "aspirin for pain, heparin for pain, iron for pain, aspirin for fever"
    said = [("Drug", "aspirin"), ("Drug", "heparin"), ("Drug", "iron"), ("Drug", "aspirin"),
            ("Problem", "pain"), ("Problem", "pain"), ("Problem", "pain"), ("Problem", "fever")]  # fmt: skip
    expected = [(0, 7), (18, 25), (36, 40), (51, 58), (12, 16), (30, 34), (45, 49), (63, 68)]
    assert places(text, said) == expected


def test_a_repeated_word_stands_behind_what_was_said_before_it() -> None:
    text = "pain aspirin pain heparin pain iron pain"
    said = [("Drug", "aspirin"), ("Drug", "heparin"), ("Drug", "iron"), ("Drug", "pain")]
    assert places(text, said)[3] == (36, 40)


def test_shuffled_lists_keep_every_place() -> None:
    words = [f"word{letter}" for letter in "abcdefghij"] + ["pain"] * 5
    random.Random(0).shuffle(words)
    text = " ".join(words)
    shuffled = random.Random(1).sample(words, len(words))
    found = places(text, drugs(*shuffled))
    assert None not in found
    assert len(set(found)) == len(found)
    assert all(place is not None and text[slice(*place)] == word for place, word in zip(found, shuffled, strict=True))


# ---------------------------------------------------------------- discontinuous mentions


def test_fragments() -> None:
    found = ground("left and right arm", drugs("left ... arm"))
    assert found[0].span is not None
    assert found[0].span.fragments == ((0, 4), (15, 18))


def test_fragments_across_lines() -> None:
    found = ground("left\r\nupper and right\n arm", drugs("left upper ... arm"))
    assert found[0].span is not None
    assert found[0].span.fragments == ((0, 11), (23, 26))


def test_fragments_out_of_order_or_missing_are_nowhere() -> None:
    assert ground("left and right arm", drugs("arm ... left", "left ... leg", "left ... left")) == [Grounded(None, "none")] * 3


def test_dots_of_the_text_are_no_gap() -> None:
    found = ground("pain ... gone, gone", drugs("pain ... gone"))
    assert found[0].span is not None
    assert found[0].span.fragments == ((0, 13),)


def test_repeated_discontinuous_mentions_take_successive_places() -> None:
    found = ground("left and right arm; left and right arm", drugs("left ... arm", "left ... arm"))
    assert [one.span.fragments if one.span else None for one in found] == [((0, 4), (15, 18)), ((20, 24), (35, 38))]


def test_a_discontinuous_mention_is_not_found_twice_where_it_stands_once() -> None:
    found = ground("left and right arm", drugs("left ... arm", "left ... arm"))
    assert [one.status for one in found] == ["exact", "none"]


def test_a_discontinuous_mention_stands_between_its_neighbours() -> None:
    text = "left leg. Fever. left and right arm. Cough."
    found = ground(text, drugs("Fever", "left ... arm", "Cough"))
    assert found[1].span is not None
    assert found[1].span.fragments == ((17, 21), (32, 35))


# ---------------------------------------------------------------- what does not stand there to the letter


@pytest.mark.parametrize(
    ("text", "words", "place"),
    [
        ("takes acetaminophen daily", "acetaminophin", (6, 19)),
        ("takes acetaminophen daily", "acetaminphen", (6, 19)),
        ("takes acetaminophen daily", "acetaminopphen", (6, 19)),
        ("has chest pain today", "chest pian", (4, 14)),
        ("has chest pain today", "chst pain", (4, 14)),
        ("has left arm pain", "eft arm", (4, 12)),
        ("Überempfindlichkeit gegen Penicillin", "Überempfindlichkeit gegen Penizillin", (0, 36)),
        ("low\r\n dose heparin", "low dose heparrin", (0, 18)),
    ],
)
def test_typing_errors(text: str, words: str, place: tuple[int, int]) -> None:
    assert places(text, drugs(words)) == [place]
    assert statuses(text, drugs(words)) == ["fuzzy"]


def test_short_words_with_errors_are_found_between_their_neighbours() -> None:
    text = "aspirin for gut pain and heparin for leg pain"
    assert places(text, drugs("aspirin", "gutt paine", "heparin"))[1] == (12, 20)


def test_misspelt_and_right_spelling_share_the_places() -> None:
    text = "headache, then headache"
    assert places(text, drugs("headacke", "headache")) == [(0, 8), (15, 23)]


@pytest.mark.parametrize(
    "words", ["warfarin", "metastatic carcinoma of the lung", "zzz", "Ω", "🫀", "the patient denies any use of tobacco"]
)
def test_hallucinations_are_nowhere(words: str) -> None:
    text = "takes aspirin 5 mg daily for chest pain, given by nurse"
    assert ground(text, drugs("aspirin", words, "chest pain"))[1] == Grounded(None, "none")
    assert ground(text, drugs(words)) == [Grounded(None, "none")]


def test_a_hallucination_moves_nothing() -> None:
    text = "pain, fever, pain, cough, pain"
    said = drugs("fever", "pain", "cough")
    with_others = drugs("diabetes mellitus", "fever", "kidney stones", "pain", "hypertension", "cough")
    found = places(text, with_others)
    assert [found[1], found[3], found[5]] == places(text, said)


# ---------------------------------------------------------------- literal


def test_literal_mentions_may_stand_inside_words() -> None:
    assert places("hypertension", drugs("tension"), literal=True) == [(5, 12)]
    assert statuses("hypertension", drugs("tension"), literal=True) == ["exact"]


def test_literal_mentions_are_never_guessed() -> None:
    assert ground("takes acetaminophen", drugs("acetaminophin"), literal=True) == [Grounded(None, "none")]


def test_literal_case_comes_before_whole_words() -> None:
    """The letters are known: BC is not bc."""
    assert places("BC abcd", drugs("bc"), literal=True) == [(4, 6)]


def test_literal_white_space_comes_before_whole_words() -> None:
    assert places("b c abcd", drugs("bc"), literal=True) == [(5, 7)]


def test_literal_repeats_count_places_inside_words() -> None:
    """Constrained decoding may copy "pain" from "pain" and again from "painful": each has a place."""
    assert places("pain and painful", drugs("pain", "pain"), literal=True) == [(0, 4), (9, 13)]


# ---------------------------------------------------------------- at random

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


def flat(text: str) -> str:
    return " ".join(text.split())


# ---------------------------------------------------------------- work, counted


def steps(text: str, said: Sequence[Said]) -> int:
    """Steps of the interpreter while grounding, so that no clock is needed."""
    count = 0

    def watch(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        ground(text, said)
    finally:
        sys.settrace(before)
    return count


WORK = {
    "each said once": lambda n: (" ".join(f"w{rank}" for rank in range(n)), drugs(*(f"w{rank}" for rank in range(n)))),
    "backwards": lambda n: (" ".join(f"w{rank}" for rank in range(n)), drugs(*(f"w{rank}" for rank in range(n, 0, -1)))),
    "all repeats said": lambda n: ("pain " * n, drugs(*["pain"] * n)),
    "half of the repeats said": lambda n: ("pain " * n, drugs(*["pain"] * (n // 2))),
    "all repeats but one said": lambda n: ("pain " * n, drugs(*["pain"] * (n - 1))),
    "more said than there are": lambda n: ("pain " * n, drugs(*["pain"] * (2 * n))),
    "all misspelt": lambda n: ("headache " * n, drugs(*["headacke"] * n)),
    "misspelt in many ways": lambda n: ("headache fever " * n, drugs(*(f"headache{chr(97 + rank % 26)} fever" for rank in range(n)))),
    "none there": lambda n: ("pain " * n, drugs(*(f"zz{rank} qq" for rank in range(n)))),
    "fragments": lambda n: ("left and right arm. " * n, drugs(*["left ... arm"] * n)),
    "one long misspelt mention": lambda n: ("pain in the arm " * n, drugs("paim in teh arm " * n)),
    "one long invention": lambda n: (
        "alpha " + " ".join(f"w{rank}" for rank in range(n)) + " omega",
        drugs("alpha", "zz yy " * n, "omega"),
    ),
}


@pytest.mark.parametrize("name", WORK)
def test_work_grows_with_the_number_of_mentions(name: str) -> None:
    """Twice as much of everything is at most three times the work (which would be four, were it quadratic)."""
    size = 400 if "repeats" in name else 60
    small, large = (steps(*WORK[name](factor * size)) for factor in (1, 2))
    assert large < 3 * small, f"{large / small:.1f} times the steps"


def test_a_long_invention_is_not_compared_with_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that does not come to an end says one mention of thousands of characters."""
    compared = watched(monkeypatch)
    text = "alpha " + " ".join(f"w{rank}x" for rank in range(60)) + " omega"
    found = ground(text, drugs("alpha", "zz yy " * 60))
    assert found[1].status == "none"
    assert sum(compared) < 20 * len(text)


@pytest.mark.parametrize("words", ["pain in the arm", "paim in teh arm", "the the the"])
@pytest.mark.parametrize("repeats", [1, 5, 22])
def test_repeated_words_are_compared_a_few_times(words: str, repeats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer took 17 minutes for 355 characters of repeated words."""
    compared = watched(monkeypatch)
    text = "pain in the arm " * 22
    ground(text, [("S", " ".join([words] * repeats))] * 20)
    assert len(compared) <= 200


def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Characters of every comparison from here on."""
    compared: list[int] = []

    def counting(one: str, other: str) -> int:
        compared.append(len(other))
        return distance(one, other)

    monkeypatch.setattr(text_index, "distance", counting)
    return compared


# ---------------------------------------------------------------- distance


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


# ---------------------------------------------------------------- the index itself


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
