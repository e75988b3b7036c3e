"""Words -> places by hand: to the letter, misspelt, invented, literal."""

from __future__ import annotations

import pytest

from clinical_ie.prompts.grounding import Grounded, ground
from tests.prompts.grounding_cases import drugs, places, statuses


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
