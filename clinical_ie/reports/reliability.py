"""The reliability diagram: share of right annotations by confidence, before and after calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability_figure(kinds: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """A diagram for each kind of annotation; on the diagonal, confidences are shares of what is right.

    Args:
        kinds: Kind -> what `clinical_ie.scoring.calibration.described` gives.
        title: Above them.

    Reference: Niculescu-Mizil & Caruana, Predicting good probabilities with supervised learning (ICML 2005).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(kinds), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (kind, found) in enumerate(kinds.items(), 1):
        axes = figure.add_subplot(1, len(kinds), place)
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for name, bins, error, marker in (("before", "bins_before", "ece_before", "o"), ("after", "bins", "ece", "s")):
            label = f"{name}: ECE {found[error]:.3f}"
            axes.plot([x for _, x, _ in found[bins]], [y for _, _, y in found[bins]], marker=marker, markersize=4, linewidth=1, label=label)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("confidence (bins of equal mass)")
        axes.set_ylabel("right")
        axes.set_title(f"{kind}, {found['annotations']:,} predicted, temperature {found['temperature']:.2f}", fontsize=8)
        axes.legend(fontsize=8, loc="upper left")
    figure.suptitle(title, fontsize=9, parse_math=False)
    return figure
