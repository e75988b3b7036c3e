"""The grammar of inline responses: a copy of the text, its mentions in braces with the prompt's types behind them.

A brace opens at the beginning of a word, at most as many at one place as there are types; what was opened last is closed first, behind at
least one character, never behind a blank, and never twice over the same words. The types of a mention follow the order of the prompt.
A brace that is still open where the text ends is discarded. So every completion comes to an end, and the span of every mention is that
between its braces.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from clinical_ie.prompts.draft_proposer import DraftProposer
from clinical_ie.prompts.grammar import BLANK, Context, Grammar, State, by_byte
from clinical_ie.prompts.inline_proposer import InlineDraftProposer
from clinical_ie.prompts.responses.inline import escaped, numbered
from clinical_ie.prompts.text_copying_grammar import TextCopyingAutomaton

_OPENS, _BAR = b"{|"
_CONTEXT_BYTES = 400
"""Bytes of the text before and behind that a proposer is given."""


class InlineAutomaton(TextCopyingAutomaton):
    """The states and transitions of a grammar of inline responses.

    `opened` are braces: their place, and where the last of those that were opened at that place too was closed.
    """

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar)
        self._options = lru_cache(maxsize=64)(partial(_type_options, grammar.types))

    def _escaped(self, text: str) -> str:
        return escaped(text)

    def _proposed(self, state: State, proposer: DraftProposer) -> str:
        assert isinstance(proposer, InlineDraftProposer)
        _, context, opened, at = state[:4]
        mentions = [self._text(place, at) for place, _ in opened]
        before, after = self._text(at - _CONTEXT_BYTES, at), self._text(at, at + _CONTEXT_BYTES)
        number = self._next_number(context)
        if state[0] == "mark":
            after_brace = state[4] or proposer.just_closed
            return proposer.propose_text(mentions, before, after, after_brace=after_brace, number=number)
        options, offset = state[4:]
        if any(option[offset] & 0xC0 == 0x80 for option, _ in options):  # inside a character of a name
            return ""
        types = proposer.propose_types(mentions[-1], [option[offset:].decode() for option, _ in options], number)
        if number is not None:
            number += types.count(",") + 1
        return types + proposer.propose_text(mentions[:-1], before, after, after_brace=True, number=number)

    def _markup_successors(self, state: State) -> dict[int, State]:
        _, context, opened, at, _ = state
        found: dict[int, State] = {}
        # as many braces may open at one place as there are types
        if at in self._word_starts and sum(place == at for place, _ in opened) < len(self.grammar.types):
            found[_OPENS] = "mark", context, (*opened, (at, -1)), at, True
        if opened and at in self._character_starts and opened[-1][0] < at > opened[-1][1] and self.bytes[at - 1] != BLANK:
            found[_BAR] = "tag", context, opened, at, self._options(self._next_number(context), 0), 0
        return found

    def _tag_successors(self, state: State) -> dict[int, State]:
        _, context, opened, at, options, offset = state
        found: dict[int, State] = {}
        for byte, matching in by_byte(options, offset).items():
            option, (kind, more) = matching[0]
            if offset + 1 < len(option):
                found[byte] = "tag", context, opened, at, matching, offset + 1
                continue
            after = Context((*context.mention_types, kind), in_links=True)
            if more:
                found[byte] = "tag", after, opened, at, self._options(self._next_number(after), kind + 1), 0
            else:
                place, _ = opened[-1]
                around = opened[:-1]
                if around and around[-1][0] == place:
                    around = (*around[:-1], (place, at))
                found[byte] = "mark", after, around, at, False
        return found

    def _linkable_types(self, state: State) -> tuple[int, ...]:
        return tuple(state[1].mention_types)

    def _next_number(self, context: Context) -> int | None:
        """The number of the next mention, where mentions are numbered."""
        return len(context.mention_types) if self.grammar.labels else None


def _type_options(types: Sequence[str], number: int | None, first: int) -> tuple[tuple[bytes, Any], ...]:
    """Types from one rank on, each as the last or with others behind it."""
    found: list[tuple[bytes, Any]] = []
    for kind in range(first, len(types)):
        name = numbered(types[kind], number).encode()
        found.append((name + b"}", (kind, False)))
        if kind + 1 < len(types):
            found.append((name + b",", (kind, True)))
    return tuple(found)
