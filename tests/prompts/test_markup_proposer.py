"""Drafts of markup: n-grams of one completion are proposed for the next, and the bare text where nothing is known."""

from __future__ import annotations

from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.draft_proposer import MarkupNgrams
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.markup_proposer import MarkupDraftProposer

TYPES = ("Drug", "Dose", "Sign")
COMPLETION = "Takes <Drug>aspirin</Drug> <Dose>81 mg</Dose> daily, denies <Sign>chest <Drug>pain</Drug></Sign>. "


def text_of(completion: str) -> str:
    for name in TYPES:
        completion = completion.replace(f"<{name}>", "").replace(f"</{name}>", "")
    return completion


def learn(*completions: str, chunk: int = 7) -> MarkupNgrams:
    """N-grams of completions that come a few characters at a time."""
    ngrams = MarkupNgrams()
    for completion in completions:
        proposer = MarkupDraftProposer(ngrams)
        for start in range(0, len(completion), chunk):
            proposer.observe(completion[start : start + chunk])
    return ngrams


def proposed(ngrams: MarkupNgrams, completion: str, text: str) -> str:
    automaton = automaton_of(Grammar("markup", text, TYPES))
    state = automaton.step(automaton.start(), completion.encode())
    assert state is not None
    return automaton.draft(state, MarkupDraftProposer(ngrams)).decode()


def test_the_same_sentence_is_proposed_as_it_was_marked() -> None:
    completion = COMPLETION.replace("<Sign>chest <Drug>pain</Drug></Sign>", "<Sign>pain</Sign>")
    ngrams = learn(completion)
    for place in range(len(completion) - 1):
        if completion[place] == "<" or "<" not in completion[place - 1 : place]:
            assert completion.startswith(proposed(ngrams, completion[:place], text_of(completion)).rstrip(), place), completion[:place]


def test_nested_mentions_are_proposed() -> None:
    assert proposed(learn(COMPLETION), "", text_of(COMPLETION)).rstrip() == COMPLETION.rstrip()


def test_chunks_make_no_difference() -> None:
    assert learn(COMPLETION, COMPLETION, chunk=1) == learn(COMPLETION, COMPLETION, chunk=1000)


def test_without_ngrams_the_text_is_proposed() -> None:
    text = "Takes aspirin daily, denies pain."
    assert proposed(MarkupNgrams(), "", text) == text
    assert proposed(MarkupNgrams(), "Takes <Drug>", text) == "aspirin</Drug> daily, denies pain."
    assert proposed(MarkupNgrams(), "Takes <Drug>aspi", text) == "rin</Drug> daily, denies pain."
    assert proposed(MarkupNgrams(), "Takes <Drug>aspirin<", text) == "/Drug> daily, denies pain."


def test_a_word_counts_more_behind_the_same_word() -> None:
    ngrams = learn("no <Sign>pain</Sign> x ", "chronic pain x ")
    assert proposed(ngrams, "", "no pain x") == "no <Sign>pain</Sign> x"
    assert proposed(ngrams, "", "chronic pain x") == "chronic pain x"
    assert proposed(ngrams, "", "some pain x") == "some pain x", "the last one that was seen"


def test_an_unknown_word_gets_the_type_that_followed_last_time() -> None:
    ngrams = learn("<Drug>a</Drug> <Dose>1</Dose> ", "<Drug>b</Drug> <Dose>2</Dose> ")
    proposer = MarkupDraftProposer(ngrams)
    proposer.observe("<Drug>c</Drug> ")
    assert proposer.propose_tag(["<Drug>", "<Dose>", "<Sign>"], "c ", "3 daily") == "<Dose>"


def test_types_of_another_prompt_are_left_out() -> None:
    ngrams = learn("<Other>pain</Other> ")
    assert MarkupDraftProposer(ngrams).propose_tag(["<Drug>", "<Sign>"], "", "pain") == "<Drug>"


def test_angle_brackets_of_a_text_are_no_markup() -> None:
    text = "BP < 120 & pulse > 60 today"
    assert proposed(learn("BP &lt; <Sign>120</Sign> "), "", text) == "BP &lt; <Sign>120</Sign> &amp; pulse > 60 today"
