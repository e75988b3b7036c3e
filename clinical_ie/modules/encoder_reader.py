"""An encoder that answers queries with spans of its context.

Shape legend: ``B`` rows, ``Q`` queries, ``W`` words, ``C`` candidate spans.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from clinical_ie.data.collation import Batch
from clinical_ie.data.tokenization import Subwords
from clinical_ie.errors import SettingError
from clinical_ie.models.encoder import ties_positions
from clinical_ie.models.reading_heads import ReadingHeads
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.schema import Schema
from clinical_ie.tasks.reading_comprehension import EntityReading, RelationReading

_bce = torch.nn.functional.binary_cross_entropy_with_logits


class EncoderReader(EncoderModule):
    """Reading comprehension for mentions, relations and arguments of events; it knows no types, only queries.

    Args:
        backbone: Hub name, local folder, or ``package:NAME/FOLDER``.
        schemas: Corpus -> schema as plain data; the command line links it to the data.
        width: Of the space in which queries and words meet.
        longest: Most words of an answer.
        match_weight: Of the match head's loss beside those of the start and end heads (the study has 0.1).
        positive_weight: Of words that start or end an answer, beside 1 for those that do not.
        options: Those of `EncoderModule`.
    """

    heads: ReadingHeads
    takes = (EntityReading, RelationReading)

    def __init__(
        self,
        backbone: str,
        schemas: dict[str, Any],
        *,
        width: int = 256,
        longest: int = 40,
        match_weight: float = 0.1,
        positive_weight: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(backbone, schemas, **options)
        self.width, self.longest, self.match_weight, self.positive_weight = width, longest, match_weight, positive_weight

    def configure_model(self) -> None:
        """Load the encoder and make the heads."""
        super().configure_model()
        self.has_absolute_positions = ties_positions(self.backbone.base)

    def markers(self) -> list[list[int]]:
        """The marker of a query, beginning as what opens an input."""
        subwords = Subwords(self.backbone_name)
        return [subwords.prefix or subwords.suffix or [0]]

    def make_heads(self, hidden: int) -> ReadingHeads:
        """One set of heads for all queries."""
        return ReadingHeads(hidden, self.backbone.embedding_width, self.width, self.dropout, self.longest)

    def meaning(self, schemas: dict[str, Schema]) -> Any:
        """Nothing: queries come with the data, so weights fit any schema."""
        return "queries"

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Words, start scores, end scores, queries for the match head."""
        if batch["levitated"] and not self.has_absolute_positions:
            raise SettingError(
                f"{self.backbone_name} has no absolute positions that queries could share; for mentions set data.task.encoding to single,"
                " for links take relation_classification_pair"
            )
        added, asked = self._asked(batch) if "asked_ids" in batch else (None, None)
        # Packed queries see the context and themselves, and nothing sees them: an answer does not depend on what else is asked.
        aside = None if asked is None else batch["input_ids"] < 0
        hidden = self.backbone(batch["input_ids"], batch["attention_mask"], batch["position_ids"], added, aside)
        rows = torch.arange(hidden.shape[0], device=hidden.device).unsqueeze(1)
        words, queries = hidden[rows, batch["unit_positions"]], hidden[rows, batch["query_positions"]]
        queries = queries if asked is None else queries + asked
        starts, ends, match_query = self.heads.edges(queries, words)
        return words, starts, ends, match_query

    def _asked(self, batch: Batch) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """What enters at the markers of packed queries (rows, places, vectors), and what the encoder says of each query alone.

        A marker enters as the mean of its query's words and its head's, as long as a word's vector is on average, and what a layer makes of
        the query's encoding.
        """
        mask = batch["asked_mask"].unsqueeze(2)
        said = _mean(self.backbone(batch["asked_ids"], batch["asked_mask"]), mask)
        vocabulary = self.backbone.words(batch["asked_ids"])
        words = _mean(vocabulary, mask)[batch["query_asked"]]
        if batch["filled_ids"] is not None:
            words = words + _mean(self.backbone.words(batch["filled_ids"]), batch["filled_mask"].unsqueeze(3))
        usual = _mean(vocabulary.norm(dim=2, keepdim=True), mask)[batch["query_asked"]]
        vectors = nn.functional.normalize(words, dim=2) * usual.detach() + self.heads.marker(said)[batch["query_asked"]]
        rows, places = batch["query_mask"].nonzero(as_tuple=True)
        return (rows, batch["query_positions"][rows, places], vectors[rows, places]), self.heads.asked(said)[batch["query_asked"]]

    def _loss(self, batch: Batch, read: tuple[Tensor, Tensor, Tensor, Tensor], number: Tensor) -> Tensor:
        """Start and end losses over a number of words times queries, and the mean over candidates of the match loss."""
        words, starts, ends, match_query = read
        mask = _asked_words(batch)
        gold_starts, gold_ends = torch.zeros_like(mask), torch.zeros_like(mask)
        row, query, first, last = batch["spans"].unbind(1)
        gold_starts[row, query, first] = True
        gold_ends[row, query, last] = True
        weight = starts.new_tensor(self.positive_weight)
        loss = mask * sum(
            _bce(scores, gold.float(), reduction="none", pos_weight=weight) for scores, gold in ((starts, gold_starts), (ends, gold_ends))
        )
        candidates = self.heads.candidates(((starts.detach() > 0) | gold_starts) & mask, ((ends.detach() > 0) | gold_ends) & mask)
        codes = _codes(candidates, mask.shape)
        gold = torch.isin(codes, _codes(batch["spans"], mask.shape)).float()
        scores = self.heads.matches(match_query, words, candidates)
        found: Tensor = loss.sum() / number + self.match_weight * (_bce(scores, gold, reduction="sum") / max(1, len(gold)))
        if "asked_ids" not in batch:  # every parameter needs a gradient, or distributed training stops
            unused = [*self.heads.marker.parameters(), *self.heads.asked.parameters()]
            found = found + 0.0 * torch.stack([parameter.sum() for parameter in unused]).sum()
        return found

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss."""
        # By the mean over ranks: the average of all ranks' gradients is then that of the mean over all words and queries.
        number = self.trainer.strategy.reduce(_asked_words(batch).sum().float(), reduce_op="mean")
        loss = self._loss(batch, self._read(batch), cast("Tensor", number))
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch["example_ids"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> spans by query; and the loss."""
        read = self._read(batch)
        number = _asked_words(batch).sum()
        self.log("dev/loss", self._loss(batch, read, number), batch_size=int(number), sync_dist=True)
        return self._outputs(batch, read)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> spans by query."""
        return self._outputs(batch, self._read(batch))

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> spans by query."""
        return self._outputs(batch, self._read(batch))

    def _outputs(self, batch: Batch, read: tuple[Tensor, Tensor, Tensor, Tensor]) -> dict[str, Any]:
        words, starts, ends, match_query = read
        mask = _asked_words(batch)
        candidates = self.heads.candidates((starts > 0) & mask, (ends > 0) & mask)
        scores = self.heads.matches(match_query, words, candidates)
        found: dict[str, list[tuple[int, int, int, float]]] = {name: [] for name in batch["example_ids"]}
        for (row, query, first, last), score in zip(candidates[scores > 0].tolist(), scores[scores > 0].tolist(), strict=True):
            found[batch["example_ids"][row]].append((query, first, last + 1, score))
        return cast("dict[str, Any]", found)


def _asked_words(batch: Batch) -> Tensor:
    """Where a query meets a word, ``(B, Q, W)``."""
    found: Tensor = batch["query_mask"].unsqueeze(2) & batch["unit_mask"].unsqueeze(1)
    return found


def _codes(spans: Tensor, shape: torch.Size) -> Tensor:
    """One number for each (row, query, first, last)."""
    _, queries, words = shape
    row, query, first, last = spans.unbind(1)
    return ((row * queries + query) * words + first) * words + last


def _mean(vectors: Tensor, mask: Tensor) -> Tensor:
    """Over the places that the mask has, the last but one dimension; 0 where it has none."""
    return (vectors * mask).sum(-2) / mask.sum(-2).clamp_min(1)
