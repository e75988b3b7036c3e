"""Which types are taken for which others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clinical_ie.document import Document
from clinical_ie.scoring.matching import overlapping

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING = "(none)"


def confusion_counts(gold: Sequence[Document], predicted: Sequence[Document]) -> Counter[tuple[str, str]]:
    """How often a mention of a type was predicted as which type, by shared characters.

    A gold mention of the same type under a predicted one counts as right; a mention without any counterpart
    counts against ``(none)``.
    """
    found: Counter[tuple[str, str]] = Counter()
    for one, other in zip(gold, predicted, strict=True):
        rows = overlapping([(e.start, e.end) for e in one.entities], [(e.start, e.end) for e in other.entities])
        met = {place for row in rows for place in row}
        for entity, row in zip(one.entities, rows, strict=True):
            types = {other.entities[place].type for place in row}
            if entity.type in types:
                found[entity.type, entity.type] += 1
            else:
                for name in types or {NOTHING}:
                    found[entity.type, name] += 1
        for place, entity in enumerate(other.entities):
            if place not in met:
                found[NOTHING, entity.type] += 1
    return found


def confusion_figure(counts: Counter[tuple[str, str]], *, title: str = "", max_types: int = 24) -> Figure:
    """The counts as a picture, rows scaled to shares; the most frequent types only."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    totals: Counter[str] = Counter()
    for (one, other), count in counts.items():
        totals[one] += count
        totals[other] += count
    names = [*sorted(name for name, _ in totals.most_common(max_types) if name != NOTHING), NOTHING]
    sums = {name: sum(counts[name, other] for other in names) for name in names}
    shares = [[counts[one, other] / sums[one] if sums[one] else 0.0 for other in names] for one in names]
    size = max(4.0, 0.36 * len(names) + 2)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7, parse_math=False)  # a dollar in a name begins no formula
    axes.set_yticks(range(len(names)), names, fontsize=7, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    axes.set_title(title, fontsize=9, parse_math=False)
    for row, one in enumerate(names):
        for column, other in enumerate(names):
            if counts[one, other]:
                colour = "white" if shares[row][column] > 0.6 else "black"
                axes.text(column, row, str(counts[one, other]), ha="center", va="center", fontsize=6, color=colour)
    return figure
