"""Automata of grammars."""

from __future__ import annotations

import gc
import weakref
from typing import Literal

import pytest

from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar

NEAR = (("Near", frozenset({(0, 1), (1, 0)})),)


@pytest.mark.parametrize("response", ["lines", "grouped", "inline", "markup"])
def test_an_automaton_goes_with_its_request(response: Literal["lines", "grouped", "inline", "markup"]) -> None:
    """Without a garbage collection, which is rare where millions of objects are alive."""
    completions = {
        "lines": "Drug\taspirin\nDose\t5 mg\n>Near\t1 2",
        "grouped": "Drug\t aspirin\nDose\t 5 mg\n>Near\t1 2",
        "inline": "{aspirin|Drug:1} {5 mg|Dose:2}\n>Near\t1 2",
        "markup": "<Drug>aspirin</Drug> <Dose>5 mg</Dose>\n>Near\t1 2",
    }
    gc.disable()
    try:
        automaton = automaton_of(Grammar(response, "aspirin 5 mg", ("Drug", "Dose"), NEAR))
        state = automaton.start()
        for byte in completions[response].encode():
            state = automaton.successors(state)[byte]
        assert automaton.may_end(state)
        gone = weakref.ref(automaton)
        del automaton
        assert gone() is None
    finally:
        gc.enable()
