"""Greedy generation with continuous batching, prefix caching, speculative decoding and grammar-constrained decoding.

- Prefix caching: a prefix that prompts share is prefilled once and copied into the KV cache of each of its sequences.
- Continuous batching: a finished sequence makes room for a waiting one. Every step reads the last token of each sequence, its draft
  tokens, and the whole suffix of the prompts that begin (chunked prefill), concatenated without padding (see `varlen_attention`).
- Speculative decoding: draft tokens come from the grammar's automaton, from n-grams of earlier completions or from prompt lookup; those
  that the model would have generated itself are accepted. The model's first choice among allowed tokens is always the result.

References: Yu et al., Orca (OSDI 2022), for continuous batching; Kwon et al., PagedAttention and vLLM (SOSP 2023), for prefix caching;
Agrawal et al., Sarathi-Serve (OSDI 2024), for prefill beside decoding; Leviathan et al., Speculative decoding (ICML 2023).

Shape legend: ``N`` tokens of a step, ``T`` positions of the cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache

from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.decoding.adapter_merging import merged_for_inference
from clinical_ie.decoding.constraint import Constraint
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


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt, as the ids of a prefix that requests share and of its own suffix; a limit; and the grammar of its completions."""

    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    max_new_tokens: int
    grammar: Grammar | None = None


@dataclass(slots=True)
class GeneratedSequence:
    """Tokens of a completion, whether `max_new_tokens` cut it off, and how often it backtracked."""

    ids: list[int] = field(default_factory=list)
    truncated: bool = False
    backtracks: int = 0


@dataclass(slots=True)
class _RunningSequence:
    """A row of the batch: the index of its request, its prompt's length, its last token, its constraint and its draft proposer."""

    request: int
    prompt_length: int
    last_token: int
    constraint: Constraint | None
    prompt_lookup: PromptLookupProposer
    finished: bool = False


@torch.no_grad()
def generate(
    backbone: Decoder,
    subwords: ChatTokenizer,
    requests: Sequence[GenerationRequest],
    *,
    batch_size: int = 8,
    num_draft_tokens: int = 0,
    backtrack_threshold: float = 0.0,
) -> list[GeneratedSequence]:
    """Completions in the order of the requests; the same tokens as one request at a time gives in exact arithmetic.

    Args:
        backbone: The decoder; its weights and mode are as before afterwards.
        subwords: Its tokenizer.
        requests: What to complete.
        batch_size: Sequences side by side; one where the model has an attention of its own.
        num_draft_tokens: Most draft tokens of a sequence in a step; 0 for no speculative decoding.
        backtrack_threshold: Probability of the allowed tokens below which constrained generation backtracks, see `Constraint`.

    Raises:
        ValueError: A request without a prefix or a suffix.
    """
    if not all(request.prefix_ids and request.suffix_ids for request in requests):
        raise ValueError("a request without a prefix or a suffix")
    sequences = [GeneratedSequence() for _ in requests]
    by_prefix: dict[tuple[int, ...], list[int]] = {}
    for index, request in enumerate(requests):
        by_prefix.setdefault(request.prefix_ids, []).append(index)
    ngrams = MarkupNgrams()
    synchronizer = RankSynchronizer(backbone, lambda is_prefix: _dummy_forward(backbone, subwords.end_id, is_prefix=is_prefix))
    with merged_for_inference(backbone):
        for prefix_ids, indices in by_prefix.items():
            # long prompts first: what takes longest does not wait until the end
            waiting = deque(sorted(indices, key=lambda index: -len(requests[index].suffix_ids)))
            rows = min(batch_size, len(indices))
            _PrefixBatch(
                backbone, subwords, prefix_ids, requests, sequences, rows, num_draft_tokens, backtrack_threshold, ngrams, synchronizer
            ).run(waiting)
        synchronizer.finish()
    return sequences


def _dummy_forward(backbone: Decoder, token: int, *, is_prefix: bool) -> None:
    """A forward pass of one token whose result nobody needs; see `RankSynchronizer`."""
    device = next(backbone.parameters()).device
    ids = torch.tensor([[token]], device=device)
    hidden = backbone(ids, torch.zeros_like(ids), torch.ones(1, 1, 1, dtype=torch.bool, device=device), with_virtual_tokens=is_prefix)
    if not is_prefix:
        backbone.logits(hidden[0])


