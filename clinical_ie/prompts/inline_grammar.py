"""The grammar of inline answers: the text once more, to the letter, its mentions in braces with the question's types behind them.

A brace opens at the beginning of a word, at most as many at one place as there are types; what was opened last is closed first, behind at
least one character, never behind a blank, and never twice over the same words. The types that stand there follow the order of the question.
A brace that is still open where the text ends is withdrawn. So every completion comes to an end, and the place of every mention is that
where its braces stand.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from clinical_ie.prompts.grammar import BLANK, Context, Grammar, State, by_byte
from clinical_ie.prompts.inline_habits import InlineFollower
from clinical_ie.prompts.repeating_grammar import RepeatingAutomaton
from clinical_ie.prompts.responses.inline import escaped, numbered
from clinical_ie.prompts.tag_habits import Follower

_OPENS, _BAR = b"{|"
_SEEN = 400
"""Bytes of the text that are looked at for a guess."""


class InlineAutomaton(RepeatingAutomaton):
    """The states of a grammar of inline answers.

    `opened` are braces: their place, and where the last of those that were opened at that place too was closed.
    """

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar)
        self._options = lru_cache(maxsize=64)(self._type_options)

    def _escaped(self, text: str) -> str:
        return escaped(text)

    def _expected(self, state: State, follower: Follower) -> str:
        assert isinstance(follower, InlineFollower)
        _, context, opened, at = state[:4]
        mentions = [self._text(place, at) for place, _ in opened]
        before, after = self._text(at - _SEEN, at), self._text(at, at + _SEEN)
        number = self._next(context)
        if state[0] == "mark":
            fresh = state[4] or follower.closed
            return follower.ahead(mentions, before, after, fresh=fresh, number=number)
        options, offset = state[4:]
        if any(spelled[offset] & 0xC0 == 0x80 for spelled, _ in options):  # inside of a character of a name
            return ""
        tag = follower.tag(mentions[-1], [spelled[offset:].decode() for spelled, _ in options], number)
        if number is not None:
            number += tag.count(",") + 1
        return tag + follower.ahead(mentions[:-1], before, after, fresh=True, number=number)

    def _beside(self, state: State) -> dict[int, State]:
        _, context, opened, at, _ = state
        found: dict[int, State] = {}
        # as many braces may open at one place as there are types
        if at in self._word_places and sum(place == at for place, _ in opened) < len(self.grammar.types):
            found[_OPENS] = "mark", context, (*opened, (at, -1)), at, True
        if opened and at in self._whole_places and opened[-1][0] < at > opened[-1][1] and self.bytes[at - 1] != BLANK:
            found[_BAR] = "tag", context, opened, at, self._options(self._next(context), 0), 0
        return found

    def _tagging(self, state: State) -> dict[int, State]:
        _, context, opened, at, options, offset = state
        found: dict[int, State] = {}
        for byte, some in by_byte(options, offset).items():
            spelled, (kind, more) = some[0]
            if offset + 1 < len(spelled):
                found[byte] = "tag", context, opened, at, some, offset + 1
                continue
            after = Context((*context.said, kind), linking=True)
            if more:
                found[byte] = "tag", after, opened, at, self._options(self._next(after), kind + 1), 0
            else:
                place, _ = opened[-1]
                around = opened[:-1]
                if around and around[-1][0] == place:
                    around = (*around[:-1], (place, at))
                found[byte] = "mark", after, around, at, False
        return found

    def _said(self, state: State) -> tuple[int, ...]:
        return tuple(state[1].said)

    def _next(self, context: Context) -> int | None:
        """The number of the next mention, where mentions say theirs."""
        return len(context.said) if self.grammar.labels else None

    def _type_options(self, number: int | None, first: int) -> tuple[tuple[bytes, Any], ...]:
        """Types from one rank on, each as the last or with others behind it."""
        found: list[tuple[bytes, Any]] = []
        for kind in range(first, len(self.grammar.types)):
            name = numbered(self.grammar.types[kind], number).encode()
            found.append((name + b"}", (kind, False)))
            if kind + 1 < len(self.grammar.types):
                found.append((name + b",", (kind, True)))
        return tuple(found)
