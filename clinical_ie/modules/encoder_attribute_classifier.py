"""Attribute classification with levitated markers: negation, assertion, polarity of given mentions.

Reference: Ye et al., Packed levitated marker (ACL 2022), for the markers.

Shape legend: ``B`` rows, ``L`` sub-words and markers, ``N`` mentions of a corpus that are asked about, ``A`` its attributes, ``K`` classes
of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from clinical_ie.data.padding import Batch
from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.models.attribute_heads import AttributeHead, attribute_classes, attribute_loss
from clinical_ie.models.head_names import module_name
from clinical_ie.modules.marked_encoder import MarkedEncoder, marker_rows
from clinical_ie.modules.weight_matching import CorpusWeights, Head
from clinical_ie.schema import Schema
from clinical_ie.tasks.attribute_classification import NOT_ASKED, AttributeClassification

Scored = tuple[str, Tensor, Tensor]
"""Corpus, scores of the mentions that are asked about, and their gold classes."""
NONE = "none"
"""What `class_weights` call the class of mentions without an attribute."""


class EncoderAttributeClassifier(MarkedEncoder):
    """Values of the attributes of mentions, one of each attribute or none.

    Args:
        backbone: Hub name, local folder, or ``package:NAME/FOLDER``.
        schemas: Corpus -> schema as plain data; the command line links it to the data.
        width: Dimension of a hidden layer; a linear head when 0.
        class_weights: Label such as ``POLARITY=NEG`` (``none`` for mentions without) -> weight in the loss; 1 by default.
        focal_gamma: Focusing parameter of focal loss; 0 is plain cross-entropy.
        options: Those of `EncoderModule`.
    """

    supported_tasks = AttributeClassification

    def __init__(
        self,
        backbone: str,
        schemas: dict[str, Any],
        *,
        width: int = 256,
        class_weights: dict[str, float] | None = None,
        focal_gamma: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(backbone, schemas, **options)
        self.width, self.class_weights, self.focal_gamma = width, dict(class_weights or {}), focal_gamma
        for corpus, schema in self.schemas.items():
            if not schema.attributes:
                raise SettingError(f"the schema of {corpus} declares no attributes; there is nothing to classify")
        known = {NONE, *(name for schema in self.schemas.values() for name in _columns(schema))}
        if unknown := sorted(set(self.class_weights) - known):
            raise SettingError(f"class_weights names {unknown}; the labels are {sorted(known)}{did_you_mean(unknown[0], known)}")

    def make_heads(self, hidden: int) -> nn.Module:
        """A head for each corpus."""
        return nn.ModuleDict(
            {
                module_name(corpus): AttributeHead(
                    hidden, [len(attribute.options) + 1 for attribute in schema.attributes], self.width, self.dropout
                )
                for corpus, schema in self.schemas.items()
            }
        )

    def corpus_weights(self, schemas: dict[str, Schema]) -> CorpusWeights:
        """A head for each corpus, with its labels in their order, and the markers of its types."""
        heads = {
            f"heads.{module_name(corpus)}.": Head(
                corpus, corpus, tuple(f"{attribute.name}: {', '.join(attribute.labels)}" for attribute in schema.attributes)
            )
            for corpus, schema in schemas.items()
        }
        return CorpusWeights(heads, marker_rows(schemas))

    def forward_batch(self, batch: Batch) -> list[Scored]:
        """Scores and gold classes of every corpus, in the same order.

        The head of a corpus that the batch has nothing of is called with nothing: every parameter needs a gradient on every rank, and where
        weights are sharded (ZeRO-3) a head that one rank calls is called by all.
        """
        hidden = self.backbone(batch["input_ids"], batch["attention_mask"], batch["position_ids"])
        nothing = torch.zeros(0, dtype=torch.long, device=hidden.device)
        scored: list[Scored] = []
        for corpus, schema in self.schemas.items():
            head = cast("AttributeHead", cast("nn.ModuleDict", self.heads)[module_name(corpus)])
            asked = batch["asked"].get(corpus, nothing)
            classes = batch["classes"][corpus] if len(asked) else nothing.reshape(0, len(schema.attributes))
            scored.append((corpus, head(hidden, batch["marker_positions"][asked], batch["mention_rows"][asked]), classes))
        return scored

    def _loss(self, batch: Batch, scored: Sequence[Scored]) -> Tensor:
        """Summed over decisions."""
        total = torch.zeros((), device=batch["input_ids"].device)
        for corpus, scores, classes in scored:
            columns = _columns(self.schemas[corpus])
            weights = scores.new_tensor([self.class_weights.get(name, 1.0) for name in columns]) if self.class_weights else None
            loss = attribute_loss(scores, classes, self._sizes(corpus), weights=weights, focal_gamma=self.focal_gamma)
            total = total + loss.sum()
        return total

    def _outputs(self, batch: Batch, scored: Sequence[Scored]) -> dict[str, Any]:
        """Example id -> attributes, their classes and probabilities by mention."""
        found: dict[str, dict[int, list[tuple[int, int, float]]]] = {name: {} for name in batch["example_ids"]}
        for corpus, scores, classes in scored:
            said = attribute_classes(scores, classes != NOT_ASKED, self._sizes(corpus))
            for (row, place), named in zip(batch["asked_keys"].get(corpus, ()), said, strict=True):
                if named:
                    found[batch["example_ids"][row]][place] = named
        return found

    def _sizes(self, corpus: str) -> list[int]:
        return [len(attribute.options) + 1 for attribute in self.schemas[corpus].attributes]


def _columns(schema: Schema) -> list[str]:
    """What the columns of scores stand for."""
    return [name for attribute in schema.attributes for name in (NONE, *attribute.labels)]
