"""Collation: examples to padded or packed tensors.

Training rows of instructions are packed (sequence packing): examples behind a shared prefix, kept apart by segment ids and a block mask.

Shape legend: ``B`` rows, ``L`` sub-words, ``W`` units, ``Q`` queries, ``G`` gold spans.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from clinical_ie.data.marker_collation import AttributeCollator, PairCollator
from clinical_ie.data.mixing import taught
from clinical_ie.data.padding import Batch, padded
from clinical_ie.data.sampler import PlannedBatch
from clinical_ie.errors import SettingError
from clinical_ie.models.tagging_heads import tag_key
from clinical_ie.schema import Schema
from clinical_ie.tasks import bio
from clinical_ie.tasks.attribute_classification import AttributeClassification
from clinical_ie.tasks.entity_tagging import EntityTagging, TaggingExample
from clinical_ie.tasks.instruction import Instruction, InstructionExample
from clinical_ie.tasks.reading_comprehension import EntityReading, RelationReading
from clinical_ie.tasks.reading_inputs import ReadingExample
from clinical_ie.tasks.relation_classification import RelationClassification
from clinical_ie.tasks.task import Task


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


class ReadingCollator:
    """Batches for `clinical_ie.modules.EncoderReader`.

    Args:
        pad_id: Fills up ``input_ids``.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, examples: Sequence[ReadingExample]) -> Batch:
        """One batch.

        Shape:
            - input_ids, attention_mask, position_ids: ``(B, L)``
            - unit_positions, unit_mask: ``(B, W)``; query_positions, query_mask: ``(B, Q)``
            - spans: ``(G, 4)``: row, query, first word, last word (included)
            - query_ids, query_ids_mask: ``(U, L)``, the distinct queries of the batch; query_indices: ``(B, Q)``, which of
              them; slot_ids, slot_mask: ``(B, Q, F)``, words that fill a slot of the query; these where queries are packed.
        """
        spans = [
            (row, query, first, last - 1)
            for row, example in enumerate(examples)
            for query, answers in enumerate(example.spans)
            for first, last in answers
        ]
        return {
            **(self._packed(examples) if any(example.query_ids for example in examples) else {}),
            "input_ids": padded([example.input_ids for example in examples], self.pad_id),
            "attention_mask": padded([[1] * example.length for example in examples], 0),
            "position_ids": padded([example.position_ids for example in examples], 0),
            "unit_positions": padded([example.positions for example in examples], 0),
            "unit_mask": padded([[1] * len(example.positions) for example in examples], 0).bool(),
            "query_positions": padded([example.queries for example in examples], 0),
            "query_mask": padded([[1] * len(example.queries) for example in examples], 0).bool(),
            "spans": torch.tensor(spans, dtype=torch.long).reshape(-1, 4),
            "corpora": [example.corpus for example in examples],
            "example_ids": [example.id for example in examples],
        }

    def _packed(self, examples: Sequence[ReadingExample]) -> Batch:
        distinct = {query: rank for rank, query in enumerate(dict.fromkeys(query for example in examples for query in example.query_ids))}
        widest = max(len(example.query_ids) for example in examples)
        slots = [ids for example in examples for ids in (*example.slot_ids, *([()] * (widest - len(example.slot_ids))))]
        shape = (len(examples), widest, -1)
        return {
            "query_ids": padded(list(distinct), self.pad_id),
            "query_ids_mask": padded([[1] * len(query) for query in distinct], 0),
            "query_indices": padded([[distinct[query] for query in example.query_ids] for example in examples], 0),
            "slot_ids": padded(slots, 0).reshape(shape) if any(slots) else None,
            "slot_mask": padded([[1] * len(ids) for ids in slots], 0).reshape(shape) if any(slots) else None,
        }


class PlannedCollator:
    """Batches that know what they have to teach (``batch_targets``), what their optimizer step has (``step_targets``), and their sub-words.

    `subwords` are those that mean something, counted before the batch goes to a device, which would have to be waited for. `taught`
    counts the examples and targets of each source; those of a batch that teaches nothing are none.
    """

    def __init__(self, collate: Callable[[Sequence[Any]], Batch]) -> None:
        self.collate = collate

    def __call__(self, planned: Any) -> Batch:
        """One batch of the examples that a `PlannedBatch` names, which come with it."""
        examples: Sequence[Any]
        batch: PlannedBatch
        examples, batch = planned
        found = self.collate(examples)
        if "attention_mask" in found:
            found["subwords"] = int(found["attention_mask"].sum())
        teaching = examples if batch.targets else []
        counts = taught((example.source for example in teaching), (example.targets for example in teaching))
        return {**found, "batch_targets": batch.targets, "step_targets": batch.step_targets, "taught": counts}


