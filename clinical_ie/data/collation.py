"""Examples to tensors.

Shape legend: ``B`` rows, ``L`` sub-words, ``W`` units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from clinical_ie.models.tagging_heads import tag_key
from clinical_ie.schema import Schema
from clinical_ie.tasks import bio
from clinical_ie.tasks.entity_tagging import TaggingExample

Batch = dict[str, Any]


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Rows of unequal length as one tensor ``(B, longest)``."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *([fill] * (width - len(row)))] for row in rows], dtype=torch.long)


class TaggingCollator:
    """Batches for `clinical_ie.modules.EncoderTagger`.

    Args:
        pad_id: Fills up ``input_ids``.
        schemas: Corpus -> schema; the order of tags follows from it, as in the model.
    """

    def __init__(self, pad_id: int, schemas: Mapping[str, Schema]) -> None:
        self.pad_id = pad_id
        self.ranks = {
            (corpus, layer): {tag: rank for rank, tag in enumerate(bio.labels(types))}
            for corpus, schema in schemas.items()
            for layer, types in schema.layers.items()
        }

    def __call__(self, examples: Sequence[TaggingExample]) -> Batch:
        """One batch.

        Shape:
            - input_ids, attention_mask: ``(B, L)``
            - unit_positions, unit_mask: ``(B, W)``
            - tags: ``corpus/layer`` -> ``(B, W)``
        """
        present = {example.corpus for example in examples}
        return {
            "input_ids": padded([example.input_ids for example in examples], self.pad_id),
            "attention_mask": padded([[1] * example.length for example in examples], 0),
            "unit_positions": padded([example.positions for example in examples], 0),
            "unit_mask": padded([[1] * len(example.positions) for example in examples], 0).bool(),
            "corpora": [example.corpus for example in examples],
            "example_ids": [example.id for example in examples],
            "tags": {
                tag_key(corpus, layer): padded([self._ids(example, corpus, layer) for example in examples], 0)
                for corpus, layer in self.ranks
                if corpus in present
            },
        }

    def _ids(self, example: TaggingExample, corpus: str, layer: str) -> list[int]:
        if example.corpus != corpus:
            return [0] * len(example.positions)  # as wide as the others, whichever corpus has the longest row
        ranks = self.ranks[corpus, layer]
        return [ranks[tag] for tag in example.tags[layer]]
