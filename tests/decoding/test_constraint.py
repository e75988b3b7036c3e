"""Where a model wants what may not be said, the answer steps back or goes on with the text; it always comes to an end."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from clinical_ie.decoding.constraint import Constraint
from clinical_ie.decoding.vocabulary import TokenBytes, _Node
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar

END = 256
LETTERS = TokenBytes.__new__(TokenBytes)
"""One token for each byte, so that answers can be written down."""
LETTERS.spelled = {byte: bytes([byte]) for byte in range(256)}
LETTERS.root = _Node()
for _byte in range(256):
    LETTERS.root.children[_byte] = _Node()
    LETTERS.root.children[_byte].tokens.append(_byte)


def answer(grammar: Grammar, wants: Any, confidence: float) -> tuple[str, Constraint]:
    """The answer of a model whose probabilities behind what was said are `wants(said)`, character -> share, None for the end."""
    constraint = Constraint(grammar, LETTERS, END, lambda text: list(text.encode()), confidence)
    said: list[int] = []
    for _ in range(5000):
        shares = torch.full((257,), 1e-6)
        for character, share in wants(bytes(said).decode()).items():
            shares[END if character is None else ord(character)] = share
        scores = shares.log()
        token = constraint.choose(scores, int(scores.argmax()), said)
        if token == END:
            return bytes(said).decode(), constraint
        said.append(token)
    raise AssertionError("no end")


def scripted(text: str, otherwise: dict[str, dict[str | None, float]]) -> Any:
    """Wants a text letter by letter, but something else behind the beginnings named."""
    return lambda said: (
        otherwise.get(said)
        or ({text[len(said)] if len(said) < len(text) else None: 0.99} if text.startswith(said) else {None: 0.5, "z": 0.4})
    )


GROUPED = Grammar("grouped", "takes heparin and 5 mg", ("Drug", "Dose"))


def test_a_mention_that_is_not_in_the_text_is_withdrawn_with_its_type() -> None:
    wants = scripted("Drug\t heparin\nDose\t 7 mg", {"Drug\t heparin": {"\n": 0.6, None: 0.39}, "Drug\t heparin\nDose\t ": {"7": 0.999}})
    found, constraint = answer(GROUPED, wants, 0.3)
    assert found == "Drug\t heparin"
    assert constraint.withdrawn == 1
    forced, constraint = answer(GROUPED, wants, 0.0)
    assert forced.startswith("Drug\t heparin\nDose\t ")
    assert constraint.withdrawn == 0


def test_a_model_that_only_wants_what_may_not_be_said_is_held_to_it() -> None:
    """There is no way back that it would rather take, so the best of what may be said stands."""
    found, constraint = answer(GROUPED, lambda said: {"7": 0.9999}, 0.3)
    assert constraint.withdrawn == 0
    state = automaton_of(GROUPED).step(automaton_of(GROUPED).start(), found.encode())
    assert state is not None


def test_what_may_be_said_with_some_confidence_is_said() -> None:
    wants = scripted("Dose\t 5 mg", {"Dose\t ": {"7": 0.6, "5": 0.39}})
    found, constraint = answer(GROUPED, wants, 0.3)
    assert (found, constraint.withdrawn) == ("Dose\t 5 mg", 0)


MARKUP = Grammar("markup", "takes heparin <5 mg", ("Drug", "Dose"))
INLINE = Grammar("inline", "takes heparin <5 mg", ("Drug", "Dose"))
WHOLE = "takes <Drug>heparin</Drug> &lt;5 mg"


def test_markup_goes_on_with_the_text_where_the_model_misspells_it() -> None:
    found, constraint = answer(MARKUP, scripted(WHOLE, {"takes <Drug>hepa": {"x": 0.99, "<": 0.009}}), 0.3)
    assert (found, constraint.withdrawn) == (WHOLE, 0)
    forced, _ = answer(MARKUP, scripted(WHOLE, {"takes <Drug>hepa": {"x": 0.99, "<": 0.009}}), 0.0)
    assert forced.startswith("takes <Drug>hepa</"), "what went wrong before"


@pytest.mark.parametrize(
    ("grammar", "said", "begun"),
    [(MARKUP, "takes <Do", "takes "), (INLINE, "takes {heparin|Do", "takes "), (INLINE, "takes {heparin|Do", "takes {heparin")],
)
def test_a_type_that_was_not_asked_for_is_taken_back_and_the_text_goes_on(grammar: Grammar, said: str, begun: str) -> None:
    """`Dog` begins like `Dose`; the answer does not turn into what the model never meant, but goes back to where it wavered."""
    text = "takes heparin &lt;5 mg" if grammar is MARKUP else "takes heparin <5 mg"
    wanted = begun + text[len(begun.replace("{", "")) :]
    script = {said[:rank]: {said[rank]: 0.99} for rank in range(len(said))}
    script |= {said: {"g": 0.999}, begun: {said[len(begun)]: 0.6, wanted[len(begun)]: 0.39}}
    found, constraint = answer(grammar, scripted(wanted, script), 0.3)
    assert (found, constraint.withdrawn) == (wanted, 1)
    forced, constraint = answer(grammar, scripted(wanted, script), 0.0)
    assert "Dose" in forced
    assert not constraint.withdrawn


def test_markup_may_end_with_an_open_tag_which_is_no_mention() -> None:
    text = "takes <Drug>heparin &lt;5 mg"
    assert answer(MARKUP, scripted(text, {}), 0.3)[0] == text


@pytest.mark.parametrize("confidence", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("grammar", [GROUPED, MARKUP, INLINE, Grammar("lines", GROUPED.text, GROUPED.types, (("R", frozenset({(0, 1)})),))])
def test_whatever_a_model_wants_there_is_an_end(grammar: Grammar, confidence: float) -> None:
    draw = random.Random(0)
    letters = [*map(chr, range(32, 127)), "\n", "\t", None]
    withdrawn = 0
    for _ in range(15):
        found, constraint = answer(
            grammar, lambda _: {draw.choice(letters): draw.random(), draw.choice(letters): draw.random()}, confidence
        )
        automaton = automaton_of(grammar)
        state = automaton.step(automaton.start(), found.encode())
        assert state is not None
        assert automaton.may_end(state)
        withdrawn += constraint.withdrawn
        assert constraint.withdrawn <= 64
    assert bool(withdrawn) <= bool(confidence)
