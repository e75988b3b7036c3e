"""Greedy generation with continuous batching, prefix caching, speculative decoding and grammar-constrained decoding.

- Prefix caching: a prefix that prompts share is prefilled once and copied into the KV cache of each of its sequences.
- Continuous batching: a finished sequence makes room for a waiting one, whatever batch of the data it came with. Every step reads the
  last token of each sequence, its draft tokens, and the whole suffix of the prompts that begin (chunked prefill), concatenated without
  padding (see `varlen_attention`).
- Speculative decoding: draft tokens come from the grammar's automaton, from n-grams of earlier completions or from prompt lookup; those
  that the model would have generated itself are accepted. The model's first choice among allowed tokens is always the result.

References: Yu et al., Orca (OSDI 2022), for continuous batching; Kwon et al., PagedAttention and vLLM (SOSP 2023), for prefix caching;
Agrawal et al., Sarathi-Serve (OSDI 2024), for prefill beside decoding; Leviathan et al., Speculative decoding (ICML 2023).

Shape legend: ``N`` tokens of a step, ``T`` positions of the cache.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from heapq import heappop, heappush

import torch
from torch import Tensor
from transformers import DynamicCache

from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.decoding.adapter_merging import InferenceWeights
from clinical_ie.decoding.constraint import Choice, Constraint
from clinical_ie.decoding.kv_cache import KVCache
from clinical_ie.decoding.prompt_lookup import PromptLookupProposer
from clinical_ie.decoding.rank_synchronization import RankSynchronizer
from clinical_ie.decoding.token_trie import token_trie
from clinical_ie.decoding.varlen_attention import VarlenLayout, record_attention_masks, supports_varlen_attention, use_layout
from clinical_ie.models.decoder import Decoder
from clinical_ie.prompts.draft_proposer import MarkupNgrams
from clinical_ie.prompts.grammar import Grammar

_MAX_PREFILL_TOKENS = 2048
"""Prompt tokens that one step prefills, or those of one prompt."""
_MAX_NGRAMS = 200_000
"""N-grams of earlier completions that are remembered."""
_DRAFT_TOKENS_OF_COPIES = 4


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt, as the ids of a prefix that requests share and of its own suffix; a limit; and the grammar of its completions."""

    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    max_new_tokens: int
    grammar: Grammar | None = None


@dataclass(slots=True)
class GeneratedSequence:
    """Tokens of a completion, whether `max_new_tokens` cut it off, and how often it backtracked.

    `logs` are, for each token and the end, its log-probability among the tokens that the grammar allowed and, where it ends what is being
    spelled, that of all tokens that do (0 elsewhere); None for tokens that say nothing of a mention or a link.
    """

    ids: list[int] = field(default_factory=list)
    truncated: bool = False
    backtracks: int = 0
    logs: list[tuple[float, float] | None] = field(default_factory=list, compare=False)


def generate(
    backbone: Decoder,
    subwords: ChatTokenizer,
    requests: Sequence[GenerationRequest],
    *,
    batch_size: int = 8,
    num_draft_tokens: int | None = 0,
    backtrack_threshold: float = 0.0,
    confidences: bool = False,
) -> list[GeneratedSequence]:
    """Completions in the order of the requests; see `GenerationQueue`."""
    queue = GenerationQueue(
        backbone,
        subwords,
        batch_size=max(1, min(batch_size, len(requests))),
        num_draft_tokens=num_draft_tokens,
        backtrack_threshold=backtrack_threshold,
        confidences=confidences,
    )
    for number, request in enumerate(requests):
        queue.add(str(number), request)
    found = queue.run(to_the_end=True)
    return [found[str(number)] for number in range(len(requests))]


@dataclass(slots=True)
class _RunningSequence:
    """A row of the batch: its request and what that is called, the completion so far, its constraint and its draft proposer."""

    name: str
    request: GenerationRequest
    constraint: Constraint | None
    prompt_lookup: PromptLookupProposer
    sequence: GeneratedSequence = field(default_factory=GeneratedSequence)
    last_token: int = -1
    finished: bool = False

    @property
    def last_position(self) -> int:
        """That of the last token."""
        return len(self.request.prefix_ids) + len(self.request.suffix_ids) + len(self.sequence.ids) - 1


