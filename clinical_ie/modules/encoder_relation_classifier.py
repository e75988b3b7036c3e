"""Relation classification with entity markers: labels of pairs of mentions, levitated or in the text.

References: Zhong & Chen, A frustratingly easy approach for entity and relation extraction (NAACL 2021); Ye et al., Packed levitated marker
(ACL 2022).

Shape legend: ``B`` rows, ``L`` sub-words and markers, ``P`` pairs, ``K`` labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from clinical_ie.data.padding import Batch
from clinical_ie.errors import SettingError
from clinical_ie.models.head_names import module_name
from clinical_ie.models.pair_heads import PairHead, PairLabel, Pooling, pair_labels, pair_loss
from clinical_ie.modules.marked_encoder import MarkedEncoder, marker_rows
from clinical_ie.modules.weight_matching import CorpusWeights, Head
from clinical_ie.schema import Schema
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.relation_classification import Decision, RelationClassification

Scored = tuple[str, Tensor, Tensor, Tensor]
"""Corpus, places of its pairs in the batch, their scores, and what their types allow."""


class EncoderRelationClassifier(MarkedEncoder):
    """Relations, arguments of events and their values, as labels of pairs of mentions.

    Args:
        backbone: Hub name, local folder, or ``package:NAME/FOLDER``.
        schemas: Corpus -> schema as plain data; the command line links it to the data.
        decision: The task's: one label of all, any number, or related or not.
        pooling: Vectors of a pair: ``[CLS]`` alone, with the start markers, or with the end markers too.
        width: Dimension of a hidden layer; a linear head (the study's) when 0.
        class_weights: Label (``none`` for unrelated pairs) -> weight in the loss; 1 by default.
        focal_gamma: Focusing parameter of focal loss; 0 is plain cross-entropy.
        options: Those of `EncoderModule`.
    """

    supported_tasks = RelationClassification

    def __init__(
        self,
        backbone: str,
        schemas: dict[str, Any],
        *,
        decision: Decision = "multi_class",
        pooling: Pooling = "ends",
        width: int = 256,
        class_weights: dict[str, float] | None = None,
        focal_gamma: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(backbone, schemas, **options)
        self.decision: Decision = decision
        self.pooling: Pooling = pooling
        self.width, self.class_weights, self.focal_gamma = width, dict(class_weights or {}), focal_gamma
        self.labels = {corpus: LinkLabels(schema) for corpus, schema in self.schemas.items()}
        for corpus, labels in self.labels.items():
            if not len(labels):
                raise SettingError(f"the schema of {corpus} declares no relations; there is nothing to classify")
        known = {"none", *(name for labels in self.labels.values() for name in labels.names)}
        if unknown := sorted(set(self.class_weights) - known):
            raise SettingError(f"class_weights names {unknown}; the labels are {sorted(known)}")

    def make_heads(self, hidden: int) -> nn.Module:
        """A head for each corpus."""
        heads = {}
        for corpus, labels in self.labels.items():
            names = self.schemas[corpus].entity_names
            legal = [[labels.legal(head, tail) for tail in names] for head in names]
            heads[module_name(corpus)] = PairHead(hidden, labels.names, legal, self.pooling, self.width, self.dropout)
        return nn.ModuleDict(heads)

    def head_settings(self) -> dict[str, str]:
        """What the same scores are read as."""
        return {"decision": self.decision}

    def corpus_weights(self, schemas: dict[str, Schema]) -> CorpusWeights:
        """A head for each corpus, with its labels in their order, and the markers of its types."""
        heads = {
            f"heads.{module_name(corpus)}.": Head(corpus, corpus, tuple(LinkLabels(schema).names)) for corpus, schema in schemas.items()
        }
        return CorpusWeights(heads, marker_rows(schemas))

    def forward_batch(self, batch: Batch) -> list[Scored]:
        """Corpus, places of its pairs in the batch, their scores, and what their types allow; of every corpus, in the same order.

        The head of a corpus that the batch has nothing of is called with nothing: every parameter needs a gradient on every rank, and where
        weights are sharded (ZeRO-3) a head that one rank calls is called by all.
        """
        hidden = self.backbone(batch["input_ids"], batch["attention_mask"], batch["position_ids"])
        types, nothing = batch["types"], torch.zeros(0, dtype=torch.long, device=hidden.device)
        scored: list[Scored] = []
        for corpus in self.labels:
            head = cast("PairHead", cast("nn.ModuleDict", self.heads)[module_name(corpus)])
            places = batch["pairs_by_corpus"].get(corpus, nothing)
            pairs, mentions = batch["pairs"][places], slice(None if len(places) else 0)
            scores = head(
                hidden,
                batch["marker_positions"][mentions],
                batch["mention_rows"][mentions],
                types,
                pairs,
                batch["distances"][places],
            )
            scored.append((corpus, places, scores, head.legal[types[pairs[:, 0]], types[pairs[:, 1]]]))
        return scored

    def _loss(self, batch: Batch, scored: Sequence[Scored]) -> Tensor:
        """Summed over pairs."""
        total = torch.zeros((), device=batch["input_ids"].device)
        for corpus, _, scores, legal in scored:
            columns = ["none", *self.labels[corpus].names]
            weights = scores.new_tensor([self.class_weights.get(name, 1.0) for name in columns]) if self.class_weights else None
            gold = batch["labels"][corpus] if len(scores) else legal[:, 1:]
            loss = pair_loss(scores, gold, legal, self.decision, weights=weights, focal_gamma=self.focal_gamma)
            total = total + loss.sum()
        return total

    def _outputs(self, batch: Batch, scored: Sequence[Scored]) -> dict[str, Any]:
        """Example id -> labels by pair."""
        found: dict[str, dict[int, list[PairLabel]]] = {name: {} for name in batch["example_ids"]}
        for _, places, scores, legal in scored:
            for place, labels in zip(places.tolist(), pair_labels(scores, legal, self.decision), strict=True):
                if labels:
                    row, rank = batch["pair_keys"][place]
                    found[batch["example_ids"][row]][rank] = labels
        return found
