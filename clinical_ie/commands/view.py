"""``clinical-ie view``: annotated notes as one page to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clinical_ie.commands.annotated_notes import AnnotatedNotes, add_options, check_there, tell_findings
from clinical_ie.commands.arguments import Parser, count
from clinical_ie.reports.note_page import MOST_DOCUMENTS, NotePage


def run(arguments: Sequence[str]) -> int:
    """Write the page, and say where it is."""
    options = _parser().parse_args(arguments[1:])
    check_there(options.dir)
    notes = AnnotatedNotes.of(options)
    path = Path(options.output or f"{Path(options.dir).resolve().name.removesuffix('.jsonl')}.view.html")
    with NotePage(path, notes.name, compared=notes.compared, most=options.most) as page:
        for note in notes:
            page.add(note.predicted, note.gold, note.seen, note.remark, note.links_apart)
    tell_findings(notes.findings)
    left = f", {page.left_out:,} left out (--most)" if page.left_out else ""
    gold = ", gold beside predicted" if notes.compared else ""
    print(f"{path}: {page.documents:,} documents{gold}{left}; {path.stat().st_size / 1e6:.1f} MB, open it in a browser")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="clinical-ie view",
        example="clinical-ie view runs/demo --output notes.html",
        description="Write annotated notes as one page that loads nothing from anywhere: mentions, links and attributes, gold beside"
        " predicted with errors by kind, filters, search. The page holds note text: keep it where notes may lie.",
    )
    add_options(parser)
    parser.add_argument("--output", metavar="FILE.html", help="the page (default: NAME.view.html in the working directory)")
    parser.add_argument(
        "--most", type=count, default=MOST_DOCUMENTS, metavar="N", help="documents on the page; more are counted (default: %(default)s)"
    )
    return parser
