"""Where a model's first choice is not allowed, decoding backtracks or goes on with the text; every completion comes to an end."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from clinical_ie.decoding.constraint import Constraint
from clinical_ie.decoding.token_trie import TokenTrie, _TrieNode
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar

END = 256
LETTERS = TokenTrie.__new__(TokenTrie)
"""One token for each byte, so that answers can be written down."""
LETTERS.token_bytes = {byte: bytes([byte]) for byte in range(256)}
LETTERS.root = _TrieNode()
for _byte in range(256):
    LETTERS.root.children[_byte] = _TrieNode()
    LETTERS.root.children[_byte].tokens.append(_byte)


def completion(grammar: Grammar, wants: Any, threshold: float) -> tuple[str, Constraint]:
    """The completion of a model with the probabilities `wants(generated)`, character -> share, None for the end."""
    constraint = Constraint(grammar, LETTERS, END, lambda text: list(text.encode()), threshold)
    generated: list[int] = []
    for _ in range(5000):
        shares = torch.full((257,), 1e-6)
        for character, share in wants(bytes(generated).decode()).items():
            shares[END if character is None else ord(character)] = share
        scores = shares.log()
        token = constraint.choose(scores, int(scores.argmax()), generated)
        if token == END:
            return bytes(generated).decode(), constraint
        generated.append(token)
    raise AssertionError("no end")


def scripted(text: str, otherwise: dict[str, dict[str | None, float]]) -> Any:
    """Wants a text letter by letter, but something else behind the beginnings named."""
    return lambda generated: (
        otherwise.get(generated)
        or ({text[len(generated)] if len(generated) < len(text) else None: 0.99} if text.startswith(generated) else {None: 0.5, "z": 0.4})
    )


GROUPED = Grammar("grouped", "takes heparin and 5 mg", ("Drug", "Dose"))


def test_a_mention_that_is_not_in_the_text_is_discarded_with_its_type() -> None:
    wants = scripted("Drug\t heparin\nDose\t 7 mg", {"Drug\t heparin": {"\n": 0.6, None: 0.39}, "Drug\t heparin\nDose\t ": {"7": 0.999}})
    found, constraint = completion(GROUPED, wants, 0.3)
    assert found == "Drug\t heparin"
    assert constraint.backtracks == 1
    forced, constraint = completion(GROUPED, wants, 0.0)
    assert forced.startswith("Drug\t heparin\nDose\t ")
    assert constraint.backtracks == 0


def test_without_an_alternative_the_best_allowed_token_is_taken() -> None:
    """No branch point has a likely alternative."""
    found, constraint = completion(GROUPED, lambda generated: {"7": 0.9999}, 0.3)
    assert constraint.backtracks == 0
    state = automaton_of(GROUPED).step(automaton_of(GROUPED).start(), found.encode())
    assert state is not None


def test_allowed_tokens_above_the_threshold_are_taken() -> None:
    wants = scripted("Dose\t 5 mg", {"Dose\t ": {"7": 0.6, "5": 0.39}})
    found, constraint = completion(GROUPED, wants, 0.3)
    assert (found, constraint.backtracks) == ("Dose\t 5 mg", 0)


MARKUP = Grammar("markup", "takes heparin <5 mg", ("Drug", "Dose"))
INLINE = Grammar("inline", "takes heparin <5 mg", ("Drug", "Dose"))
WHOLE = "takes <Drug>heparin</Drug> &lt;5 mg"


def test_markup_goes_on_with_the_text_where_the_model_misspells_it() -> None:
    found, constraint = completion(MARKUP, scripted(WHOLE, {"takes <Drug>hepa": {"x": 0.99, "<": 0.009}}), 0.3)
    assert (found, constraint.backtracks) == (WHOLE, 0)
    forced, _ = completion(MARKUP, scripted(WHOLE, {"takes <Drug>hepa": {"x": 0.99, "<": 0.009}}), 0.0)
    assert forced.startswith("takes <Drug>hepa</"), "what went wrong before"


@pytest.mark.parametrize(
    ("grammar", "generated", "begun"),
    [(MARKUP, "takes <Do", "takes "), (INLINE, "takes {heparin|Do", "takes "), (INLINE, "takes {heparin|Do", "takes {heparin")],
)
def test_an_unknown_type_backtracks_to_the_branch_point(grammar: Grammar, generated: str, begun: str) -> None:
    """`Dog` begins like `Dose`; the completion does not become what the model never chose, but goes back to the branch point."""
    text = "takes heparin &lt;5 mg" if grammar is MARKUP else "takes heparin <5 mg"
    wanted = begun + text[len(begun.replace("{", "")) :]
    script = {generated[:rank]: {generated[rank]: 0.99} for rank in range(len(generated))}
    script |= {generated: {"g": 0.999}, begun: {generated[len(begun)]: 0.6, wanted[len(begun)]: 0.39}}
    found, constraint = completion(grammar, scripted(wanted, script), 0.3)
    assert (found, constraint.backtracks) == (wanted, 1)
    forced, constraint = completion(grammar, scripted(wanted, script), 0.0)
    assert "Dose" in forced
    assert not constraint.backtracks


def test_an_open_tag_at_the_end_is_no_mention() -> None:
    text = "takes <Drug>heparin &lt;5 mg"
    assert completion(MARKUP, scripted(text, {}), 0.3)[0] == text


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("grammar", [GROUPED, MARKUP, INLINE, Grammar("lines", GROUPED.text, GROUPED.types, (("R", frozenset({(0, 1)})),))])
def test_every_completion_ends(grammar: Grammar, threshold: float) -> None:
    draw = random.Random(0)
    letters = [*map(chr, range(32, 127)), "\n", "\t", None]
    backtracks = 0
    for _ in range(15):
        found, constraint = completion(
            grammar, lambda _: {draw.choice(letters): draw.random(), draw.choice(letters): draw.random()}, threshold
        )
        automaton = automaton_of(grammar)
        state = automaton.step(automaton.start(), found.encode())
        assert state is not None
        assert automaton.may_end(state)
        backtracks += constraint.backtracks
        assert constraint.backtracks <= 64
    assert bool(backtracks) <= bool(threshold)
