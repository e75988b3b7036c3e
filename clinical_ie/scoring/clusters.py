"""Counts by cluster and run: what intervals and tests resample.

Mentions of one note are not independent, and neither are notes of one patient: what is drawn is the patient, where ids tell, else the note.
Nor are runs that share their shots: of several draws with several training seeds each it is the draw.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinical_ie.errors import InputError, printable


@dataclass(frozen=True, slots=True)
class Clustered:
    """A cell of a table: the counts of its runs, which differ in nothing but the training seed and the draw of shots, on the same clusters.

    Attributes:
        names: Of the clusters.
        counts: Of each run in each cluster.
        units: The unit of each run, from 0; a run of its own each where nothing is said. Runs of a unit are averaged, units are resampled.

    Shape:
        - counts: ``(S, C, 3)``, runs, clusters, and true positives, false positives, false negatives.
        - units: ``(S,)``.
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    units: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Runs are units."""
        if not self.units:
            object.__setattr__(self, "units", tuple(range(len(self.counts))))

    @classmethod
    def of(
        cls, runs: Iterable[Mapping[str, Sequence[int]]], groups: Mapping[str, str] | None = None, units: Iterable[Hashable] = ()
    ) -> Clustered:
        """Documents of each run, added up by cluster.

        Args:
            runs: Document -> its true positives, false positives and false negatives, for each run.
            groups: Document -> its cluster; a document without one is a cluster of its own.
            units: What runs share, such as the draw of their shots: for each run, or none where each is by itself.

        Raises:
            InputError: No runs, or runs on different documents.
        """
        tables, groups = list(runs), groups or {}
        if not tables:
            raise InputError("no runs to score; expected one for each training seed")
        for number, table in enumerate(tables[1:], 2):
            if odd := sorted(table.keys() ^ tables[0].keys()):
                raise InputError(f"runs of one cell need the same documents; number 1 and {number} differ in {printable(odd[0])}")
        places: dict[str, int] = {}
        rows = [places.setdefault(groups.get(document, document), len(places)) for document in tables[0]]
        counts = np.zeros((len(tables), len(places), 3), dtype=np.int64)
        for seed, table in enumerate(tables):
            np.add.at(counts[seed], rows, np.array([tuple(table[document]) for document in tables[0]], dtype=np.int64).reshape(-1, 3))
        numbers: dict[Hashable, int] = {}
        return cls(tuple(places), counts, tuple(numbers.setdefault(unit, len(numbers)) for unit in units))

    @property
    def seeds(self) -> int:
        """How many units of runs there are."""
        return max(self.units, default=-1) + 1

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return len(self.names)

    @property
    def f1(self) -> float:
        """Mean of the runs' micro F1, over the runs of each unit first."""
        return float(self.by_unit(f1(self.counts.sum(1))).mean())

    def by_unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means over the runs of each unit: ``(S, ...)`` -> ``(units, ...)``."""
        if self.seeds == len(self.units):
            return values
        return np.stack([values[np.equal(self.units, unit)].mean(0) for unit in range(self.seeds)])


def f1(counts: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of rows of (tp, fp, fn); 0 where all are 0."""
    tp, fp, fn = counts[..., 0], counts[..., 1], counts[..., 2]
    total = 2 * tp + fp + fn
    scores: NDArray[np.float64] = np.divide(2 * tp, total, out=np.zeros(total.shape), where=total > 0)
    return scores


def check_pair(first: Clustered, second: Clustered) -> None:
    """Make sure that two cells can be compared cluster by cluster.

    Raises:
        InputError: They were not scored on the same clusters, in the same order.
    """
    if first.names != second.names:
        odd = sorted(set(first.names) ^ set(second.names))
        where = f", such as {printable(odd[0])}" if odd else " in their order"
        raise InputError(
            "a paired comparison needs the same documents;"
            f" the systems have {first.clusters} and {second.clusters} clusters, which differ{where}"
        )
