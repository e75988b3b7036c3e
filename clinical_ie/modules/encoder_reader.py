"""Machine reading comprehension (MRC, extractive question answering) for entities, relations and arguments of events.

References: Li et al., A unified MRC framework for named entity recognition (ACL 2020); Li et al., Entity-relation extraction as multi-turn
question answering (ACL 2019). We pack many queries of one context as markers with directed attention (as levitated markers).

Shape legend: ``B`` rows, ``Q`` queries, ``W`` words, ``C`` candidate spans.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from clinical_ie.data.padding import Batch
from clinical_ie.data.tokenization import Subwords
from clinical_ie.models.reading_heads import ReadingHeads
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.tasks.reading_comprehension import EntityReading, RelationReading

_bce = torch.nn.functional.binary_cross_entropy_with_logits


class EncoderReader(EncoderModule):
    """Spans of a context as answers to queries, for any schema: types are known by their queries only.

    Args:
        backbone: Hub name, local folder, or ``package:NAME/FOLDER``.
        schemas: Corpus -> schema as plain data; the command line links it to the data.
        width: Dimension of the space in which queries and words are compared.
        max_answer_length: In words.
        match_weight: Weight of the match head's loss beside those of the start and end heads (the study has 0.1). That loss is the mean
            over an example's candidate spans, which only the forward pass finds, and counts for each of its pairs of a word and a query,
            as the losses of starts and ends do.
        positive_weight: Weight of words that start or end an answer, beside 1 for others (``pos_weight``).
        options: Those of `EncoderModule`.
    """

    heads: ReadingHeads
    supported_tasks = (EntityReading, RelationReading)
    fits_any_schema = True

    def __init__(
        self,
        backbone: str,
        schemas: dict[str, Any],
        *,
        width: int = 256,
        max_answer_length: int = 40,
        match_weight: float = 0.1,
        positive_weight: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(backbone, schemas, **options)
        self.width, self.max_answer_length, self.match_weight, self.positive_weight = (
            width,
            max_answer_length,
            match_weight,
            positive_weight,
        )

    def markers(self) -> list[list[int]]:
        """The marker of a query, initialised with the special token that opens an input."""
        subwords = Subwords(self.backbone_name)
        return [subwords.prefix or subwords.suffix or [0]]

    def make_heads(self, hidden: int) -> ReadingHeads:
        """One set of heads for all queries."""
        return ReadingHeads(hidden, self.backbone.embedding_width, self.width, self.dropout, self.max_answer_length)

    def forward_batch(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Word vectors, start logits, end logits, query vectors of the match head."""
        added, residual = self._encode_queries(batch) if "query_ids" in batch else (None, None)
        # Directed attention: packed queries attend to the context and to themselves only, so an answer is independent of other queries.
        unattended = None if residual is None else batch["input_ids"] < 0
        hidden = self.backbone(batch["input_ids"], batch["attention_mask"], batch["position_ids"], added, unattended)
        rows = torch.arange(hidden.shape[0], device=hidden.device).unsqueeze(1)
        words, queries = hidden[rows, batch["unit_positions"]], hidden[rows, batch["query_positions"]]
        queries = queries if residual is None else queries + residual
        starts, ends, match_query = self.heads.edges(queries, words)
        return words, starts, ends, match_query

    def _encode_queries(self, batch: Batch) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Input embeddings of the markers of packed queries (rows, places, vectors), and a residual from the encoding of each query alone.

        A marker's embedding is the mean of the words of its query and of those that fill its slot, scaled to the mean norm of word
        embeddings, plus a projection of the query's encoding.
        """
        mask = batch["query_ids_mask"].unsqueeze(2)
        encoding = _mean(self.backbone(batch["query_ids"], batch["query_ids_mask"]), mask)
        vocabulary = self.backbone.embed_tokens(batch["query_ids"])
        words = _mean(vocabulary, mask)[batch["query_indices"]]
        if batch["slot_ids"] is not None:
            words = words + _mean(self.backbone.embed_tokens(batch["slot_ids"]), batch["slot_mask"].unsqueeze(3))
        norm = _mean(vocabulary.norm(dim=2, keepdim=True), mask)[batch["query_indices"]]
        vectors = nn.functional.normalize(words, dim=2) * norm.detach() + self.heads.query_marker(encoding)[batch["query_indices"]]
        rows, places = batch["query_mask"].nonzero(as_tuple=True)
        return (rows, batch["query_positions"][rows, places], vectors[rows, places]), self.heads.query_residual(encoding)[
            batch["query_indices"]
        ]

    def _loss(self, batch: Batch, logits: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """Summed over pairs of a query and a word; an example's match loss, a mean over its candidates, counts for each of its pairs."""
        words, starts, ends, match_query = logits
        mask = _query_word_mask(batch)
        gold_starts, gold_ends = torch.zeros_like(mask), torch.zeros_like(mask)
        row, query, first, last = batch["spans"].unbind(1)
        gold_starts[row, query, first] = True
        gold_ends[row, query, last] = True
        weight = starts.new_tensor(self.positive_weight)
        loss = mask * sum(
            _bce(scores, gold.float(), reduction="none", pos_weight=weight) for scores, gold in ((starts, gold_starts), (ends, gold_ends))
        )
        candidates = self.heads.candidates(((starts.detach() > 0) | gold_starts) & mask, ((ends.detach() > 0) | gold_ends) & mask)
        codes = _span_codes(candidates, mask.shape)
        gold = torch.isin(codes, _span_codes(batch["spans"], mask.shape)).float()
        scores = self.heads.matches(match_query, words, candidates)
        in_example = candidates[:, 0].bincount(minlength=len(mask)).clamp_min(1)
        each = mask.sum((1, 2)) / in_example
        found: Tensor = loss.sum() + self.match_weight * (_bce(scores, gold, reduction="none") * each[candidates[:, 0]]).sum()
        if "query_ids" not in batch:  # every parameter needs a gradient, or distributed training stops
            found = found + sum(part(words[:, :0]).sum() for part in (self.heads.query_marker, self.heads.query_residual))
        return found

    def _outputs(self, batch: Batch, logits: tuple[Tensor, Tensor, Tensor, Tensor]) -> dict[str, Any]:
        """Example id -> spans by query.

        The probability of a span is that its first word is a start, its last one an end, and the two a match, as if each were decided
        alone: the reader takes a span where all three are more likely than not.
        """
        words, starts, ends, match_query = logits
        mask = _query_word_mask(batch)
        candidates = self.heads.candidates((starts > 0) & mask, (ends > 0) & mask)
        scores = self.heads.matches(match_query, words, candidates)
        candidates, scores = candidates[scores > 0], scores[scores > 0]
        rows, queries, firsts, lasts = candidates.unbind(1)
        sure = scores.sigmoid() * starts[rows, queries, firsts].sigmoid() * ends[rows, queries, lasts].sigmoid()
        found: dict[str, list[tuple[int, int, int, float, float]]] = {name: [] for name in batch["example_ids"]}
        for (row, query, first, last), score, confidence in zip(candidates.tolist(), scores.tolist(), sure.tolist(), strict=True):
            found[batch["example_ids"][row]].append((query, first, last + 1, score, confidence))
        return cast("dict[str, Any]", found)


def _query_word_mask(batch: Batch) -> Tensor:
    """Pairs of a query and a word, padding left out, ``(B, Q, W)``."""
    found: Tensor = batch["query_mask"].unsqueeze(2) & batch["unit_mask"].unsqueeze(1)
    return found


def _span_codes(spans: Tensor, shape: torch.Size) -> Tensor:
    """One number for each (row, query, first, last)."""
    _, queries, words = shape
    row, query, first, last = spans.unbind(1)
    return ((row * queries + query) * words + first) * words + last


def _mean(vectors: Tensor, mask: Tensor) -> Tensor:
    """Over the places that the mask has, the last but one dimension; 0 where it has none."""
    return (vectors * mask).sum(-2) / mask.sum(-2).clamp_min(1)
