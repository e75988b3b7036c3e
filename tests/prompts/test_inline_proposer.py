"""Drafts of inline responses: n-grams of one completion are proposed for the next, and the grammar accepts their first character."""

from __future__ import annotations

import random
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.prompts.automata import automaton_of, proposer_of
from clinical_ie.prompts.draft_proposer import MarkupNgrams
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.inline_proposer import InlineDraftProposer
from tests.prompts.inline_checker import walk

TYPES = ("Drug", "Dose", "Sign")
LABELS = (("R", frozenset({(0, 1)})),)
COMPLETION = "Takes {aspirin|Drug} {81 mg|Dose} daily, denies {chest pain|Sign}. "


def text_of(completion: str) -> str:
    return re.sub(r"\|[^}]*\}|\{", "", completion)


def learn(*completions: str, chunk: int = 7) -> MarkupNgrams:
    """N-grams of completions that come a few characters at a time."""
    ngrams = MarkupNgrams()
    for completion in completions:
        proposer = InlineDraftProposer(ngrams)
        for start in range(0, len(completion), chunk):
            proposer.observe(completion[start : start + chunk])
    return ngrams


def proposed(ngrams: MarkupNgrams, completion: str, text: str, labels: tuple = ()) -> str:  # type: ignore[type-arg]
    grammar = Grammar("inline", text, TYPES, labels)
    automaton, proposer = automaton_of(grammar), proposer_of(grammar, ngrams)
    state = automaton.step(automaton.start(), completion.encode())
    assert state is not None
    assert proposer is not None
    proposer.observe(completion)
    return automaton.draft(state, proposer).decode()


def test_the_same_sentence_is_proposed_from_everywhere() -> None:
    for place in range(len(COMPLETION) - 1):
        assert COMPLETION.startswith(proposed(learn(COMPLETION), COMPLETION[:place], text_of(COMPLETION)).rstrip(), place), COMPLETION[
            :place
        ]


def test_types_that_share_their_words_are_proposed_together() -> None:
    completion = "He {smokes|Drug,Sign} daily. "
    assert proposed(learn(completion), "", text_of(completion)).rstrip() == completion.rstrip()
    assert proposed(learn(completion), "He {smokes|Dr", text_of(completion)).startswith("ug,Sign}")
    assert proposed(learn(completion), "He {smokes|Drug,", text_of(completion)).startswith("Sign}")


def test_nested_mentions_are_proposed() -> None:
    completion = "denies {{chest|Drug} pain|Sign} now. "
    assert proposed(learn(completion), "", text_of(completion)).rstrip() == completion.rstrip()


def test_mentions_are_numbered() -> None:
    completion = "Takes {aspirin|Drug:1} {81 mg|Dose:2} daily. Takes {aspirin|Drug:3} "
    text = text_of(completion) + "daily."
    assert proposed(learn(completion), "", text, LABELS).startswith(
        "Takes {aspirin|Drug:1} {81 mg|Dose:2} daily. Takes {aspirin|Drug:3} daily."
    )
    assert proposed(learn(completion), completion[: completion.index(":1")], text, LABELS).startswith(":1} {81 mg|Dose:2}")


def test_chunks_make_no_difference() -> None:
    assert learn(COMPLETION, COMPLETION, chunk=1) == learn(COMPLETION, COMPLETION, chunk=1000)


def test_without_ngrams_the_text_is_proposed() -> None:
    text = "Takes aspirin daily, denies pain."
    assert proposed(MarkupNgrams(), "", text) == text
    assert proposed(MarkupNgrams(), "Takes {aspirin|", text).startswith("Drug}")


def test_braces_of_the_text_are_no_markup() -> None:
    text = "a {b} c|d \\ x"
    assert proposed(learn(r"a \{{b|Sign}\} "), "", text) == r"a \{{b|Sign}\} c\|d \\ x"


def test_types_of_any_letters_are_proposed_from_inside_a_character() -> None:
    """Tokens end inside characters."""
    grammar = Grammar("inline", "a b", ("疾病", "药"))
    automaton, ngrams = automaton_of(grammar), learn("{a|疾病} ")
    completion = "{a|疾病} b".encode()
    for place in range(len(completion)):
        proposer = proposer_of(grammar, ngrams)
        assert proposer is not None
        proposer.observe(completion[:place].decode("utf-8", "ignore"))
        state = automaton.step(automaton.start(), completion[:place])
        assert state is not None
        draft = automaton.draft(state, proposer)
        assert not draft or completion[place] & 0xC0 == 0x80 or automaton.step(state, draft[:1]) is not None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["ab", "a", " ", " ", "5", "mg", ".", "{", "|", "}", "\\", "é", "😀", "\r\n"]), max_size=14).map("".join),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_every_draft_begins_with_an_allowed_character(text: str, linked: bool, seed: int) -> None:
    """Its first character, at least: n-grams may be of another text."""
    draw = random.Random(seed)
    grammar = Grammar("inline", text, TYPES, LABELS if linked else ())
    ngrams = learn(*(walk(grammar, random.Random(draw.random())) + " " for _ in range(3)))
    completion = walk(grammar, draw).encode()
    automaton, proposer = automaton_of(grammar), proposer_of(grammar, ngrams)
    assert proposer is not None
    state = automaton.start()
    for rank in range(len(completion)):
        draft = automaton.draft(state, proposer)
        if draft and completion[rank] & 0xC0 != 0x80:
            assert automaton.step(state, draft[:1]) is not None, (completion[:rank], draft)
        proposer.observe(completion[rank : rank + 1].decode("utf-8", "ignore"))
        after = automaton.step(state, completion[rank : rank + 1])
        assert after is not None
        state = after
