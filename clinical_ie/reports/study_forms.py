"""Tables as Markdown, LaTeX (booktabs), HTML and CSV."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable

from clinical_ie.reports.study_rows import Row
from clinical_ie.reports.study_tables import StudyTable

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    }
)  # fmt: skip


_WIDE = 6
"""Columns that fit beside each other on a page."""


def markdown(table: StudyTable) -> str:
    """A table of GitHub's Markdown under its title."""
    marks = ["---" if place < table.words else "---:" for place in range(len(table.columns))]
    lines = [table.columns, marks, *table.rows]
    text = "\n".join("| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in line) + " |" for line in lines)
    return f"### {table.title}\n\n{text}\n" + (f"\n{table.note}\n" if table.note else "")


def latex(table: StudyTable) -> str:
    """A table of the package booktabs; one of many columns is as wide as the text (graphicx)."""
    rows = [" & ".join(cell.translate(_LATEX) for cell in line) + r" \\" for line in (table.columns, *table.rows)]
    kinds = "l" * table.words + "r" * (len(table.columns) - table.words)
    caption = table.title + (f". {table.note}" if table.note else "")
    body = "\n".join([r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"])
    before, after = ("\\resizebox{\\textwidth}{!}{%\n", "}") if len(table.columns) > _WIDE else ("", "")
    head = f"\\begin{{table}}\n\\centering\n\\caption{{{caption.translate(_LATEX)}}}\n{before}\\begin{{tabular}}{{{kinds}}}"
    return f"{head}\n{body}\n\\end{{tabular}}{after}\n\\end{{table}}\n"


def page_table(table: StudyTable) -> str:
    """A table of a page; what is wider than the page can be scrolled."""
    kinds = ["" if place < table.words else ' class="n"' for place in range(len(table.columns))]
    head = "".join(f"<th{kind}>{html.escape(name)}</th>" for name, kind in zip(table.columns, kinds, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{html.escape(cell)}</td>" for cell, kind in zip(line, kinds, strict=True)) + "</tr>"
        for line in table.rows
    )
    note = f"<p class=note>{html.escape(table.note)}</p>" if table.note else ""
    inner = f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody>"
    return f"<h3>{html.escape(table.title)}</h3><div class=wide><table>{inner}</table></div>{note}\n"


def csv_rows(rows: Iterable[Row]) -> str:
    """One line for each score of each run, so that every point is there, and which run it is of; numbers in full.

    Differences stand in columns for each axis that is controlled, such as ``start_control`` and ``start_difference``.
    """
    rows = list(rows)
    axes = list(dict.fromkeys(axis for row in rows for axis in row.axes))
    repeats = list(dict.fromkeys(axis for row in rows for one in row.repeated for axis in one))
    controlled = list(dict.fromkeys(axis for row in rows for one in row.differences for axis in one.control))
    numbers = ("precision", "recall", "f1", "macro_f1", "tp", "fp", "fn", "documents", "gold")
    cost = ("seed", "steps", "seconds", "training_subwords", "parameters", "trainable_parameters", "peak_memory_bytes", "fingerprint")
    compared = ("control", "difference", "difference_low", "difference_high", "p", "holm")
    summary = ("mean_f1", "low", "high", "clusters", "visible", *(f"{axis}_{name}" for axis in controlled for name in compared))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["table", *axes, "source", "kind", "mode", "run", *repeats, "key", *numbers, *cost, *summary])
    for row in rows:
        ends = row.ends
        whole = [row.f1, *((ends.low, ends.high, ends.clusters) if ends else ("", "", "")), "" if row.visible is None else row.visible]
        found = {axis: (value, one) for one in row.differences for axis, value in one.control.items()}
        for axis in controlled:
            if axis in found:
                value, one = found[axis]
                whole += [value, one.value, one.ends.low, one.ends.high, *("" if p is None else p for p in (one.p, one.holm))]
            else:
                whole += [""] * len(compared)
        for number, score in enumerate((*row.strict, *row.lenient)):
            place = [row.section, *(row.axes.get(axis, "") for axis in axes), row.source, row.kind, score["mode"]]
            values = ["" if score.get(name) is None else score[name] for name in (*numbers, *cost)]
            run = number % len(row.strict)
            of_run = [run + 1, *(row.repeated[run].get(axis, "") for axis in repeats), row.keys[run]]
            writer.writerow([*place, *of_run, *values, *(whole if score["mode"] != "lenient" else [""] * len(summary))])
    return buffer.getvalue()
