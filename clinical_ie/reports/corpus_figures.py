"""A corpus as tables and pictures."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinical_ie.errors import SettingError
from clinical_ie.files import write_bytes, write_text
from clinical_ie.reports.corpus_statistics import QUANTILES, Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS = (
    ("documents", "documents"),
    ("tokens", "tokens"),
    ("events", "events"),
    ("attributes", "attributes"),
    ("nested mentions", "nested"),
    ("crossing mentions", "crossing"),
    ("second mentions of a span", "same_span"),
    ("overlapping in their layer", "overlapping_in_layer"),
    ("discontinuous mentions", "discontinuous"),
    ("links across sentences", "cross_sentence"),
)


def tables(name: str, splits: Mapping[str, Statistics]) -> list[Table]:
    """Overview, entities and relations, one column for each split."""
    overview = _table(f"{name}: overview", splits)
    for title, attribute in _ROWS:
        overview.add_row(title, *(f"{getattr(statistics, attribute):,}" for statistics in splits.values()))
    for place, share in enumerate(QUANTILES):
        title = {0.0: "shortest", 0.5: "median", 1.0: "longest"}.get(share, f"{share:.0%} quantile")
        overview.add_row(f"tokens of a document, {title}", *(f"{s.length_quantiles()[place]:,}" for s in splits.values()))
    found = [overview]
    for kind in ("entities", "relations"):
        table = _table(f"{name}: {kind}", splits)
        names = sorted({key for statistics in splits.values() for key in getattr(statistics, kind)})
        for key in names:
            table.add_row(Text(key), *(f"{getattr(statistics, kind)[key]:,}" for statistics in splits.values()))
        table.add_section()
        table.add_row("all", *(f"{sum(getattr(statistics, kind).values()):,}" for statistics in splits.values()))
        if names:
            found.append(table)
    return found


def _table(title: str, splits: Mapping[str, Statistics]) -> Table:
    table = Table(title=Text(title), title_justify="left")
    table.add_column("")
    for split in splits:
        table.add_column(split, justify="right")
    return table


def figure(name: str, splits: Mapping[str, Statistics]) -> Figure:
    """Entity types, relation types and document lengths."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = {split: statistics for split, statistics in splits.items() if statistics.documents}
    kinds = {
        kind: sorted(
            {key for s in shown.values() for key in getattr(s, kind)},
            key=lambda key, kind=kind: sum(getattr(s, kind)[key] for s in shown.values()),  # type: ignore[misc]
        )[-40:]
        for kind in ("entities", "relations")
    }
    height = max(3.5, 0.19 * max(map(len, kinds.values())) + 1.5)
    picture = Figure(figsize=(14, height), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots(1, 3, width_ratios=[2, 2, 1.6])
    for axis, (kind, names) in zip(axes[:2], kinds.items(), strict=True):
        left = [0] * len(names)
        for split, statistics in shown.items():
            counts = [getattr(statistics, kind)[key] for key in names]
            axis.barh(range(len(names)), counts, left=left, label=split)
            left = [a + b for a, b in zip(left, counts, strict=True)]
        axis.set_title(kind)
        axis.set_yticks(range(len(names)), names, fontsize=7, parse_math=False)  # a dollar in a name begins no formula
    axes[2].set_title("tokens of a document")
    if shown:
        axes[2].hist([s.lengths for s in shown.values()], bins=30, stacked=True, label=list(shown))
        axes[2].legend(fontsize=8)
    picture.suptitle(name, parse_math=False)
    return picture


def write_figure(path: str, name: str, splits: Mapping[str, Statistics]) -> None:
    """A ``.png``, or an ``.html`` page with the picture and the tables.

    Raises:
        SettingError: Another ending.
    """
    target = Path(path)
    if target.suffix not in (".png", ".html"):
        raise SettingError(f"{path}: expected a name that ends in .png or .html")
    picture = figure(name, splits)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # names in scripts that the font lacks
        picture.savefig(buffer, format="png", dpi=110)
    if target.suffix == ".png":
        write_bytes(target, buffer.getvalue())
        return
    console = Console(record=True, width=110, file=io.StringIO())
    for table in tables(name, splits):
        console.print(table)
    body = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
    image = base64.b64encode(buffer.getvalue()).decode()
    title = html.escape(name)
    write_text(
        target,
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><body style="font-family:sans-serif">'
        f'<h1>{title}</h1><img alt="types and lengths" style="max-width:100%" src="data:image/png;base64,{image}">{body}</body></html>\n',
    )
