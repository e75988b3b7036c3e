"""Guesses of inline answers: what was learned from one answer comes back for the next, and may always be said."""

from __future__ import annotations

import random
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.prompts.automata import automaton_of, follower_of
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.inline_habits import InlineFollower
from clinical_ie.prompts.tag_habits import TagHabits
from tests.prompts.test_inline_grammar import walk

TYPES = ("Drug", "Dose", "Sign")
LABELS = (("R", frozenset({(0, 1)})),)
SAID = "Takes {aspirin|Drug} {81 mg|Dose} daily, denies {chest pain|Sign}. "


def text_of(said: str) -> str:
    return re.sub(r"\|[^}]*\}|\{", "", said)


def learned(*answers: str, pieces: int = 7) -> TagHabits:
    """What answers teach that come a few characters at a time."""
    habits = TagHabits()
    for answer in answers:
        follower = InlineFollower(habits)
        for start in range(0, len(answer), pieces):
            follower.follow(answer[start : start + pieces])
    return habits


def guess(habits: TagHabits, said: str, text: str, labels: tuple = ()) -> str:  # type: ignore[type-arg]
    grammar = Grammar("inline", text, TYPES, labels)
    automaton, follower = automaton_of(grammar), follower_of(grammar, habits)
    state = automaton.step(automaton.start(), said.encode())
    assert state is not None
    assert follower is not None
    follower.follow(said)
    return automaton.likely(state, follower).decode()


def test_the_same_sentence_is_guessed_from_everywhere() -> None:
    for place in range(len(SAID) - 1):
        assert SAID.startswith(guess(learned(SAID), SAID[:place], text_of(SAID)).rstrip(), place), SAID[:place]


def test_types_that_share_their_words_are_guessed_together() -> None:
    said = "He {smokes|Drug,Sign} daily. "
    assert guess(learned(said), "", text_of(said)).rstrip() == said.rstrip()
    assert guess(learned(said), "He {smokes|Dr", text_of(said)).startswith("ug,Sign}")
    assert guess(learned(said), "He {smokes|Drug,", text_of(said)).startswith("Sign}")


def test_nested_mentions_are_guessed() -> None:
    said = "denies {{chest|Drug} pain|Sign} now. "
    assert guess(learned(said), "", text_of(said)).rstrip() == said.rstrip()


def test_mentions_say_the_next_numbers() -> None:
    said = "Takes {aspirin|Drug:1} {81 mg|Dose:2} daily. Takes {aspirin|Drug:3} "
    text = text_of(said) + "daily."
    assert guess(learned(said), "", text, LABELS).startswith("Takes {aspirin|Drug:1} {81 mg|Dose:2} daily. Takes {aspirin|Drug:3} daily.")
    assert guess(learned(said), said[: said.index(":1")], text, LABELS).startswith(":1} {81 mg|Dose:2}")


def test_pieces_make_no_difference() -> None:
    assert learned(SAID, SAID, pieces=1) == learned(SAID, SAID, pieces=1000)


def test_nothing_is_known_at_first() -> None:
    text = "Takes aspirin daily, denies pain."
    assert guess(TagHabits(), "", text) == text
    assert guess(TagHabits(), "Takes {aspirin|", text).startswith("Drug}")


def test_signs_of_the_text_are_none() -> None:
    text = "a {b} c|d \\ x"
    assert guess(learned(r"a \{{b|Sign}\} "), "", text) == r"a \{{b|Sign}\} c\|d \\ x"


def test_types_of_any_letters_may_be_guessed_from_inside() -> None:
    """Tokens end inside of characters."""
    grammar = Grammar("inline", "a b", ("疾病", "药"))
    automaton, habits = automaton_of(grammar), learned("{a|疾病} ")
    said = "{a|疾病} b".encode()
    for place in range(len(said)):
        follower = follower_of(grammar, habits)
        assert follower is not None
        follower.follow(said[:place].decode("utf-8", "ignore"))
        state = automaton.step(automaton.start(), said[:place])
        assert state is not None
        likely = automaton.likely(state, follower)
        assert not likely or said[place] & 0xC0 == 0x80 or automaton.step(state, likely[:1]) is not None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["ab", "a", " ", " ", "5", "mg", ".", "{", "|", "}", "\\", "é", "😀", "\r\n"]), max_size=14).map("".join),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_every_guess_begins_with_what_may_be_said(text: str, linked: bool, seed: int) -> None:
    """Its first character, at least: a guess is made from habits, and these may be of another text."""
    draw = random.Random(seed)
    grammar = Grammar("inline", text, TYPES, LABELS if linked else ())
    habits = learned(*(walk(grammar, random.Random(draw.random())) + " " for _ in range(3)))
    said = walk(grammar, draw).encode()
    automaton, follower = automaton_of(grammar), follower_of(grammar, habits)
    assert follower is not None
    state = automaton.start()
    for rank in range(len(said)):
        likely = automaton.likely(state, follower)
        if likely and said[rank] & 0xC0 != 0x80:
            assert automaton.step(state, likely[:1]) is not None, (said[:rank], likely)
        follower.follow(said[rank : rank + 1].decode("utf-8", "ignore"))
        after = automaton.step(state, said[rank : rank + 1])
        assert after is not None
        state = after
