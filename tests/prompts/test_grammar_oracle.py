"""A mention under our grammar is a substring as llguidance knows it, an independent oracle.

Its substring grammar lets a mention begin anywhere, ours at words: where every character is a word both must allow the same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import llguidance
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.prompts.answers import NormalizedText
from clinical_ie.prompts.grammar import Automaton, Grammar
from tests.prompts.test_grammar import texts

NEWLINE = 10
signs = st.lists(st.sampled_from(["+", "-", "+-", "😀", "👩🏽", "…", "+"]), min_size=1, max_size=10).map("".join)


def matcher(text: str) -> Any:
    grammar = 'start: "A\\t" MENTION\nMENTION: %regex { "substring_chars": ' + json.dumps(text, ensure_ascii=False) + " }\n"
    tokenizer = llguidance.LLTokenizer("byte")
    found = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_lark(grammar))
    assert not found.is_error()
    assert found.consume_tokens([65, 9])
    return found


def allowed(found: Any) -> set[int]:
    """Bytes that may come next; tokens from 256 on are the tokenizer's own."""
    mask = found.compute_bitmask()
    return {byte for byte in range(256) if mask[byte // 8] >> (byte % 8) & 1}


def walk(text: str, seed: int) -> Iterator[tuple[Automaton, Any, int, set[int], Any]]:
    """One mention at random: the automaton, its state, the mention's length so far, the bytes it may go on with, and the oracle there."""
    draw = random.Random(seed)
    automaton = Automaton(Grammar("lines", text, ("A",)))
    state = automaton.step(automaton.start(), b"A\t")
    oracle = matcher(NormalizedText.of(text).text) if state is not None else None
    for length in range(40):
        if state is None:
            return
        ours = {byte for byte in automaton.successors(state) if byte != NEWLINE}
        yield automaton, state, length, ours, oracle
        if not ours:
            return
        byte = draw.choice(sorted(ours))
        state = automaton.successors(state)[byte]
        assert oracle.consume_token(byte)


@settings(max_examples=200, deadline=None)
@given(signs, st.integers(0, 1 << 30))
def test_the_same_bytes_where_every_character_is_a_word(text: str, seed: int) -> None:
    steps = 0
    for automaton, state, length, ours, oracle in walk(text, seed):
        assert ours == allowed(oracle)
        if length:
            assert automaton.may_end(state) == oracle.is_accepting()
        steps += 1
    assert steps > 1


@settings(max_examples=200, deadline=None)
@given(texts, st.integers(0, 1 << 30))
def test_only_substrings(text: str, seed: int) -> None:
    for _, _, _, ours, oracle in walk(text, seed):
        assert ours <= allowed(oracle)
