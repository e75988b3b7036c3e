"""Tables of errors against a note whose errors are counted by hand."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from rich.console import Console

from clinical_ie.document import Attribute, Document, Entity, Relation, Span
from clinical_ie.reports.error_counts import EXTRA, MISSING, ErrorCounts
from clinical_ie.reports.error_tables import errors_json, show_errors, write_rows
from clinical_ie.reports.outcomes import OutcomeRow, outcome_rows
from clinical_ie.scoring.alignment import Alignment
from clinical_ie.scoring.counts import total
from clinical_ie.scoring.strict_one_to_one import StrictOneToOne

TEXT = "ALLERGIES: severe penicillin rash\nPLAN: aspirin 5 mg daily for chest pain"


def mention(name: str, kind: str, words: str, confidence: float | None = None) -> Entity:
    at = TEXT.index(words)
    return Entity(name, kind, Span.of(at, at + len(words)), confidence)


GOLD = Document(
    "ward/1",
    TEXT,
    (
        mention("T1", "Drug", "penicillin"),
        mention("T2", "Problem", "severe penicillin rash"),
        mention("T3", "Drug", "aspirin"),
        mention("T4", "Dose", "5 mg"),
        mention("T5", "Problem", "chest pain"),
    ),
    (Relation("R1", "Of", "T4", "T3"), Relation("R2", "For", "T3", "T5")),
)
PREDICTED = Document(
    "ward/1",
    TEXT,
    (
        mention("T1", "Drug", "penicillin", 0.9),
        mention("T2", "Problem", "penicillin rash", 0.4),
        mention("T3", "Drug", "aspirin", 0.8),
        mention("T4", "Strength", "5 mg"),
        mention("T6", "Time", "daily"),
    ),
    (Relation("R1", "Of", "T4", "T3", confidence=0.3),),
)


def rows(*, texts: bool = False) -> list[OutcomeRow]:
    return list(outcome_rows(Alignment.of(GOLD, PREDICTED), ["T1", "T5"], texts=texts))


def counted(*, texts: bool = False) -> ErrorCounts:
    counts = ErrorCounts()
    counts.add_document()
    for row in rows(texts=texts):
        counts.add(row)
    return counts


def table(title: str, counts: ErrorCounts | None = None) -> dict[str, tuple[str | int, ...]]:
    (found,) = (one for one in (counts or counted()).tables() if one.title == title)
    return {str(row[0]): row[1:] for row in found.rows}


def test_by_type() -> None:
    """Columns: gold, correct, boundary, type, boundary and type, missed, spurious, precision, recall, F1."""
    assert table("Mentions by type") == {
        "Dose": (1, 0, 0, 1, 0, 0, 0, "0.000", "0.000", "0.000"),
        "Drug": (2, 2, 0, 0, 0, 0, 0, "1.000", "1.000", "1.000"),
        "Problem": (2, 0, 1, 0, 0, 1, 0, "0.000", "0.000", "0.000"),
        "Time": (0, 0, 0, 0, 0, 0, 1, "0.000", "", "0.000"),
        "all": (5, 2, 1, 1, 0, 1, 1, "0.400", "0.400", "0.400"),
    }
    assert table("Links by type")["all"] == (2, 0, 0, 1, 0, 1, 0, "0.000", "0.000", "0.000")


def test_boundaries_confusions_strings_lengths_and_sections() -> None:
    assert table("Boundaries that differ") == {"begins later, ends where gold does": ("shorter", 1)}
    assert table("Most frequent confusions of types") == {"Dose → Strength": ("mention", 1)}
    seen = table("Mentions by whether training has seen their string")
    assert {name: row[:2] for name, row in seen.items()} == {"seen in training": (2, 1), "not seen in training": (3, 1)}
    assert {name: row[0] for name, row in table("Mentions by length").items()} == {"1 word": 2, "2 words": 2, "3 words": 1}
    assert {name: row[0] for name, row in table("Mentions by section").items()} == {"allergies": 2, "assessment and plan": 3}


def test_a_missed_link_says_whether_its_mentions_were_found() -> None:
    (found,) = (one for one in counted().tables() if one.title == "Links by type")
    assert found.note == "Of 1 missed links, 1 lack a mention that was not found with its type."


def test_no_note_text_unless_asked_for() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    show_errors(counted(), console)
    file = io.StringIO()
    write_rows(rows(), file, texts=False)
    shown = console.export_text() + file.getvalue() + str(errors_json(counted()))
    assert not any(word in shown for word in ("penicillin", "aspirin", "5 mg", "daily", "chest", "rash"))
    assert [row[0] for row in list(csv.reader(io.StringIO(file.getvalue())))[1:]] == ["ward/1"] * 8
    assert table("Strings most often wrong", counted(texts=True)).keys() == {"severe penicillin rash", "5 mg", "chest pain", "daily"}


def test_rows_hold_what_an_analysis_needs() -> None:
    file = io.StringIO()
    write_rows(rows(texts=True), file, texts=True)
    (boundary,) = (row for row in csv.DictReader(io.StringIO(file.getvalue())) if row["of"] == "mention" and row["outcome"] == "boundary")
    assert boundary == {
        "document": "ward/1", "of": "mention", "outcome": "boundary", "gold_id": "T2", "gold_type": "Problem", "gold_offsets": "11-33",
        "predicted_id": "T2", "predicted_type": "Problem", "predicted_offsets": "18-33", "confidence": "0.4", "section": "allergies",
        "words": "3", "seen": "False", "start": "later", "end": "same", "ends_found": "", "text": "severe penicillin rash",
    }  # fmt: skip
    (link,) = (row for row in rows() if row.of == "link" and row.outcome == "type")
    assert (link.confidence, link.gold_offsets, link.ends_found) == (0.3, "48-52 40-47", None)


def test_documents_that_a_side_lacks_are_said() -> None:
    counts, console = ErrorCounts(), Console(width=200, record=True, file=io.StringIO())
    for remark in ("", MISSING, EXTRA):
        counts.add_document(remark)
    show_errors(counts, console)
    assert "3 documents" in (shown := console.export_text())
    assert "1 gold documents have no prediction" in shown
    assert "1 predicted documents have no gold" in shown


def test_a_discontinuous_mention_with_the_same_ends_has_other_fragments() -> None:
    gold = Document("d", "pain in left and right knee", (Entity("T1", "P", Span(((0, 12), (23, 27)))),))
    predicted = replace(gold, entities=(Entity("T1", "P", Span.of(0, 27)),))
    (row,) = outcome_rows(Alignment.of(gold, predicted))
    assert (row.outcome, row.start, row.end) == ("boundary", "same", "same")


def test_attributes_of_mentions() -> None:
    """Right, of another value, at other boundaries, missed, spurious; one of a relation does not count."""
    text = "no fever but rash and mild pain"
    fever, rash, pain = (Span.of(text.index(word), text.index(word) + len(word)) for word in ("fever", "rash", "mild pain"))
    mentions = (Entity("T1", "P", fever), Entity("T2", "P", rash), Entity("T3", "P", pain))
    relation = (Relation("R1", "X", "T1", "T2"),)
    ours = [
        ("A1", "Sure", "T1", "no"),
        ("A2", "Sure", "T2", "yes"),
        ("A3", "Sure", "T3", "yes"),
        ("A4", "Now", "T1", None),
        ("A5", "Now", "R1", None),
    ]
    theirs = [("A1", "Sure", "T1", "no"), ("A2", "Sure", "T2", "no"), ("A3", "Sure", "T3", "yes"), ("A4", "Past", "T2", None)]
    gold = Document("d", text, mentions, relation, attributes=tuple(Attribute(*one) for one in ours))
    shorter = Entity("T3", "P", Span.of(pain.start + 5, pain.end))
    predicted = Document("d", text, (*mentions[:2], shorter), relation, attributes=tuple(Attribute(*one) for one in theirs))
    counts = ErrorCounts()
    alignment = Alignment.of(gold, predicted)
    for row in outcome_rows(alignment):
        counts.add(row)
    assert {name: row[:7] for name, row in table("Attributes of mentions", counts).items()} == {
        "Now": (1, 0, 0, 0, 0, 1, 0),
        "Past": (0, 0, 0, 0, 0, 0, 1),
        "Sure=no": (1, 1, 0, 0, 0, 0, 0),
        "Sure=yes": (2, 0, 1, 1, 0, 0, 0),
        "all": (4, 1, 1, 1, 0, 1, 1),
    }
    strict = total(StrictOneToOne().count(gold, predicted).attributes["strict"].values())
    assert (strict.tp, strict.fn, strict.fp) == (1, 3, 3), "as strict scoring counts them"
    alone = ErrorCounts()
    for row in outcome_rows(Alignment.of(gold, replace(predicted, attributes=()))):
        alone.add(row)
    assert alone.attributes_apart == 4
    assert "Attributes of mentions" not in {one.title for one in alone.tables()}
