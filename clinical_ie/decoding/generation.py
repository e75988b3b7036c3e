"""Greedy generation: a shared opening is computed once, finished rows make room for waiting ones, grammars choose among few tokens.

Shape legend: ``B`` rows, ``Q`` tokens of the longest question, ``T`` columns of the cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache

from clinical_ie.data.conversation import ConversationSubwords
from clinical_ie.decoding.constraint import Constraint
from clinical_ie.decoding.drafts import Drafts
from clinical_ie.decoding.key_values import KeyValues
from clinical_ie.decoding.vocabulary import token_bytes
from clinical_ie.decoding.weights import ready_to_generate
from clinical_ie.models.decoder import Decoder
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.tag_habits import TagHabits

_CROWDED = 1.5
"""Columns of the cache for each that the oldest row needs, before those of wrong guesses are cleared away."""
_ENOUGH = 4
"""Waiting questions are taken in when a batch has lost one row in so many."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to answer: shared opening, question, most tokens of the answer, and what it may say."""

    opening: tuple[int, ...]
    question: tuple[int, ...]
    most: int
    grammar: Grammar | None = None


@dataclass(slots=True)
class Answer:
    """Tokens of an answer, whether it was cut off, and how often it took something back."""

    ids: list[int] = field(default_factory=list)
    cut: bool = False
    withdrawn: int = 0


@dataclass(slots=True)
class _Running:
    """A row of the batch: which request, where its answer begins, its last token, what it may say, and what it may copy."""

    place: int
    begin: int
    token: int
    constraint: Constraint | None
    drafts: Drafts
    done: bool = False


@torch.no_grad()
def generated(
    backbone: Decoder,
    subwords: ConversationSubwords,
    requests: Sequence[Request],
    *,
    batch_size: int = 8,
    draft: int = 0,
    confidence: float = 0.0,
) -> list[Answer]:
    """Answers in the order of the requests; the same tokens as one request at a time gives in exact arithmetic.

    Args:
        backbone: The decoder; its weights and mode are as before afterwards.
        subwords: Its tokenizer.
        requests: What to answer.
        batch_size: Requests side by side.
        draft: Most tokens that are guessed ahead where an answer copies its question.
        confidence: The share of the model's probability below which a constrained answer does not follow it, see `Constraint`.
    """
    answers = [Answer() for _ in requests]
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, request in enumerate(requests):
        groups.setdefault(request.opening, []).append(place)
    habits = TagHabits()
    with ready_to_generate(backbone):
        for opening, places in groups.items():
            # long questions first: what takes longest does not wait until the end
            waiting = deque(sorted(places, key=lambda place: -len(requests[place].question)))
            _Group(backbone, subwords, opening, requests, answers, batch_size, draft, confidence, habits).run(waiting)
    return answers


