"""Guesses of marked-up text: what was learned from one answer comes back for the next, and nothing but the text where nothing is known."""

from __future__ import annotations

from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.tag_habits import MarkupFollower, TagHabits

TYPES = ("Drug", "Dose", "Sign")
SAID = "Takes <Drug>aspirin</Drug> <Dose>81 mg</Dose> daily, denies <Sign>chest <Drug>pain</Drug></Sign>. "


def text_of(said: str) -> str:
    for name in TYPES:
        said = said.replace(f"<{name}>", "").replace(f"</{name}>", "")
    return said


def learned(*answers: str, pieces: int = 7) -> TagHabits:
    """What answers teach that come a few characters at a time."""
    habits = TagHabits()
    for answer in answers:
        follower = MarkupFollower(habits)
        for start in range(0, len(answer), pieces):
            follower.follow(answer[start : start + pieces])
    return habits


def guess(habits: TagHabits, said: str, text: str) -> str:
    automaton = automaton_of(Grammar("markup", text, TYPES))
    state = automaton.step(automaton.start(), said.encode())
    assert state is not None
    return automaton.likely(state, MarkupFollower(habits)).decode()


def test_the_same_sentence_is_guessed_as_it_was_marked() -> None:
    said = SAID.replace("<Sign>chest <Drug>pain</Drug></Sign>", "<Sign>pain</Sign>")
    habits = learned(said)
    for place in range(len(said) - 1):
        if said[place] == "<" or "<" not in said[place - 1 : place]:
            assert said.startswith(guess(habits, said[:place], text_of(said)).rstrip(), place), said[:place]


def test_nested_mentions_are_guessed() -> None:
    assert guess(learned(SAID), "", text_of(SAID)).rstrip() == SAID.rstrip()


def test_pieces_make_no_difference() -> None:
    assert learned(SAID, SAID, pieces=1) == learned(SAID, SAID, pieces=1000)


def test_nothing_is_known_at_first() -> None:
    text = "Takes aspirin daily, denies pain."
    assert guess(TagHabits(), "", text) == text
    assert guess(TagHabits(), "Takes <Drug>", text) == "aspirin</Drug> daily, denies pain."
    assert guess(TagHabits(), "Takes <Drug>aspi", text) == "rin</Drug> daily, denies pain."
    assert guess(TagHabits(), "Takes <Drug>aspirin<", text) == "/Drug> daily, denies pain."


def test_a_word_counts_more_behind_the_same_word() -> None:
    habits = learned("no <Sign>pain</Sign> x ", "chronic pain x ")
    assert guess(habits, "", "no pain x") == "no <Sign>pain</Sign> x"
    assert guess(habits, "", "chronic pain x") == "chronic pain x"
    assert guess(habits, "", "some pain x") == "some pain x", "the last one that was seen"


def test_an_unknown_word_gets_the_type_that_followed_last_time() -> None:
    habits = learned("<Drug>a</Drug> <Dose>1</Dose> ", "<Drug>b</Drug> <Dose>2</Dose> ")
    follower = MarkupFollower(habits)
    follower.follow("<Drug>c</Drug> ")
    assert follower.tag(["<Drug>", "<Dose>", "<Sign>"], "c ", "3 daily") == "<Dose>"


def test_types_of_another_question_are_left_out() -> None:
    habits = learned("<Other>pain</Other> ")
    assert MarkupFollower(habits).tag(["<Drug>", "<Sign>"], "", "pain") == "<Drug>"


def test_signs_of_tags_in_a_text_are_none() -> None:
    text = "BP < 120 & pulse > 60 today"
    assert guess(learned("BP &lt; <Sign>120</Sign> "), "", text) == "BP &lt; <Sign>120</Sign> &amp; pulse > 60 today"
