"""Batches of windows with marked mentions: pairs of them to label, and mentions whose attributes are asked for.

Shape legend: ``B`` rows, ``L`` sub-words and markers, ``M`` mentions, ``P`` pairs, ``K`` labels, ``N`` mentions of a corpus that are
asked about, ``A`` its attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from clinical_ie.data.padding import Batch, padded
from clinical_ie.schema import Schema
from clinical_ie.tasks.attribute_classification import AttributeExample
from clinical_ie.tasks.levitated_markers import MARKERS, MarkedExample
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.relation_classification import PairExample


class MarkerCollator:
    """The base of collators of marked mentions.

    Args:
        pad_id: Fills up ``input_ids``.
        schemas: Corpus -> schema; the ranks of markers follow from their order, as in the model.
    """

    def __init__(self, pad_id: int, schemas: Mapping[str, Schema]) -> None:
        self.pad_id, self.schemas = pad_id, schemas
        self._shift: dict[str, int] = {}
        shift = 0
        for corpus, schema in schemas.items():
            self._shift[corpus] = shift
            shift += len(MARKERS) * len(schema.entities)

    def marked(self, examples: Sequence[MarkedExample]) -> Batch:
        """The inputs of windows.

        Shape:
            - input_ids, attention_mask, position_ids: ``(B, L)``
            - marker_positions: ``(M, 2)``, start and end markers; mention_rows, types: ``(M,)``
        """
        rows = [row for row, example in enumerate(examples) for _ in example.mentions]
        places = [place for example in examples for place in example.marker_positions]
        return {
            "input_ids": padded([self._shifted(example) for example in examples], self.pad_id),
            "attention_mask": padded([[1] * example.length for example in examples], 0),
            "position_ids": padded([example.position_ids for example in examples], 0),
            "mention_rows": torch.tensor(rows, dtype=torch.long),
            "marker_positions": torch.tensor(places, dtype=torch.long).reshape(-1, 2),
            "types": torch.tensor([kind for example in examples for kind in example.types], dtype=torch.long),
            "corpora": [example.corpus for example in examples],
            "example_ids": [example.id for example in examples],
        }

    def _shifted(self, example: MarkedExample) -> list[int]:
        shift = self._shift[example.corpus]
        return [number if number >= 0 else number - shift for number in example.input_ids]


class PairCollator(MarkerCollator):
    """Batches for `clinical_ie.modules.EncoderRelationClassifier`."""

    def __init__(self, pad_id: int, schemas: Mapping[str, Schema]) -> None:
        super().__init__(pad_id, schemas)
        self.counts = {corpus: len(LinkLabels(schema)) for corpus, schema in schemas.items()}

    def __call__(self, examples: Sequence[PairExample]) -> Batch:
        """One batch: what `marked` says, and the pairs.

        Shape:
            - pairs: ``(P, 2)``, head and tail among the mentions; distances: ``(P, 2)``
            - pairs_by_corpus: corpus -> places of its pairs; labels: corpus -> ``(its pairs, K)``
        """
        pairs: list[tuple[int, int]] = []
        distances: list[tuple[int, int]] = []
        keys: list[tuple[int, int]] = []
        places: dict[str, list[int]] = {}
        gold: dict[str, list[tuple[int, ...]]] = {}
        base = 0
        for row, example in enumerate(examples):
            places.setdefault(example.corpus, []).extend(range(len(pairs), len(pairs) + len(example.pairs)))
            gold.setdefault(example.corpus, []).extend(example.labels)
            pairs += [(base + head, base + tail) for head, tail in example.pairs]
            distances += example.distances
            keys += [(row, rank) for rank in range(len(example.pairs))]
            base += len(example.mentions)
        return {
            **self.marked(examples),
            "pairs": torch.tensor(pairs, dtype=torch.long).reshape(-1, 2),
            "distances": torch.tensor(distances, dtype=torch.long).reshape(-1, 2),
            "pairs_by_corpus": {corpus: torch.tensor(found, dtype=torch.long) for corpus, found in places.items()},
            "labels": {corpus: _multi_hot(found, self.counts[corpus]) for corpus, found in gold.items()},
            "pair_keys": keys,
        }


class AttributeCollator(MarkerCollator):
    """Batches for `clinical_ie.modules.EncoderAttributeClassifier`."""

    def __call__(self, examples: Sequence[AttributeExample]) -> Batch:
        """One batch: what `marked` says, and the mentions that are asked about.

        Shape:
            - asked: corpus -> ``(N,)``, among the mentions; classes: corpus -> ``(N, A)``, below 0 where an attribute is not asked for
        """
        asked: dict[str, list[int]] = {}
        classes: dict[str, list[tuple[int, ...]]] = {}
        keys: dict[str, list[tuple[int, int]]] = {}
        base = 0
        for row, example in enumerate(examples):
            asked.setdefault(example.corpus, []).extend(base + place for place in example.asked)
            classes.setdefault(example.corpus, []).extend(example.classes)
            keys.setdefault(example.corpus, []).extend((row, rank) for rank in range(len(example.asked)))
            base += len(example.mentions)
        return {
            **self.marked(examples),
            "asked": {corpus: torch.tensor(found, dtype=torch.long) for corpus, found in asked.items()},
            "classes": {corpus: torch.tensor(found, dtype=torch.long) for corpus, found in classes.items()},
            "asked_keys": keys,
        }


def _multi_hot(ranks: Sequence[Sequence[int]], count: int) -> Tensor:
    hot = torch.zeros(len(ranks), count, dtype=torch.bool)
    for row, found in enumerate(ranks):
        hot[row, list(found)] = True
    return hot
