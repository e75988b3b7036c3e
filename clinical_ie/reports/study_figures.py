"""A study's figures as SVG that takes its colours and its font from the page: bars by corpus, and curves over shots."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clinical_ie.reports.study_rows import Row
from clinical_ie.reports.study_tables import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#123456"
"""What the page's own colour takes the place of."""
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f")
"""Okabe and Ito's palette, which people with colour-vision deficiency can tell apart, without black and yellow."""


def bars(rows: Sequence[Row]) -> dict[str, Figure]:
    """Table and kind -> strict F1 of every cell by corpus, with intervals and the points of single runs."""
    found = {}
    for section, kind in dict.fromkeys((row.section, row.kind) for row in rows):
        own = [row for row in rows if (row.section, row.kind) == (section, kind)]
        corpora = list(dict.fromkeys(row.corpus for row in own))
        picture, panels = _figure(1, 1, 9, 1 + 0.32 * len(own))
        panel = panels[0]
        for place, row in enumerate(own):
            colour = _COLOURS[corpora.index(row.corpus) % len(_COLOURS)]
            panel.barh(place, row.f1, color=colour, alpha=0.45)
            _marks(panel, row, place, colour, across=True)
        names = [f"{row.corpus}: {words(row.label)}, {row.task}" for row in own]
        panel.set_yticks(range(len(own)), names, fontsize=8, parse_math=False)
        panel.invert_yaxis()
        panel.set_xlim(0, 1)
        panel.set_xlabel("strict F1")
        found[f"{section}, {kind}"] = picture
    return found


def curves(rows: Sequence[Row], axis: str) -> dict[str, Figure]:
    """Kind -> strict F1 along an axis of numbers, a panel for each corpus and a line for each cell, with intervals and all points."""
    found = {}
    along = [row for row in rows if axis in row.axes]
    for kind in dict.fromkeys(row.kind for row in along):
        own = [row for row in along if row.kind == kind]
        corpora = list(dict.fromkeys(row.corpus for row in own))
        lines = _lines(own, axis)
        picture, panels = _figure(1, len(corpora), max(5, 3.4 * len(corpora)), 3.6)
        for panel, corpus in zip(panels, corpora, strict=True):
            ticks = sorted({int(row.axes[axis]) for row in own if row.corpus == corpus})
            for number, (line, by_corpus) in enumerate(lines.items()):
                points = sorted(by_corpus.get(corpus, []), key=lambda row: int(row.axes[axis]))
                places = [ticks.index(int(row.axes[axis])) + 0.06 * (number - (len(lines) - 1) / 2) for row in points]
                colour = _COLOURS[number % len(_COLOURS)]
                panel.plot(places, [row.f1 for row in points], color=colour, label=", ".join(line))
                for place, row in zip(places, points, strict=True):
                    _marks(panel, row, place, colour, across=False)
            panel.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
            panel.set_xlabel(axis)
            panel.set_ylim(bottom=0)
            panel.set_title(corpus, fontsize=9, parse_math=False)
        panels[0].set_ylabel("strict F1")
        panels[0].legend(fontsize=7, frameon=False, labelcolor=_INK)
        found[kind] = picture
    return found


def _lines(rows: Sequence[Row], axis: str) -> dict[tuple[str, str], dict[str, list[Row]]]:
    """Name and task -> corpus -> rows along the axis.

    A line may lead through several tables (from no shots to some), but only where it has one point at a time; else each table has its own.
    """
    lines: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        others = tuple((name, value) for name, value in row.axes.items() if name != axis and value != row.corpus)
        lines.setdefault((row.task, "", *others), []).append(row)
    for key, of in list(lines.items()):
        if len({(row.corpus, row.axes[axis]) for row in of}) < len(of):
            del lines[key]
            for row in of:
                lines.setdefault((row.task, row.section, *key[2:]), []).append(row)
    values: dict[str, set[str]] = {}
    for _, _, *axes in lines:
        for name, value in axes:
            values.setdefault(name, set()).add(value)
    told = {name for name, found in values.items() if len(found) > 1 or any(name not in dict(axes) for _, _, *axes in lines)}
    named: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for (task, section, *axes), of in lines.items():
        label = words({name: value for name, value in axes if name in told})
        by_corpus = named.setdefault((f"{section}: {label}" if section else label, task), {})
        for row in of:
            by_corpus.setdefault(row.corpus, []).append(row)
    return named


def svg(picture: Figure) -> str:
    """The figure as an element of a page: no date, no programme, the page's colour and font; the same bytes for the same figure."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "clinical_ie", "svg.fonttype": "none"}):
        picture.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue().replace(_INK, "currentColor")
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    return text[text.index("<svg") :]


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(picture)
    picture.get_layout_engine().set(w_pad=0.1, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    panels = list(picture.subplots(rows, columns, squeeze=False).flat)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(_INK)
        panel.tick_params(colors=_INK, labelsize=8)
        for label in (panel.xaxis.label, panel.yaxis.label, panel.title):
            label.set_color(_INK)
    return picture, panels


def _marks(panel: Axes, row: Row, place: float, colour: str, *, across: bool) -> None:
    """The interval, and a point for each run."""
    if row.ends is not None:
        ends = [row.ends.low, row.ends.high]
        panel.plot(ends if across else [place, place], [place, place] if across else ends, color=colour, linewidth=1.5)
    places = [place] * len(row.points)
    xs, ys = (row.points, places) if across else (places, row.points)
    panel.plot(xs, ys, linestyle="", marker="o", markersize=3.5, markerfacecolor="none", color=colour)
