"""Greedy generation: a shared opening is computed once, finished rows make room for waiting ones, grammars choose among few tokens.

Every step reads the last token of each row, what was guessed behind it, and the whole question of rows that begin, one behind the other
without padding.

Shape legend: ``N`` tokens of a step, ``T`` columns of the cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache

from clinical_ie.data.conversation import ConversationSubwords
from clinical_ie.decoding.attention import Layout, keeps_apart, laid_out, watched
from clinical_ie.decoding.constraint import Constraint
from clinical_ie.decoding.drafts import Drafts
from clinical_ie.decoding.key_values import KeyValues
from clinical_ie.decoding.lockstep import Lockstep
from clinical_ie.decoding.vocabulary import token_bytes
from clinical_ie.decoding.weights import ready_to_generate
from clinical_ie.models.decoder import Decoder
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.tag_habits import TagHabits

_READ = 2048
"""Tokens of questions that one step takes in, or one question."""


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
        batch_size: Requests side by side; one where the model has an attention of its own.
        draft: Most tokens that are guessed ahead where an answer copies its question.
        confidence: The share of the model's probability below which a constrained answer does not follow it, see `Constraint`.

    Raises:
        ValueError: A request without an opening or a question.
    """
    if not all(request.opening and request.question for request in requests):
        raise ValueError("a request without an opening or a question")
    answers = [Answer() for _ in requests]
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, request in enumerate(requests):
        groups.setdefault(request.opening, []).append(place)
    habits = TagHabits()
    lockstep = Lockstep(backbone, lambda opening: _read_nothing(backbone, subwords.end_id, opening=opening))
    with ready_to_generate(backbone):
        for opening, places in groups.items():
            # long questions first: what takes longest does not wait until the end
            waiting = deque(sorted(places, key=lambda place: -len(requests[place].question)))
            rows = min(batch_size, len(places))
            _Group(backbone, subwords, opening, requests, answers, rows, draft, confidence, habits, lockstep).run(waiting)
        lockstep.finish()
    return answers


def _read_nothing(backbone: Decoder, token: int, *, opening: bool) -> None:
    """One token, for nothing; see `Lockstep`."""
    device = next(backbone.parameters()).device
    ids = torch.tensor([[token]], device=device)
    hidden = backbone(ids, torch.zeros_like(ids), torch.ones(1, 1, 1, dtype=torch.bool, device=device), begin=opening)
    if not opening:
        backbone.logits(hidden[0])


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
        lockstep: Lockstep,
    ) -> None:
        self.backbone, self.requests, self.answers = backbone, requests, answers
        self.draft, self.confidence, self.habits, self.lockstep = draft, confidence, habits, lockstep
        self.subwords, self.end = subwords, subwords.end_id
        self.vocabulary = token_bytes(subwords.tokenizer) if any(request.grammar for request in requests) else None
        self.device = next(backbone.parameters()).device
        self.first = len(opening)
        self.rows: list[_Running] = []
        lockstep.before(opening=True)
        opened = DynamicCache()
        ids = torch.tensor([opening], device=self.device)
        positions = torch.arange(len(opening), device=self.device).unsqueeze(0)
        with watched() as calls:
            backbone(ids, positions, torch.ones(1, len(opening), len(opening), dtype=torch.bool, device=self.device).tril(), cache=opened)
        self.together = keeps_apart(calls, len(opened.layers))
        self.batch_size = batch_size if self.together else 1
        self.cache = KeyValues(opened, self.batch_size)

    def run(self, waiting: deque[int]) -> None:
        """Until nothing waits or runs."""
        while waiting or self.rows:
            self._step(self._admitted(waiting))

    def _admitted(self, waiting: deque[int]) -> list[_Running]:
        """Rows that begin: as many as there is room for, while their questions are not too much for one step."""
        found: list[_Running] = []
        read = 0
        while waiting and len(self.rows) + len(found) < self.batch_size:
            request = self.requests[waiting[0]]
            read += len(request.question)
            if found and read > _READ:
                break
            constraint = None
            if request.grammar is not None and self.vocabulary is not None:
                constraint = Constraint(request.grammar, self.vocabulary, self.end, self.subwords.continued, self.confidence, self.habits)
            self.cache.admit(len(self.rows) + len(found))
            found.append(_Running(waiting.popleft(), self.first + len(request.question), -1, constraint, Drafts(request.question)))
        return found

    def _step(self, new: list[_Running]) -> None:
        """Read what was said and guessed last, and the questions of new rows; say one more token in each row, or several."""
        guesses = [self._guess(row) for row in self.rows]
        spans = [
            (row.begin + len(self.answers[row.place].ids) - 1, (row.token, *guess)) for row, guess in zip(self.rows, guesses, strict=True)
        ]
        spans += [(self.first, self.requests[row.place].question) for row in new]
        hidden = self._read(spans, len(self.rows))
        ends = torch.tensor([len(ids) for _, ids in spans]).cumsum(0) - 1
        looked_at = torch.cat([torch.arange(int(ends[len(self.rows) - 1]) + 1 if self.rows else 0), ends[len(self.rows) :]])
        self.rows += new
        self._say(self.backbone.logits(hidden[0, looked_at.to(self.device)]), [*guesses, *([()] * len(new))])
        self._leave()

    def _read(self, spans: Sequence[tuple[int, Sequence[int]]], old: int) -> Tensor:
        """Hidden states of tokens that stand at some position and behind it in each row, those of `old` rows first.

        Shape:
            - result: ``(1, N, H)``
        """
        ids = torch.tensor([[token for _, some in spans for token in some]], device=self.device)
        places = [place for first, some in spans for place in range(first, first + len(some))]
        positions = torch.tensor([places], device=self.device)
        keys = torch.arange(-self.backbone.virtual, max(places) + 1, device=self.device).unsqueeze(0)
        widths = [len(some) for _, some in spans]
        columns = [place + self.backbone.virtual for place in places]
        layout = Layout.of((widths[:old], widths[old:]), columns, self.device)
        self.cache.expect(layout, len(spans), keys.shape[1])
        self.lockstep.before(opening=False)
        with laid_out(layout) if self.together else nullcontext():
            visible = keys.unsqueeze(1) <= positions.unsqueeze(2)
            hidden: Tensor = self.backbone(ids, positions, visible, cache=self.cache, key_positions=keys, begin=False)
        return hidden

    def _guess(self, row: _Running) -> tuple[int, ...]:
        """What a row may say next: what its constraint expects, or what follows its last tokens in the question."""
        said = self.answers[row.place].ids
        most = min(self.draft, self.requests[row.place].most - len(said) - 1)
        if most < 1:
            return ()
        if row.constraint is not None and (likely := row.constraint.likely(most)):
            return tuple(likely)
        return row.drafts.guess(said, most)

    def _say(self, scores: Tensor, guesses: Sequence[tuple[int, ...]]) -> None:
        """Take the best token that is allowed in each row, and the next one while the guess was right.

        Shape:
            - scores: ``(tokens, vocabulary)``, row by row those of its last token and of its guesses
        """
        best = scores.float().argmax(1).tolist()  # the half as long as in bfloat16
        first = 0
        for row, guess in zip(self.rows, guesses, strict=True):
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
            first += 1 + len(guess)

    def _leave(self) -> None:
        """The last rows take the places of those that have ended."""
        for rank in reversed(range(len(self.rows))):
            if self.rows[rank].done:
                last = self.rows.pop()
                if rank < len(self.rows):
                    self.rows[rank] = last
                    self.cache.move(len(self.rows), rank)
