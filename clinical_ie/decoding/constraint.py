"""Constrained decoding of one completion, with backtracking to branch points where the model disagrees with its grammar.

A grammar never leads into a dead end, but a model may: having generated a type whose mention does not stand in the text, or misspelled a
word that it copies, it gives next to no probability to every allowed token. The least unlikely of them would be a mention that the
model never chose. Such a mention (or type, or link) is discarded: generation backtracks to the branch point where it began and takes the
best alternative there. Completions that copy their text go on with it instead.

References: Willard & Louf, Efficient guided generation for large language models (2023), for token masks from an automaton; Park et al.,
Grammar-aligned decoding (NeurIPS 2024), for how masks distort a model's distribution.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clinical_ie.decoding.token_trie import TokenTrie
from clinical_ie.prompts.automata import automaton_of, proposer_of
from clinical_ie.prompts.draft_proposer import MarkupNgrams
from clinical_ie.prompts.grammar import Grammar, State

_UTF8 = codecs.getincrementaldecoder("utf-8")
_BYTES_PER_DRAFT_TOKEN = 12
"""Bytes of draft text that are tokenised for each draft token."""

_MAX_BACKTRACKS = 64
"""Backtracks of one completion; after them the best allowed token is taken, so that every completion comes to an end."""


_SEPARATORS = frozenset(b"\t\n")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a token was chosen from, for its confidence.

    Attributes:
        token: It.
        allowed: All tokens that the grammar allowed.
        ending: Which of them end what is being spelled, where the chosen one does; else none.
        shares: Probabilities of those allowed, where they are known already.
    """

    token: int
    allowed: tuple[int, ...]
    ending: tuple[int, ...] = ()
    shares: tuple[float, ...] | None = None


@dataclass(slots=True)
class _BranchPoint:
    """Where a completion had several continuations: its length, their tokens with their probabilities, and the token taken.

    `remaining` is the probability of those that were not taken back.
    """

    length: int
    state: State
    candidates: dict[int, float]
    chosen: int
    remaining: float = 1.0
    everything: dict[int, float] = field(default_factory=dict)

    def best_alternative(self) -> tuple[int, float]:
        """The best token beside that taken, and the share that all others have of what remains without it."""
        others = {token: share for token, share in self.candidates.items() if token != self.chosen}
        remaining = self.remaining - self.candidates[self.chosen]
        if not others or remaining <= 0:
            return self.chosen, 0.0
        return max(others, key=others.__getitem__), sum(others.values()) / remaining


