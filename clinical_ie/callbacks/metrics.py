"""Scores as torchmetrics: summed counts, so that ranks add up."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from clinical_ie.schema import Schema
from clinical_ie.scoring.counts import MODES, Counts, DocumentCounts, Kind, total

_FIELDS = ("tp", "fp", "fn")

AVERAGED = ("strict_f1", "strict_precision", "strict_recall", "lenient_f1")
"""Scores whose means over corpora and tasks are logged."""

SCORED: dict[Kind, str] = {"entities": "entities", "relations": "links", "attributes": "attributes"}
"""What keys of scores call what they are of: a task that finds relations finds arguments of events and their values too."""


def monitored(kinds: Iterable[Kind]) -> str:
    """The key of the development score by which the best checkpoint of tasks that find these is kept: the mean over corpora and tasks.

    Example:
        >>> monitored(["relations"]), monitored(["entities", "relations"])
        ('dev/links/strict_f1', 'dev/strict_f1')
    """
    found = set(kinds)
    return f"dev/{SCORED[found.pop()]}/strict_f1" if len(found) == 1 else "dev/strict_f1"


class TypeScore(Metric):
    """Counts of mentions, links or attributes per type, strict and lenient.

    Args:
        kind: What is counted.
        schema: Its types are the rows of the states; one more row counts types outside the schema, which only gold can have.

    Shape:
        - states: ``(types + 1, 3)``, true positives, false positives, false negatives.
    """

    full_state_update = False
    strict: Tensor
    lenient: Tensor

    def __init__(self, kind: Kind, schema: Schema, **options: Any) -> None:
        super().__init__(**options)
        self.kind: Kind = kind
        self.types = {
            "entities": schema.entity_names,
            "relations": tuple(dict.fromkeys(relation.name for relation in schema.relations)),
            "attributes": tuple(label for attribute in schema.attributes for label in attribute.labels),
        }[kind]
        for mode in MODES:
            self.add_state(mode, torch.zeros(len(self.types) + 1, len(_FIELDS), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, *documents: DocumentCounts) -> None:
        """Add what the pure scoring functions counted in documents; a corpus, or the share of a rank, may have none."""
        for document, mode in product(documents, MODES):
            state = getattr(self, mode)
            for name, counts in getattr(document, self.kind)[mode].items():
                state[self.types.index(name) if name in self.types else -1] += torch.tensor(
                    [counts.tp, counts.fp, counts.fn], device=state.device
                )

    def compute(self) -> dict[str, float]:
        """``strict_f1``, ``strict_precision``, ... and the same per type behind ``types/TYPE/``."""
        found: dict[str, float] = {}
        for mode in MODES:
            rows = [Counts(*row) for row in getattr(self, mode).tolist()]
            for prefix, counts in [("", total(rows)), *((f"types/{name}/", row) for name, row in zip(self.types, rows[:-1], strict=True))]:
                found[f"{prefix}{mode}_precision"] = counts.precision
                found[f"{prefix}{mode}_recall"] = counts.recall
                found[f"{prefix}{mode}_f1"] = counts.f1
        return found