class HostExamples:
    """Examples that a transfer of the batch to a device leaves alone."""

    def __init__(self, examples: Sequence[Any]) -> None:
        self.examples = list(examples)


class PromptCollator:
    """Batches for `clinical_ie.modules.InstructionGenerator`, which are to be answered."""

    def __call__(self, examples: Sequence[InstructionExample]) -> Batch:  # noqa: D102
        return {
            "examples": HostExamples(examples),
            "example_ids": [example.id for example in examples],
            "corpora": [example.corpus for example in examples],
        }


class InstructionCollator:
    """Batches for `clinical_ie.modules.InstructionGenerator`, which are to be learned from.

    Args:
        pad_id: Fills up ``input_ids``.
        packed: All examples in one row, each shared prefix once; else a row for each.
    """

    def __init__(self, pad_id: int, *, packed: bool) -> None:
        self.pad_id, self.packed = pad_id, packed

    def __call__(self, examples: Sequence[InstructionExample]) -> Batch:
        """One batch.

        Each segment of a row attends causally to itself and to its shared prefix, whose segment id is in `prefix_segment_ids`.

        Shape:
            - input_ids, position_ids, segment_ids, prefix_segment_ids: ``(B, L)``; segments count from 1, 0 is padding or no prefix.
            - loss_positions, targets: ``(N,)``: positions in the flattened rows, and the tokens to predict there.
        """
        rows = [_Row(examples)] if self.packed else [_Row([example]) for example in examples]
        width = max(len(row.ids) for row in rows)
        return {
            "input_ids": padded([row.ids for row in rows], self.pad_id),
            "position_ids": padded([row.positions for row in rows], 0),
            "segment_ids": padded([row.segment_ids for row in rows], 0),
            "prefix_segment_ids": padded([row.prefix_segment_ids for row in rows], 0),
            "attention_mask": padded([[1] * len(row.ids) for row in rows], 0),
            "loss_positions": torch.tensor([number * width + place for number, row in enumerate(rows) for place in row.loss_positions]),
            "targets": torch.tensor([token for row in rows for token in row.targets]),
            "example_ids": [example.id for example in examples],
            "corpora": [example.corpus for example in examples],
        }


class _Row:
    """Packed examples, those with the same prefix behind one copy of it."""

    def __init__(self, examples: Sequence[InstructionExample]) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.segment_ids: list[int] = []
        self.prefix_segment_ids: list[int] = []
        self.loss_positions: list[int] = []
        self.targets: list[int] = []
        groups: dict[tuple[int, ...], list[InstructionExample]] = {}
        for example in examples:
            groups.setdefault(example.prefix_ids, []).append(example)
        segment = 0
        for prefix_ids, members in groups.items():
            segment += 1
            prefix_segment = segment
            self._add(prefix_ids, 0, segment, 0)
            for example in members:
                segment += 1
                first = len(self.ids) + len(example.input_ids) - 1
                self._add((*example.input_ids, *example.response[:-1]), len(prefix_ids), segment, prefix_segment)
                self.loss_positions += range(first, first + len(example.response))
                self.targets += example.response

    def _add(self, ids: Sequence[int], first_position: int, segment: int, prefix_segment: int) -> None:
        self.ids += ids
        self.positions += range(first_position, first_position + len(ids))
        self.segment_ids += [segment] * len(ids)
        self.prefix_segment_ids += [prefix_segment] * len(ids)


def collator_for(
    tasks: Collection[Task[Any]],
    pad_id: int,
    schemas: Mapping[str, Schema],
    *,
    training: bool = False,
    packed: bool = False,
) -> Callable[[Sequence[Any]], Batch]:
    """What makes batches of examples.

    Args:
        tasks: Whose examples; instructions of several tasks stand in one batch.
        pad_id: Fills up what is short.
        schemas: Corpus -> schema.
        training: Instructions are to be learned from; else they are to be answered.
        packed: All instructions of a training batch share a row.

    Raises:
        SettingError: No batches are known for these tasks.
    """
    if all(isinstance(task, Instruction) for task in tasks):
        return InstructionCollator(pad_id, packed=packed) if training else PromptCollator()
    if len(tasks) == 1:
        (task,) = tasks
        if isinstance(task, EntityTagging):
            return TaggingCollator(pad_id, schemas)
        if isinstance(task, RelationClassification):
            return PairCollator(pad_id, schemas)
        if isinstance(task, AttributeClassification):
            return AttributeCollator(pad_id, schemas)
        if isinstance(task, EntityReading | RelationReading):
            return ReadingCollator(pad_id)
    raise SettingError(f"no batches are known for {' and '.join(type(task).__name__ for task in tasks)}")
