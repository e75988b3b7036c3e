"""``clinical-ie errors``: what is wrong with predictions, counted."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence

from clinical_ie.commands.annotated_notes import AnnotatedNote, AnnotatedNotes, add_options, check_there, tell_findings
from clinical_ie.commands.arguments import Parser
from clinical_ie.document import Document
from clinical_ie.errors import SettingError, printable
from clinical_ie.files import write_text, writing
from clinical_ie.reports.error_counts import ErrorCounts
from clinical_ie.reports.outcomes import OutcomeRow, outcome_rows
from clinical_ie.scoring.alignment import Alignment


def run(arguments: Sequence[str]) -> int:
    """Count, write, print."""
    options = _parser().parse_args(arguments[1:])
    check_there(options.dir)
    notes = AnnotatedNotes.of(options)
    if not notes.compared:
        raise SettingError(
            f"{printable(options.dir)}: nothing to compare with; give --gold DIR, or test the run again (`clinical-ie test` keeps gold"
            " beside its predictions)"
        )
    from clinical_ie.reports.error_tables import errors_json, show_errors, write_rows

    counts = ErrorCounts()
    rows = _counted(notes, counts, texts=options.show_text)
    with writing(options.csv) if options.csv else contextlib.nullcontext() as file:
        if file is not None:
            write_rows(rows, file, texts=options.show_text)
        else:
            for _ in rows:
                pass
    if options.json:
        write_text(options.json, json.dumps(errors_json(counts), indent=1, ensure_ascii=False) + "\n")
    tell_findings(notes.findings)
    show_errors(counts)
    return 0


def _counted(notes: Iterable[AnnotatedNote], counts: ErrorCounts, *, texts: bool) -> Iterator[OutcomeRow]:
    """All rows, counted as they go by."""
    for note in notes:
        gold = note.gold or Document(note.predicted.id, note.predicted.text)
        counts.add_document(note.remark)
        counts.links_apart += note.links_apart
        for row in outcome_rows(Alignment.of(gold, note.predicted), note.seen, texts=texts):
            counts.add(row)
            yield row


def _parser() -> Parser:
    parser = Parser(
        prog="clinical-ie errors",
        example="clinical-ie errors runs/demo --csv errors.csv",
        description="Count what is wrong with predictions, under strict one-to-one comparison: missed, spurious, other boundaries,"
        " another type; by type, by length, by section, by whether training has seen the string."
        " `clinical-ie view` shows the same in the notes.",
    )
    add_options(parser)
    parser.add_argument(
        "--csv", metavar="FILE", help="write a row for every mention and link: outcome, types, offsets, section, confidence"
    )
    parser.add_argument("--json", metavar="FILE", help="write all tables")
    parser.add_argument(
        "--show_text",
        "--show-text",
        action="store_true",
        help="words of mentions in the table of the strings most often wrong, and in --csv; notes are patients', so not without this",
    )
    return parser