class _PrefixBatch:
    """The batch of running sequences whose prompts share a prefix."""

    def __init__(
        self,
        backbone: Decoder,
        subwords: ChatTokenizer,
        prefix_ids: tuple[int, ...],
        requests: Sequence[GenerationRequest],
        sequences: list[GeneratedSequence],
        batch_size: int,
        num_draft_tokens: int,
        backtrack_threshold: float,
        ngrams: MarkupNgrams,
        synchronizer: RankSynchronizer,
    ) -> None:
        self.backbone, self.requests, self.sequences = backbone, requests, sequences
        self.num_draft_tokens, self.backtrack_threshold = num_draft_tokens, backtrack_threshold
        self.ngrams, self.synchronizer = ngrams, synchronizer
        self.subwords, self.end = subwords, subwords.end_id
        self.vocabulary = token_trie(subwords.tokenizer) if any(request.grammar for request in requests) else None
        self.device = next(backbone.parameters()).device
        self.prefix_length = len(prefix_ids)
        self.rows: list[_RunningSequence] = []
        synchronizer.before_forward(is_prefix=True)
        prefix_cache = DynamicCache()
        ids = torch.tensor([prefix_ids], device=self.device)
        positions = torch.arange(len(prefix_ids), device=self.device).unsqueeze(0)
        causal = torch.ones(1, len(prefix_ids), len(prefix_ids), dtype=torch.bool, device=self.device).tril()
        with record_attention_masks() as recorded:
            backbone(ids, positions, causal, cache=prefix_cache)
        self.is_varlen = supports_varlen_attention(recorded, len(prefix_cache.layers))
        self.batch_size = batch_size if self.is_varlen else 1
        self.cache = KVCache(prefix_cache, self.batch_size)

    def run(self, waiting: deque[int]) -> None:
        """Generate until no request waits or runs."""
        while waiting or self.rows:
            self._step(self._admit(waiting))

    def _admit(self, waiting: deque[int]) -> list[_RunningSequence]:
        """Start as many waiting requests as there are free rows, within the prefill budget of a step."""
        admitted: list[_RunningSequence] = []
        prefill_tokens = 0
        while waiting and len(self.rows) + len(admitted) < self.batch_size:
            request = self.requests[waiting[0]]
            prefill_tokens += len(request.suffix_ids)
            if admitted and prefill_tokens > _MAX_PREFILL_TOKENS:
                break
            constraint = None
            if request.grammar is not None and self.vocabulary is not None:
                constraint = Constraint(
                    request.grammar, self.vocabulary, self.end, self.subwords.encode_continuation, self.backtrack_threshold, self.ngrams
                )
            self.cache.admit(len(self.rows) + len(admitted))
            prompt_length = self.prefix_length + len(request.suffix_ids)
            admitted.append(_RunningSequence(waiting.popleft(), prompt_length, -1, constraint, PromptLookupProposer(request.suffix_ids)))
        return admitted

    def _step(self, admitted: list[_RunningSequence]) -> None:
        """One forward pass over last tokens, draft tokens and suffixes of admitted prompts; then one or more new tokens in each row."""
        drafts = [self._draft(row) for row in self.rows]
        spans = [
            (row.prompt_length + len(self.sequences[row.request].ids) - 1, (row.last_token, *draft))
            for row, draft in zip(self.rows, drafts, strict=True)
        ]
        spans += [(self.prefix_length, self.requests[row.request].suffix_ids) for row in admitted]
        hidden = self._forward(spans, len(self.rows))
        ends = torch.tensor([len(ids) for _, ids in spans]).cumsum(0) - 1
        # logits of all tokens of running rows, which verify their drafts, and of the last token of each prompt
        needed = torch.cat([torch.arange(int(ends[len(self.rows) - 1]) + 1 if self.rows else 0), ends[len(self.rows) :]])
        self.rows += admitted
        self._verify(self.backbone.logits(hidden[0, needed.to(self.device)]), [*drafts, *([()] * len(admitted))])
        self._evict_finished()

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
        self.cache.prepare(layout, len(spans), key_positions.shape[1])
        self.synchronizer.before_forward(is_prefix=False)
        with use_layout(layout) if self.is_varlen else nullcontext():
            causal = key_positions.unsqueeze(1) <= positions.unsqueeze(2)
            hidden: Tensor = self.backbone(ids, positions, causal, cache=self.cache, key_positions=key_positions, with_virtual_tokens=False)
        return hidden

    def _draft(self, row: _RunningSequence) -> tuple[int, ...]:
        """Draft tokens of a row, from its constraint or by prompt lookup."""
        generated_ids = self.sequences[row.request].ids
        max_tokens = min(self.num_draft_tokens, self.requests[row.request].max_new_tokens - len(generated_ids) - 1)
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
        for row, draft in zip(self.rows, drafts, strict=True):
            sequence = self.sequences[row.request]
            accepted = 0
            while True:
                row.last_token, length = best[first + accepted], len(sequence.ids)
                if row.constraint is not None:
                    row.last_token = row.constraint.choose(logits[first + accepted], row.last_token, sequence.ids)
                    sequence.backtracks = row.constraint.backtracks
                backtracked = len(sequence.ids) < length
                if row.last_token == self.end:
                    row.finished = True
                    break
                sequence.ids.append(row.last_token)
                if len(sequence.ids) >= self.requests[row.request].max_new_tokens:
                    sequence.truncated = row.finished = True
                    break
                if backtracked or accepted >= len(draft) or draft[accepted] != row.last_token:
                    break
                accepted += 1
            first += 1 + len(draft)

    def _evict_finished(self) -> None:
        """The last rows take the places of finished ones."""
        for rank in reversed(range(len(self.rows))):
            if self.rows[rank].finished:
                last = self.rows.pop()
                if rank < len(self.rows):
                    self.rows[rank] = last
                    self.cache.move(len(self.rows), rank)
