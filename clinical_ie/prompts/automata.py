"""The automaton and the draft proposer of each grammar."""

from __future__ import annotations

from clinical_ie.prompts.draft_proposer import DraftProposer, MarkupNgrams
from clinical_ie.prompts.grammar import Automaton, Grammar
from clinical_ie.prompts.inline_grammar import InlineAutomaton
from clinical_ie.prompts.inline_proposer import InlineDraftProposer
from clinical_ie.prompts.markup_grammar import MarkupAutomaton
from clinical_ie.prompts.markup_proposer import MarkupDraftProposer


def automaton_of(grammar: Grammar) -> Automaton:
    """The automaton of a grammar."""
    return {"inline": InlineAutomaton, "markup": MarkupAutomaton}.get(grammar.response, Automaton)(grammar)


def proposer_of(grammar: Grammar, ngrams: MarkupNgrams) -> DraftProposer | None:
    """The n-gram draft proposer of completions that copy their text; None for others."""
    if not grammar.copies_text:
        return None
    return InlineDraftProposer(ngrams) if grammar.response == "inline" else MarkupDraftProposer(ngrams)
