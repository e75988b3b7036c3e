"""Which automaton a grammar has, and who follows its answers."""

from __future__ import annotations

from clinical_ie.prompts.grammar import Automaton, Grammar
from clinical_ie.prompts.inline_grammar import InlineAutomaton
from clinical_ie.prompts.inline_habits import InlineFollower
from clinical_ie.prompts.markup_grammar import MarkupAutomaton
from clinical_ie.prompts.tag_habits import Follower, MarkupFollower, TagHabits


def automaton_of(grammar: Grammar) -> Automaton:
    """The automaton of a grammar."""
    return {"inline": InlineAutomaton, "markup": MarkupAutomaton}.get(grammar.response, Automaton)(grammar)


def follower_of(grammar: Grammar, habits: TagHabits) -> Follower | None:
    """Who guesses how an answer goes on that repeats its text, from what others did at the same words."""
    if not grammar.repeats:
        return None
    return InlineFollower(habits) if grammar.response == "inline" else MarkupFollower(habits)