class GenerationQueue:
    """Requests that wait, and the sequences that are generated side by side: one pass over any number of them.

    A completion has the tokens that its request alone gives in exact arithmetic, whatever is generated beside it. Ranks with sharded
    weights must call `run` equally often.

    Args:
        backbone: The decoder, whose weights must not change during the pass; they and its mode are as before after every call.
        subwords: Its tokenizer.
        batch_size: Sequences side by side; one where the model has an attention of its own.
        num_draft_tokens: Most draft tokens of a sequence in a step; 0 for no speculative decoding, None for 4 where a completion copies
            its text and none elsewhere.
        backtrack_threshold: Probability of the allowed tokens below which constrained generation backtracks, see `Constraint`.
        confidences: Keep the probabilities of tokens of constrained completions, see `GeneratedSequence`.
        on_step: Called after each step with the numbers of completions that are finished and of those that are not.
    """

    def __init__(
        self,
        backbone: Decoder,
        subwords: ChatTokenizer,
        *,
        batch_size: int = 8,
        num_draft_tokens: int | None = 0,
        backtrack_threshold: float = 0.0,
        confidences: bool = False,
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        self.backbone, self.subwords, self.end = backbone, subwords, subwords.end_id
        self.batch_size, self.num_draft_tokens, self.backtrack_threshold = batch_size, num_draft_tokens, backtrack_threshold
        self.steps = self.rows_of_steps = self.tokens = 0
        self.seconds = 0.0
        self.on_step, self.confidences = on_step, confidences
        self.device = next(backbone.parameters()).device
        self.rows: list[_RunningSequence] = []
        self._waiting: list[tuple[int, int, str, GenerationRequest]] = []
        self._added = 0
        self._prefixes: dict[tuple[int, ...], DynamicCache] = {}
        self._unread: dict[tuple[int, ...], None] = {}
        self._cache: KVCache | None = None
        self._is_varlen = True
        self._finished: dict[str, GeneratedSequence] = {}
        self._ngrams = MarkupNgrams()
        self._weights = InferenceWeights(backbone)
        self._synchronizer = RankSynchronizer(backbone)

    @property
    def occupancy(self) -> float:
        """The share of rows that were occupied in the steps so far; 0 before the first."""
        return self.rows_of_steps / (self.steps * self.batch_size) if self.steps else 0.0

    def add(self, name: str, request: GenerationRequest) -> None:
        """Let a request wait. Long prompts go first: what takes longest does not wait until the end.

        Raises:
            ValueError: A request without a prefix or a suffix.
        """
        if not request.prefix_ids or not request.suffix_ids:
            raise ValueError("a request without a prefix or a suffix")
        if request.prefix_ids not in self._prefixes:
            self._unread[request.prefix_ids] = None
        heappush(self._waiting, (-len(request.suffix_ids), self._added, name, request))
        self._added += 1

    @torch.no_grad()
    def run(self, *, to_the_end: bool) -> dict[str, GeneratedSequence]:
        """Generate while as many requests wait as there are rows, or until none waits or runs: what was finished, by name.

        With so many waiting, rows stay full and long prompts still go first, whatever order requests come in.
        """
        begun = time.perf_counter()
        with self._weights.in_place():
            while True:
                work = bool(self.rows or self._waiting) if to_the_end else len(self._waiting) >= self.batch_size
                prefix, step = self._synchronizer.wanted(prefix=bool(self._unread), step=work)
                if prefix:
                    self._read_prefix()
                elif step:
                    self._step()
                else:
                    break
        self._ngrams.forget_beyond(_MAX_NGRAMS)
        self.seconds += time.perf_counter() - begun
        finished, self._finished = self._finished, {}
        self.tokens += sum(len(sequence.ids) for sequence in finished.values())
        return finished

    def _dummy_forward(self, *, is_prefix: bool) -> None:
        """A forward pass of one token whose result nobody needs; see `RankSynchronizer`."""
        ids = torch.tensor([[self.end]], device=self.device)
        mask = torch.ones(1, 1, 1, dtype=torch.bool, device=self.device)
        hidden = self.backbone(ids, torch.zeros_like(ids), mask, with_virtual_tokens=is_prefix)
        if not is_prefix:
            self.backbone.logits(hidden[0])

    def _read_prefix(self) -> None:
        if not self._unread:
            self._dummy_forward(is_prefix=True)
            return
        prefix_ids = next(iter(self._unread))
        del self._unread[prefix_ids]
        cache = self._prefixes[prefix_ids] = DynamicCache()
        ids = torch.tensor([prefix_ids], device=self.device)
        positions = torch.arange(len(prefix_ids), device=self.device).unsqueeze(0)
        causal = torch.ones(1, len(prefix_ids), len(prefix_ids), dtype=torch.bool, device=self.device).tril()
        with record_attention_masks() as recorded:
            self.backbone(ids, positions, causal, cache=cache)
        if self._cache is None:
            self._is_varlen = supports_varlen_attention(recorded, len(cache.layers))
            self.batch_size = self.batch_size if self._is_varlen else 1
            self._cache = KVCache(cache, self.batch_size)

    def _admit(self) -> list[_RunningSequence]:
        """Start as many waiting requests as there are free rows, within the prefill budget of a step."""
        admitted: list[_RunningSequence] = []
        prefill_tokens = 0
        while self._waiting and len(self.rows) + len(admitted) < self.batch_size:
            prefill_tokens -= self._waiting[0][0]
            if admitted and prefill_tokens > _MAX_PREFILL_TOKENS:
                break
            *_, name, request = heappop(self._waiting)
            constraint = None
            if request.grammar is not None:
                vocabulary = token_trie(self.subwords.tokenizer)
                constraint = Constraint(
                    request.grammar, vocabulary, self.end, self.subwords.encode_continuation, self.backtrack_threshold, self._ngrams
                )
            assert self._cache is not None
            self._cache.admit(len(self.rows) + len(admitted), self._prefixes[request.prefix_ids])
            admitted.append(_RunningSequence(name, request, constraint, PromptLookupProposer(request.suffix_ids)))
        return admitted

    def _step(self) -> None:
        """One forward pass over last tokens, draft tokens and suffixes of admitted prompts; then one or more new tokens in each row."""
        if not self.rows and not self._waiting:
            self._dummy_forward(is_prefix=False)
            return
        admitted = self._admit()
        drafts = [self._draft(row) for row in self.rows]
        spans = [(row.last_position, (row.last_token, *draft)) for row, draft in zip(self.rows, drafts, strict=True)]
        spans += [(len(row.request.prefix_ids), row.request.suffix_ids) for row in admitted]
        hidden = self._forward(spans, len(self.rows))
        ends = torch.tensor([len(ids) for _, ids in spans]).cumsum(0) - 1
        # logits of all tokens of running rows, which verify their drafts, and of the last token of each prompt
        needed = torch.cat([torch.arange(int(ends[len(self.rows) - 1]) + 1 if self.rows else 0), ends[len(self.rows) :]])
        self.rows += admitted
        self._verify(self.backbone.logits(hidden[0, needed.to(self.device)]), [*drafts, *([()] * len(admitted))])
        self.steps, self.rows_of_steps = self.steps + 1, self.rows_of_steps + len(self.rows)
        self._evict_finished()
        if self.on_step is not None:
            left = len(self.rows) + len(self._waiting)
            self.on_step(self._added - left, left)

    def _forward(self, spans: Sequence[tuple[int, Sequence[int]]], running: int) -> Tensor:
        """Hidden states of the tokens of each row, given as the position of the first and their ids; `running` rows come first.

        Shape:
            - result: ``(1, N, H)``
        """
        ids = torch.tensor([[token for _, span_ids in spans for token in span_ids]], device=self.device)
        token_positions = [position for first, span_ids in spans for position in range(first, first + len(span_ids))]
        positions = torch.tensor([token_positions], device=self.device)
        key_positions = torch.arange(-self.backbone.num_virtual_tokens, max(token_positions) + 1, device=self.device).unsqueeze(0)
        lengths = [len(span_ids) for _, span_ids in spans]
        cache_positions = [position + self.backbone.num_virtual_tokens for position in token_positions]
        layout = VarlenLayout.of((lengths[:running], lengths[running:]), cache_positions, self.device)
        assert self._cache is not None
        self._cache.prepare(layout, len(spans), key_positions.shape[1])
        with use_layout(layout) if self._is_varlen else nullcontext():
            causal = key_positions.unsqueeze(1) <= positions.unsqueeze(2)
            hidden: Tensor = self.backbone(
                ids, positions, causal, cache=self._cache, key_positions=key_positions, with_virtual_tokens=False
            )
        return hidden

    def _draft(self, row: _RunningSequence) -> tuple[int, ...]:
        """Draft tokens of a row, from its constraint or by prompt lookup."""
        generated_ids, grammar, most = row.sequence.ids, row.request.grammar, self.num_draft_tokens
        if most is None:
            most = _DRAFT_TOKENS_OF_COPIES if grammar is not None and grammar.copies_text else 0
        max_tokens = min(most, row.request.max_new_tokens - len(generated_ids) - 1)
        if max_tokens < 1:
            return ()
        if row.constraint is not None and (draft := row.constraint.draft(max_tokens)):
            return tuple(draft)
        return row.prompt_lookup.propose(generated_ids, max_tokens)

    def _verify(self, logits: Tensor, drafts: Sequence[tuple[int, ...]]) -> None:
        """Append the best allowed token of each row, and further ones while draft tokens are accepted.

        Shape:
            - logits: ``(tokens, vocabulary)``, row by row those of its last token and of its draft tokens
        """
        best = logits.float().argmax(1).tolist()  # takes half as long as in bfloat16
        first = 0
        chosen: list[tuple[GeneratedSequence, int, int, Choice]] = []
        for row, draft in zip(self.rows, drafts, strict=True):
            sequence = row.sequence
            accepted = 0
            while True:
                row.last_token, length = best[first + accepted], len(sequence.ids)
                if row.constraint is not None:
                    row.last_token = row.constraint.choose(logits[first + accepted], row.last_token, sequence.ids)
                    sequence.backtracks = row.constraint.backtracks
                backtracked = len(sequence.ids) < length
                if self.confidences and row.constraint is not None:
                    if backtracked:
                        del sequence.logs[len(sequence.ids) :]
                        chosen = [one for one in chosen if one[0] is not sequence or one[1] < len(sequence.ids)]
                    choice = row.constraint.choice(row.last_token)
                    if choice is not None:
                        chosen.append((sequence, len(sequence.ids), first + accepted, choice))
                    sequence.logs.append(None)
                if row.last_token == self.end:
                    row.finished = True
                    break
                sequence.ids.append(row.last_token)
                if len(sequence.ids) >= row.request.max_new_tokens:
                    sequence.truncated = row.finished = True
                    break
                if backtracked or accepted >= len(draft) or draft[accepted] != row.last_token:
                    break
                accepted += 1
            first += 1 + len(draft)
        if chosen:
            _note_confidences(logits, chosen)

    def _evict_finished(self) -> None:
        """The last rows take the places of finished ones."""
        assert self._cache is not None
        for rank in reversed(range(len(self.rows))):
            if self.rows[rank].finished:
                self._finished[self.rows[rank].name] = self.rows[rank].sequence
                last = self.rows.pop()
                if rank < len(self.rows):
                    self.rows[rank] = last
                    self._cache.move(len(self.rows), rank)


def _note_confidences(logits: Tensor, chosen: Sequence[tuple[GeneratedSequence, int, int, Choice]]) -> None:
    """Write down the probabilities of tokens of a step: of all at once, so that the device is asked once.

    Args:
        logits: Of the step.
        chosen: Sequence, place in it, row of the logits, and what the token was chosen from.

    Shape:
        - logits: ``(tokens, vocabulary)``
    """
    asked = [(rank, one[2], one[3].allowed) for rank, one in enumerate(chosen) if one[3].shares is None]
    rows = torch.tensor([row for _, row, allowed in asked for _ in allowed], dtype=torch.long, device=logits.device)
    tokens = torch.tensor([token for *_, allowed in asked for token in allowed], dtype=torch.long, device=logits.device)
    values = logits[rows, tokens].double().tolist() if asked else []
    scores: dict[int, Sequence[float]] = {}
    at = 0
    for rank, _, allowed in asked:
        scores[rank] = values[at : at + len(allowed)]
        at += len(allowed)
    for rank, (sequence, place, _, choice) in enumerate(chosen):
        given = scores.get(rank) or [math.log(max(share, 1e-300)) for share in choice.shares or ()]
        of = dict(zip(choice.allowed, given, strict=True))
        total = _log_sum(given)
        ends = _log_sum([of[token] for token in choice.ending]) - total if choice.ending else 0.0
        sequence.logs[place] = min(0.0, of[choice.token] - total), min(0.0, ends)


def _log_sum(values: Sequence[float]) -> float:
    peak = max(values)
    return peak + math.log(math.fsum(math.exp(value - peak) for value in values))
