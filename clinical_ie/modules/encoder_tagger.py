"""Named entity recognition (concept extraction) as sequence labelling: BIO tags, linear-chain CRF or softmax.

Reference: Lample et al., Neural architectures for named entity recognition (NAACL 2016), for the CRF layer.

Shape legend: ``B`` rows, ``L`` sub-words, ``W`` units, ``H`` hidden.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from clinical_ie.data.padding import Batch
from clinical_ie.models.tagging_heads import TagDecoder, TaggingHeads, tag_key
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.modules.weight_matching import CorpusWeights, Head
from clinical_ie.schema import Schema
from clinical_ie.tasks import bio
from clinical_ie.tasks.entity_tagging import EntityTagging, TagOutput


class EncoderTagger(EncoderModule):
    """Named entity recognition by sequence labelling with any encoder.

    Args:
        backbone: Hub name, local folder, or ``package:NAME/FOLDER``.
        schemas: Corpus -> schema as plain data; the command line links it to the data.
        decoder: Linear-chain CRF, or softmax with the best valid tag sequence.
        options: Those of `EncoderModule`.
    """

    heads: TaggingHeads
    supported_tasks = EntityTagging

    def __init__(self, backbone: str, schemas: dict[str, Any], *, decoder: TagDecoder = "crf", **options: Any) -> None:
        super().__init__(backbone, schemas, **options)
        self.decoder: TagDecoder = decoder

    def make_heads(self, hidden: int) -> TaggingHeads:
        """A tagging head for each layer of each corpus."""
        labels = {corpus: {layer: bio.labels(types) for layer, types in schema.layers.items()} for corpus, schema in self.schemas.items()}
        return TaggingHeads(hidden, labels, bio.legal, self.decoder, self.dropout)

    def head_settings(self) -> dict[str, str]:
        """Transitions between tags are learned, or left at 0."""
        return {"decoder": self.decoder}

    def corpus_weights(self, schemas: dict[str, Schema]) -> CorpusWeights:
        """A head for each layer of each corpus, with its types in their order."""
        return CorpusWeights(
            {
                f"heads.heads.{tag_key(corpus, layer)}.": Head(f"{corpus}/{layer}", corpus, tuple(types))
                for corpus, schema in schemas.items()
                for layer, types in schema.layers.items()
            }
        )

    def forward_batch(self, batch: Batch) -> Tensor:
        """Hidden states of units.

        Shape:
            - result: ``(B, W, H)``
        """
        hidden = self.backbone(batch["input_ids"], batch["attention_mask"])
        positions = batch["unit_positions"].unsqueeze(2).expand(-1, -1, hidden.shape[2])
        found: Tensor = hidden.gather(1, positions)
        return found

    def _loss(self, batch: Batch, units: Tensor) -> Tensor:
        return self.heads.loss(units, batch["unit_mask"], batch["corpora"], batch["tags"])

    def _outputs(self, batch: Batch, units: Tensor) -> dict[str, Any]:
        """Example id -> tags by layer, and the confidences of their mentions."""
        rows = self.heads.decode(units, batch["unit_mask"], batch["corpora"])
        outputs = [
            TagOutput({layer: tags for layer, (tags, _) in row.items()}, {layer: sure for layer, (_, sure) in row.items()}) for row in rows
        ]
        return dict(zip(batch["example_ids"], outputs, strict=True))
