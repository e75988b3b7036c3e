"""One answer on its way through a grammar: the best token that may be said, or a step back where the model wants something else.

A grammar never leads into a dead end, but a model may: having named a type whose mention does not stand in the text, or misspelled a
word that it copies, it gives next to nothing to all that is left. The least unlikely of that would be a mention that the model never chose.
Such a mention (or type, or link) is withdrawn: the answer goes back to where it was begun and takes the next best way there. Between the
tags of an answer that repeats its text there is always a way: the text.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from clinical_ie.decoding.vocabulary import TokenBytes
from clinical_ie.prompts.automata import automaton_of, follower_of
from clinical_ie.prompts.grammar import Grammar, State
from clinical_ie.prompts.tag_habits import TagHabits

_UTF8 = codecs.getincrementaldecoder("utf-8")
_BYTES = 12
"""Bytes that are read ahead for each token."""

_MOST = 64
"""Steps back in one answer; after them the best of what is allowed is said, so that every answer comes to an end."""


@dataclass(slots=True)
class _Turn:
    """A place of an answer where another way could be taken: tokens said before, the ways with their probabilities, and that taken."""

    length: int
    state: State
    ways: dict[int, float]
    taken: int
    left: float = 1.0

    def other(self) -> tuple[int, float]:
        """The best way beside that taken, and the share that all others have of what remains without it."""
        others = {token: share for token, share in self.ways.items() if token != self.taken}
        remaining = self.left - self.ways[self.taken]
        if not others or remaining <= 0:
            return self.taken, 0.0
        return max(others, key=others.__getitem__), sum(others.values()) / remaining


class Constraint:
    """What one answer may say.

    Args:
        grammar: Its completions.
        vocabulary: What tokens spell.
        end: The token that ends an answer.
        tokenize: The ids of a text in the middle of an answer.
        confidence: The share of the model's probability that what may be said must have, where its favourite may not; below it the
            model is not followed. 0 for never.
        habits: What other answers that repeat their text have done at its words, to be learned from and added to.
    """

    def __init__(
        self,
        grammar: Grammar,
        vocabulary: TokenBytes,
        end: int,
        tokenize: Callable[[str], list[int]],
        confidence: float = 0.0,
        habits: TagHabits | None = None,
    ) -> None:
        self._tokenize = tokenize
        self._grammar, self._habits = grammar, habits
        self._follower = None if habits is None else follower_of(grammar, habits)
        self._spelled, self._decoder = b"", _UTF8("replace")
        self.automaton, self.vocabulary, self.end, self.confidence = automaton_of(grammar), vocabulary, end, confidence
        self.state = self.automaton.start()
        self.withdrawn = 0
        self._turns: list[_Turn] = []

    def choose(self, scores: Tensor, best: int, said: list[int]) -> int:
        """The next token. The best of all is looked at first; `said` is cut where the answer steps back.

        Shape:
            - scores: ``(vocabulary,)``
        """
        after = self._after(self.state, best)
        if after is not None and not (self.confidence and self.automaton.turned(self.state, after)):
            return self._go(best, after)
        allowed = self.vocabulary.allowed(self.automaton, self.state) + [self.end] * self.automaton.may_end(self.state)
        places = torch.tensor(allowed, device=scores.device)
        token = best if after is not None else allowed[int(scores[places].argmax())]
        if not self.confidence:
            return self._go(token)
        ways = dict(zip(allowed, scores.float().softmax(0)[places].tolist(), strict=True))
        if after is None and sum(ways.values()) < self.confidence:
            if (copied := self._copied()) is not None:
                return self._go(copied)
            if self.withdrawn < _MOST and (back := self._back(said)) is not None:
                return back
        after = self._reached(token)
        if self.automaton.turned(self.state, after):
            self._turns.append(_Turn(len(said), self.state, ways, token))
        return self._go(token, after)

    def likely(self, most: int) -> list[int]:
        """At most so many tokens that are likely said next."""
        if self._follower is not None:
            self._follower.follow(self._decoder.decode(self._spelled))
            self._spelled = b""
        return self._tokens(self.automaton.likely(self.state, self._follower), most)

    def _copied(self) -> int | None:
        """The next token of a text that is repeated, as its tokenizer writes it."""
        tokens = self._tokens(self.automaton.rest(self.state), 1)
        return tokens[0] if tokens and self._after(self.state, tokens[0]) is not None else None

    def _tokens(self, spelled: bytes, most: int) -> list[int]:
        spelled = spelled[: _BYTES * (most + 1)]
        # inside of a character nothing is guessed; at the end one may be cut
        return [] if not spelled or spelled[0] & 0xC0 == 0x80 else self._tokenize(spelled.decode("utf-8", "ignore"))[:most]

    def _back(self, said: list[int]) -> int | None:
        """Take another way at the last turn where there is one that is likely enough; None where there is none."""
        for number in reversed(range(len(self._turns))):
            turn = self._turns[number]
            token, share = turn.other()
            if share < self.confidence:
                continue
            turn.left -= turn.ways.pop(turn.taken)
            turn.taken = token
            del self._turns[number + 1 :], said[turn.length :]
            self.state = turn.state
            self.withdrawn += 1
            if self._habits is not None:
                self._follower = follower_of(self._grammar, self._habits)
                self._spelled, self._decoder = b"".join(self.vocabulary.spelled[token] for token in said), _UTF8("replace")
            return self._go(token)
        return None

    def _after(self, state: State, token: int) -> State | None:
        """The state behind a token, the same at the end; None where it may not be said."""
        if token == self.end:
            return state if self.automaton.may_end(state) else None
        spelled = self.vocabulary.spelled.get(token)
        return None if spelled is None else self.automaton.step(state, spelled)

    def _reached(self, token: int) -> State:
        """The state behind a token that may be said."""
        after = self._after(self.state, token)
        assert after is not None
        return after

    def _go(self, token: int, after: State | None = None) -> int:
        self.state = self._reached(token) if after is None else after
        if self._follower is not None and token != self.end:
            self._spelled += self.vocabulary.spelled[token]
        return token
