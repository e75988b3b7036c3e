"""What runs will cost: as much as runs of the same shape did, else what their settings tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from clinical_ie.reports.results import Results
from clinical_ie.studies.plan import Run
from clinical_ie.studies.store import Store


@dataclass(frozen=True, slots=True)
class Estimate:
    """Sub-words that are trained on and seconds of the training; None where nothing tells.

    Attributes:
        measured: Whether a run of the same shape was measured.
    """

    tokens: int | None
    seconds: float | None
    measured: bool


def estimates(runs: Iterable[Run], store: Store) -> dict[str, Estimate]:
    """Run -> what it costs. Without a run of the same shape: steps times the batch budget, at the usual speed of what lies there."""
    costs: dict[str, list[Mapping[str, Any]]] = {}
    speeds = []
    for key in store.known():
        if store.is_done(key):
            cost = Results.load(store.results(key)).run
            costs.setdefault(str(store.description(key).get("shape")), []).append(cost)
            if cost.get("seconds") and cost.get("training_subwords"):
                speeds.append(cost["training_subwords"] / cost["seconds"])
    return {run.key: _estimate(run, costs.get(run.content.shape, []), speeds) for run in runs}


def _estimate(run: Run, costs: list[Mapping[str, Any]], speeds: list[float]) -> Estimate:
    tokens = [int(cost["training_subwords"]) for cost in costs if cost.get("training_subwords") is not None]
    seconds = [float(cost["seconds"]) for cost in costs if cost.get("seconds") is not None]
    if tokens and seconds:
        return Estimate(int(median(tokens)), median(seconds), True)
    if run.content.steps is None:
        return Estimate(None, None, False)
    most = run.content.steps * run.content.tokens
    return Estimate(most, most / median(speeds) if speeds else None, False)
