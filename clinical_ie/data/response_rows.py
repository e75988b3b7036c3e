"""Rows of examples whose responses are only scored (teacher forcing), apart from the batches that are learned from."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from clinical_ie.data.batching import budget_batches, packed_batches
from clinical_ie.data.collation import InstructionCollator
from clinical_ie.data.padding import Batch
from clinical_ie.tasks.instruction import InstructionExample


def rows_of_responses(examples: Sequence[InstructionExample], budget: int, pad_id: int, *, packed: bool) -> list[Batch]:
    """Batches of all examples.

    Args:
        examples: Any, of any prefixes.
        budget: Most tokens of a batch; a longer example is a batch of its own.
        pad_id: Fills up rows.
        packed: Examples share a row and their prefixes; else there is a row for each, beside others of similar length.
    """
    if packed:
        prefixes = {ids: number for number, ids in enumerate(dict.fromkeys(example.prefix_ids for example in examples))}
        own = [example.length - len(example.prefix_ids) for example in examples]
        groups = packed_batches(own, [prefixes[example.prefix_ids] for example in examples], [len(ids) for ids in prefixes], budget)
    else:
        groups = budget_batches([example.length for example in examples], budget)
    collate = InstructionCollator(pad_id, packed=packed)
    return [collate([examples[place] for place in group]) for group in groups]


def dummy_row(token: int) -> Batch:
    """One token, to be predicted from itself: what a rank without rows computes while others need its shards of the weights."""
    ids = torch.tensor([[token]])
    zeros = torch.zeros_like(ids)
    return {
        "input_ids": ids,
        "position_ids": zeros,
        "segment_ids": zeros + 1,
        "prefix_segment_ids": zeros,
        "loss_positions": zeros[0],
        "targets": ids[0],
    }