class _Group:
    """Requests with one opening on their way through a batch."""

    def __init__(
        self,
        backbone: Decoder,
        subwords: ConversationSubwords,
        opening: tuple[int, ...],
        requests: Sequence[Request],
        answers: list[Answer],
        batch_size: int,
        draft: int,
        confidence: float,
        habits: TagHabits,
    ) -> None:
        self.backbone, self.requests, self.answers = backbone, requests, answers
        self.batch_size, self.draft, self.confidence, self.habits = batch_size, draft, confidence, habits
        self.subwords, self.end = subwords, subwords.end_id
        self.vocabulary = token_bytes(subwords.tokenizer) if any(request.grammar for request in requests) else None
        self.device = next(backbone.parameters()).device
        self.first = len(opening)
        self.rows: list[_Running] = []
        self.cache: KeyValues | None = None
        cache = DynamicCache()
        ids = torch.tensor([opening], device=self.device)
        positions = torch.arange(len(opening), device=self.device).unsqueeze(0)
        causal = torch.ones(1, len(opening), len(opening), dtype=torch.bool, device=self.device).tril()
        backbone(ids, positions, causal, cache=cache)
        # virtual tokens stand before position 0
        held = torch.arange(-backbone.virtual, len(opening), device=self.device).unsqueeze(0)
        self.opening = KeyValues.of(cache, held)

    def run(self, waiting: deque[int]) -> None:
        """Until nothing waits or runs."""
        while waiting or self.rows:
            free = self.batch_size - len(self.rows)
            if waiting and (not self.rows or free * _ENOUGH >= self.batch_size):
                self._admit([waiting.popleft() for _ in range(min(free, len(waiting)))])
            if self.rows:
                self._step()

    def _admit(self, places: list[int]) -> None:
        """Read questions and say the first token of their answers."""
        questions = [self.requests[place].question for place in places]
        width = max(map(len, questions))
        pads = torch.tensor([width - len(question) for question in questions], device=self.device)
        ids = torch.tensor([[*([0] * (width - len(question))), *question] for question in questions], device=self.device)
        columns = torch.arange(width, device=self.device)
        valid = columns >= pads.unsqueeze(1)
        positions = (columns - pads.unsqueeze(1)).clamp_min(0) + self.first
        causal = torch.ones(width, width, dtype=torch.bool, device=self.device).tril() & valid.unsqueeze(1)
        cache = self.opening.repeated(len(places))
        visible = torch.cat([cache.valid.unsqueeze(1).expand(-1, width, -1), causal], 2)
        hidden = self.backbone(ids, positions, visible, cache=cache, cached_positions=cache.positions, begin=False)
        cache.grow(valid, positions)
        rows = []
        for place, question in zip(places, questions, strict=True):
            grammar = self.requests[place].grammar
            constraint = None
            if grammar is not None and self.vocabulary is not None:
                constraint = Constraint(grammar, self.vocabulary, self.end, self.subwords.continued, self.confidence, self.habits)
            rows.append(_Running(place, self.first + len(question), -1, constraint, Drafts(question)))
        self.cache = cache if self.cache is None else self.cache.joined(cache)
        self.rows += rows
        self._say(self.backbone.logits(hidden[:, -1]), [()] * len(rows), rows)
        self._leave()

    def _step(self) -> None:
        """Say one more token in every row, and as many as were guessed right."""
        assert self.cache is not None
        guesses = [self._guess(row) for row in self.rows]
        width = 1 + max(map(len, guesses))
        ids = torch.tensor(
            [[row.token, *guess, *([0] * (width - 1 - len(guess)))] for row, guess in zip(self.rows, guesses, strict=True)],
            device=self.device,
        )
        columns = torch.arange(width, device=self.device)
        positions = self._positions() + columns
        given = columns <= torch.tensor([[len(guess)] for guess in guesses], device=self.device)
        causal = torch.ones(width, width, dtype=torch.bool, device=self.device).tril() & given.unsqueeze(1)
        visible = torch.cat([self.cache.valid.unsqueeze(1).expand(-1, width, -1), causal], 2)
        hidden = self.backbone(ids, positions, visible, cache=self.cache, cached_positions=self.cache.positions, begin=False)
        right = self._say(self.backbone.logits(hidden[given]), guesses)
        self.cache.grow(columns <= torch.tensor(right, device=self.device).unsqueeze(1), positions)
        self.cache.forget(self._positions())  # what was taken back
        self._leave()

    def _positions(self) -> Tensor:
        """Where the last token of each row stands, ``(B, 1)``; what is before it is in the cache."""
        return torch.tensor([[row.begin + len(self.answers[row.place].ids) - 1] for row in self.rows], device=self.device)

    def _guess(self, row: _Running) -> tuple[int, ...]:
        """What a row may say next: what its constraint expects, or what follows its last tokens in the question."""
        said = self.answers[row.place].ids
        most = min(self.draft, self.requests[row.place].most - len(said) - 1)
        if most < 1:
            return ()
        if row.constraint is not None and (likely := row.constraint.likely(most)):
            return tuple(likely)
        return row.drafts.guess(said, most)

    def _say(self, scores: Tensor, guesses: Sequence[tuple[int, ...]], rows: Sequence[_Running] | None = None) -> list[int]:
        """Take the best token that is allowed in each row, and the next one while the guess was right; how many were.

        Shape:
            - scores: ``(tokens, vocabulary)``, row by row those of its last token and of its guesses
        """
        best = scores.float().argmax(1).tolist()  # the half as long as in bfloat16
        right: list[int] = []
        first = 0
        for row, guess in zip(self.rows if rows is None else rows, guesses, strict=True):
            answer = self.answers[row.place]
            count = 0
            while True:
                row.token, length = best[first + count], len(answer.ids)
                if row.constraint is not None:
                    row.token = row.constraint.choose(scores[first + count], row.token, answer.ids)
                    answer.withdrawn = row.constraint.withdrawn
                back = len(answer.ids) < length
                if row.token == self.end:
                    row.done = True
                    break
                answer.ids.append(row.token)
                if len(answer.ids) >= self.requests[row.place].most:
                    answer.cut = row.done = True
                    break
                if back or count >= len(guess) or guess[count] != row.token:
                    break
                count += 1
            right.append(count)
            first += 1 + len(guess)
        return right

    def _leave(self) -> None:
        """Rows that have ended make room; columns that mean nothing go when they are many."""
        assert self.cache is not None
        kept = [rank for rank, row in enumerate(self.rows) if not row.done]
        crowded = self.cache.width > _CROWDED * int(self.cache.valid.sum(1).max())
        if len(kept) < len(self.rows) or crowded:
            self.rows = [self.rows[rank] for rank in kept]
            self.cache = self.cache.kept(torch.tensor(kept, device=self.device)) if kept else None