class Constraint:
    """Chooses the tokens of one completion.

    Args:
        grammar: Its completions.
        vocabulary: The tokens by their bytes.
        end: The token that ends a completion.
        tokenize: The ids of a text in the middle of a completion.
        backtrack_threshold: The probability that the allowed tokens must have together, where the model's first choice is not allowed;
            below it generation backtracks. 0 for never.
        ngrams: How other completions that copy their text marked it up, to learn from and to add to.
    """

    def __init__(
        self,
        grammar: Grammar,
        vocabulary: TokenTrie,
        end: int,
        tokenize: Callable[[str], list[int]],
        backtrack_threshold: float = 0.0,
        ngrams: MarkupNgrams | None = None,
    ) -> None:
        self._tokenize = tokenize
        self._grammar, self._ngrams = grammar, ngrams
        self._proposer = None if ngrams is None else proposer_of(grammar, ngrams)
        self._unread, self._decoder = b"", _UTF8("replace")
        self.automaton, self.vocabulary, self.end, self.backtrack_threshold = automaton_of(grammar), vocabulary, end, backtrack_threshold
        self.state = self.automaton.start()
        self.backtracks = 0
        self._branch_points: list[_BranchPoint] = []
        self._before = self.state
        self._allowed_before: list[int] = []
        self._known: dict[int, float] | None = None

    def choice(self, token: int) -> Choice | None:
        """What the last token was chosen from; None where it says nothing of a mention or a link.

        Where generation went back, what was discarded is among what was allowed: the alternative is no surer for it.
        """
        before = self._before
        if not self.automaton.spells(before, self.state):
            return None
        shares = self._known
        allowed = list(shares) if shares is not None else self._allowed_before or self._allowed_tokens(before)
        ending: list[int] = []
        if self.automaton.is_whole(before) and self._ends(token):
            ending = [other for other in allowed if self._ends(other)]
        return Choice(token, tuple(allowed), tuple(ending), None if shares is None else tuple(shares.values()))

    def _ends(self, token: int) -> bool:
        """Whether a token begins with what separates mentions, or ends the completion."""
        return token == self.end or self.vocabulary.token_bytes[token][0] in _SEPARATORS

    def _allowed_tokens(self, state: State) -> list[int]:
        return self.vocabulary.allowed(self.automaton, state) + [self.end] * self.automaton.may_end(state)

    def choose(self, logits: Tensor, best: int, generated_ids: list[int]) -> int:
        """The next token. The best of all is tried first; `generated_ids` is cut where generation backtracks.

        Shape:
            - logits: ``(vocabulary,)``
        """
        self._before, self._allowed_before, self._known = self.state, [], None
        after = self._next_state(self.state, best)
        if after is not None and not (self.backtrack_threshold and self.automaton.is_branch(self.state, after)):
            return self._advance(best, after)
        allowed = self._allowed_before = self._allowed_tokens(self.state)
        indices = torch.tensor(allowed, device=logits.device)
        token = best if after is not None else allowed[int(logits[indices].argmax())]
        if not self.backtrack_threshold:
            return self._advance(token)
        candidates = dict(zip(allowed, logits.float().softmax(0)[indices].tolist(), strict=True))
        if after is None and sum(candidates.values()) < self.backtrack_threshold:
            if (copied := self._next_text_token()) is not None:
                return self._advance(copied)
            if self.backtracks < _MAX_BACKTRACKS and (alternative := self._backtrack(generated_ids)) is not None:
                return alternative
        after = self._allowed_state(token)
        if self.automaton.is_branch(self.state, after):
            self._branch_points.append(_BranchPoint(len(generated_ids), self.state, candidates, token, everything=dict(candidates)))
        return self._advance(token, after)

    def draft(self, max_tokens: int) -> list[int]:
        """At most `max_tokens` draft tokens for speculative decoding."""
        if self._proposer is not None:
            self._proposer.observe(self._decoder.decode(self._unread))
            self._unread = b""
        return self._tokens(self.automaton.draft(self.state, self._proposer), max_tokens)

    def _next_text_token(self) -> int | None:
        """The next token of a text that is copied, as its tokenizer writes it."""
        tokens = self._tokens(self.automaton.remaining_text(self.state), 1)
        return tokens[0] if tokens and self._next_state(self.state, tokens[0]) is not None else None

    def _tokens(self, text_bytes: bytes, max_tokens: int) -> list[int]:
        text_bytes = text_bytes[: _BYTES_PER_DRAFT_TOKEN * (max_tokens + 1)]
        # inside of a character nothing is drafted; at the end one may be cut
        return [] if not text_bytes or text_bytes[0] & 0xC0 == 0x80 else self._tokenize(text_bytes.decode("utf-8", "ignore"))[:max_tokens]

    def _backtrack(self, generated_ids: list[int]) -> int | None:
        """Go back to the last branch point with a likely alternative and take that; None where there is no such branch point."""
        for number in reversed(range(len(self._branch_points))):
            branch_point = self._branch_points[number]
            token, share = branch_point.best_alternative()
            if share < self.backtrack_threshold:
                continue
            branch_point.remaining -= branch_point.candidates.pop(branch_point.chosen)
            branch_point.chosen = token
            del self._branch_points[number + 1 :], generated_ids[branch_point.length :]
            self.state = self._before = branch_point.state
            self._known = branch_point.everything
            self.backtracks += 1
            if self._ngrams is not None:
                self._proposer = proposer_of(self._grammar, self._ngrams)
                self._unread, self._decoder = b"".join(self.vocabulary.token_bytes[token] for token in generated_ids), _UTF8("replace")
            return self._advance(token)
        return None

    def _next_state(self, state: State, token: int) -> State | None:
        """The state behind a token, the same at the end; None where the token is not allowed."""
        if token == self.end:
            return state if self.automaton.may_end(state) else None
        token_bytes = self.vocabulary.token_bytes.get(token)
        return None if token_bytes is None else self.automaton.step(state, token_bytes)

    def _allowed_state(self, token: int) -> State:
        """The state behind an allowed token."""
        after = self._next_state(self.state, token)
        assert after is not None
        return after

    def _advance(self, token: int, after: State | None = None) -> int:
        self.state = self._allowed_state(token) if after is None else after
        if self._proposer is not None and token != self.end:
            self._unread += self.vocabulary.token_bytes[token]
        return token
