"""The report of a study, from `results.json` of its runs alone: the same files for the same results."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from clinical_ie.files import write_text
from clinical_ie.reports.note_page.writer import style
from clinical_ie.reports.study_figures import bars, curves, svg
from clinical_ie.reports.study_forms import csv_rows, latex, markdown, page_table
from clinical_ie.reports.study_rows import Axes, StudyCell, study_rows
from clinical_ie.reports.study_tables import (
    StudyTable,
    corpora_table,
    cost_table,
    meaning_table,
    outcome_table,
    overview,
    problem_table,
    score_table,
    shift_table,
    shots_table,
)

_STYLE = """
body{max-width:75em;margin:2em auto;padding:0 1em}h3{margin-top:2em}
figure{margin:1em 0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1em}
figcaption{font-size:.87em;color:var(--soft)}svg{max-width:100%;height:auto;font-family:inherit}
"""
_NO_NETWORK = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""


def write_report(
    folder: Path,
    name: str,
    about: str,
    cells: Sequence[StudyCell],
    repeats: Sequence[str],
    controls: Axes,
    curve: str,
) -> Path:
    """Write ``NAME.md``, ``NAME.tex``, ``NAME.csv`` and ``NAME.html``.

    Args:
        folder: Where to.
        name: Of the study.
        about: What it asks.
        cells: All of the study.
        repeats: Axes over which scores are averaged.
        controls: Axis -> the value that others are compared with.
        curve: The axis of numbers along which curves are drawn; none when empty.

    Returns:
        The page.
    """
    rows = study_rows(cells, repeats, controls)
    tables: list[StudyTable] = overview(rows, cells, repeats)
    sections = dict.fromkeys(row.section for row in rows)
    tables += [score_table(section, [row for row in rows if row.section == section]) for section in sections]
    tables += [corpora_table(rows), cost_table(rows), outcome_table(rows), shots_table(rows), shift_table(rows), meaning_table(rows)]
    problems = problem_table(cells, rows)
    tables = [table for table in (*tables, problems) if table.rows]
    done = sum(cell.results is not None for cell in cells)
    summary = f"{done} of {len(cells)} cells are done, by {len({cell.key for cell in cells if cell.results is not None})} runs."
    figures = {f"{what}: strict F1, its 95 % interval, and the points of single runs": svg(one) for what, one in bars(rows).items()}
    if curve:
        figures |= {
            f"{kind}: strict F1 along {curve}, with intervals and all points": svg(one) for kind, one in curves(rows, curve).items()
        }
    write_text(folder / f"{name}.md", f"# {name}\n\n{about}\n\n{summary}\n\n" + "\n".join(map(markdown, tables)))
    write_text(folder / f"{name}.tex", "% packages: booktabs, graphicx\n" + "\n".join(map(latex, tables)))
    write_text(folder / f"{name}.csv", csv_rows(rows))
    drawn = "".join(f"<figure>{picture}<figcaption>{html.escape(what)}</figcaption></figure>" for what, picture in figures.items())
    head = f'<meta charset="utf-8">{_NO_NETWORK}<meta name="viewport" content="width=device-width,initial-scale=1">'
    head += f"<title>{html.escape(name)}</title><style>{style('base.css')}{_STYLE}</style>"
    body = f"<h1>{html.escape(name)}</h1><p>{html.escape(about)}</p><p>{summary}</p>{drawn}{''.join(map(page_table, tables))}"
    write_text(folder / f"{name}.html", f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n')
    return folder / f"{name}.html"
