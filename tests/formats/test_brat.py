from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.document import (
    Attribute,
    Comment,
    Document,
    Entity,
    Equivalence,
    Event,
    Normalization,
    Relation,
    Span,
)
from clinical_ie.errors import FileFormatError, InputError
from clinical_ie.formats import brat
from clinical_ie.formats.brat.identifiers import with_brat_ids
from clinical_ie.formats.findings import Findings

TEXT = "Smokes cigars, denies pain in the left and right arm."
RECORDS = """\
T1\tTobacco 0 6\tSmokes
T2\tType 7 13\tcigars
E1\tTobacco:T1 Type:T2 Type2:T3
T3\tType 7 12\tcigar
T4\tProblem 22 38;49 52\tpain in the left arm
T5\tProblem 22 26\tpain
R1\tSame Arg1:T4 Arg2:E1
R2\tHolds Whole:T4 Part:T5
A1\tNegated T4
M1\tUncertain E1
A2\tStatus T1 on and off
*\tEquiv T4 T5 E1
N1\tReference T5 UMLS:C0030193\tPain finding
#1\tAnnotatorNotes T1\tsure? \t yes
#2\tAnnotatorNotes R1\tx
"""


def test_every_kind_of_record() -> None:
    document = brat.parse("d", TEXT, RECORDS)
    assert document.entities == (
        Entity("T1", "Tobacco", Span.of(0, 6)),
        Entity("T2", "Type", Span.of(7, 13)),
        Entity("T3", "Type", Span.of(7, 12)),
        Entity("T4", "Problem", Span(((22, 38), (49, 52)))),
        Entity("T5", "Problem", Span.of(22, 26)),
    )
    assert document.events == (Event("E1", "Tobacco", "T1", (("Type", "T2"), ("Type2", "T3"))),)
    assert document.relations == (Relation("R1", "Same", "T4", "E1"), Relation("R2", "Holds", "T4", "T5", ("Whole", "Part")))
    assert document.attributes == (
        Attribute("A1", "Negated", "T4"),
        Attribute("M1", "Uncertain", "E1"),
        Attribute("A2", "Status", "T1", "on and off"),
    )
    assert document.equivalences == (Equivalence("Equiv", ("T4", "T5", "E1")),)
    assert document.normalizations == (Normalization("N1", "Reference", "T5", "UMLS:C0030193", "Pain finding"),)
    assert document.comments == (
        Comment("#1", "AnnotatorNotes", "T1", "sure? \t yes"),
        Comment("#2", "AnnotatorNotes", "R1", "x"),
    )


def test_arguments_named_in_reverse() -> None:
    document = brat.parse("d", "a b", "T1\tX 0 1\ta\nT2\tX 2 3\tb\nR1\tAfter Arg2:T1 Arg1:T2\n")
    assert document.relations == (Relation("R1", "After", "T2", "T1"),)


def test_what_is_written_reads_the_same() -> None:
    document = brat.parse("d", TEXT, RECORDS)
    assert brat.parse("d", TEXT, brat.render(document)) == document


def test_crlf_counts_as_two_characters_and_survives(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_bytes(b"one\r\ntwo\r\n")
    (tmp_path / "n.ann").write_bytes(b"T1\tX 5 8\ttwo\r\nA1\tFlag T1\r\n")
    findings = Findings()
    (document,) = brat.read(tmp_path, findings)
    assert document.covered(document.entities[0].span) == "two"
    assert document.attributes == (Attribute("A1", "Flag", "T1"),)
    assert not list(findings)
    brat.write([document], tmp_path / "out")
    assert (tmp_path / "out" / "n.txt").read_bytes() == b"one\r\ntwo\r\n"


@pytest.mark.parametrize(
    ("text", "records"),
    [
        ("big\nred rash.", "T1\tX 0 12\tbig\nred rash\nT2\tY 0 3\tbig\n"),
        ("big\r\nred rash", "T1\tX 0 13\tbig\r\nred rash\r\nT2\tY 0 3\tbig\r\n"),
        ("big\r\nred rash", "T1\tX 0 13\tbig  red rash\nT2\tY 0 3\tbig\n"),
        ("big\n\nred\nrash", "T1\tX 0 13\tbig\n\nred\nrash\nT2\tY 0 3\tbig\n"),
        ("big\nred or rash", "T1\tX 0 7;11 15\tbig\nred rash\nT2\tY 0 3\tbig\n"),
        ("big\nT2\tY 0 3", "T1\tX 0 12\tbig\nT2\tY 0 3\nT2\tY 0 3\tbig\n"),
    ],
    ids=["LF", "CRLF", "CRLF as blanks", "three breaks", "fragments", "text that looks like a record"],
)
def test_covered_text_with_line_breaks_goes_on_in_the_next_line(text: str, records: str) -> None:
    findings = Findings()
    document = brat.parse("d", text, records, findings)
    assert [(entity.id, entity.start) for entity in document.entities] == [("T1", 0), ("T2", 0)]
    assert document.entities[1].end == 3
    assert not list(findings)


def test_the_text_file_wins_over_damaged_covered_text() -> None:
    findings = Findings()
    document = brat.parse("d", "Mrs Smithson", "T1\tName 4 12\tSmithsox\n", findings)
    assert document.covered(document.entities[0].span) == "Smithson"
    (warning,) = findings.warnings
    assert (warning.code, warning.line) == ("covered-text-differs", 1)
    assert "Smithso" not in str(warning)


BROKEN = {
    "mention": ("T1\tX 0\ta", "malformed-record"),
    "outside": ("T1\tX 0 99\ta", "offsets-outside-text"),
    "empty": ("T1\tX 1 1\t", "offsets-outside-text"),
    "no covered text": ("T1\tX 0 1", "no-covered-text"),
    "huge number": (f"T1\tX 0 {'9' * 5000}\ta", "offsets-outside-text"),
    "huge numbers": (f"T1\tX 0 1;{'9' * 5000} {'9' * 5001}\ta", "offsets-outside-text"),
    "attribute of one that is dropped": ("A1\tX A2\nA2\tX A3\nA3\tX T9", "unknown-target"),
    "group with an attribute that is dropped": ("A1\tX T9\n*\tX T7 A1", "unknown-target"),
    "normalization of an attribute that is dropped": ("A1\tX T9\nN1\tReference A1 A:1\tx", "unknown-target"),
    "relation": ("R1\tX Arg1:T9", "malformed-record"),
    "event": ("E1\tX T9", "malformed-record"),
    "kind": ("Q1\tX T9", "malformed-record"),
    "target of a relation": ("R1\tX Arg1:T9 Arg2:T8", "unknown-target"),
    "target of an attribute": ("A1\tX T9", "unknown-target"),
    "trigger": ("E1\tX:T9", "unknown-target"),
    "argument": ("E1\tX:T7 Role:T9", "unknown-target"),
    "trigger that is an event": ("E1\tX:E2\nE2\tX:T7", "unknown-target"),
    "member": ("*\tX T7 T9", "unknown-target"),
    "normalization": ("N1\tReference T9 A:1\tx", "unknown-target"),
    "duplicate": ("T7\tX 0 1\ta", "duplicate-id"),
}


@pytest.mark.parametrize(("record", "code"), BROKEN.values(), ids=list(BROKEN))
def test_strict_stops_with_file_and_line_and_lenient_counts(record: str, code: str) -> None:
    records = f"T7\tY 2 3\tb\n\n{record}\n"
    with pytest.raises(FileFormatError) as caught:
        brat.parse("d", "a b", records, path="folder/d.ann")
    assert 3 <= caught.value.line < 3 + record.count("\n") + 1
    assert caught.value.path == "folder/d.ann"
    assert len(str(caught.value)) < 300
    findings = Findings(strict=False)
    document = brat.parse("d", "a b", records, findings)
    assert findings.counts()[code] >= 1
    assert document.entities[0] == Entity("T7", "Y", Span.of(2, 3))
    assert len(list(document.links())) <= 1
    document.anchors()


def test_lenient_keeps_both_of_a_duplicate_id_and_mends_fragments() -> None:
    findings = Findings(strict=False)
    document = brat.parse("d", "a b", "T1\tX 0 1\ta\nT1\tY 2 3;0 1\tb a\n", findings)
    first, second = document.entities
    assert first.id == "T1" != second.id
    assert second.span == Span(((0, 1), (2, 3)))
    assert sorted(findings.counts().elements()) == ["duplicate-id", "fragments-out-of-order"]


def test_folders(tmp_path: Path) -> None:
    documents = [Document("b/two", "x"), Document("one", "y", (Entity("T1", "X", Span.of(0, 1)),))]
    brat.write(documents, tmp_path)
    (tmp_path / "alone.txt").write_text("no annotations")
    findings = Findings()
    assert brat.read(tmp_path, findings) == documents
    assert findings.counts() == {"no-annotation-file": 1}
    (tmp_path / "one.txt").unlink()
    with pytest.raises(FileFormatError, match=r"one\.ann"):
        brat.read(tmp_path)
    assert brat.read(tmp_path, texts={"one": "y"}) == documents


@pytest.mark.parametrize("name", ["missing", "."])
def test_nothing_to_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.ann"):
        brat.read(tmp_path / name)


def test_ids_of_other_formats_become_ids_that_brat_can_read() -> None:
    """RadGraph counts its entities 1, 2, ...: what `render` writes has to be BRAT all the same."""
    document = Document("d", "a b", (Entity("1", "X", Span.of(0, 1)), Entity("2", "Y", Span.of(2, 3))), (Relation("R1", "m", "1", "2"),))
    back = brat.parse("d", "a b", brat.render(document))
    assert [(e.type, e.span) for e in back.entities] == [("X", Span.of(0, 1)), ("Y", Span.of(2, 3))]
    assert [(kind, head.type, tail.type) for _, kind, head, tail in back.links()] == [("m", "X", "Y")]


def test_a_note_with_a_line_break_can_be_read_back() -> None:
    mention = (Entity("T1", "X", Span.of(0, 1)),)
    document = Document("d", "a b", mention, comments=(Comment("#1", "AnnotatorNotes", "T1", "first\nsecond"),))
    back = brat.parse("d", "a b", brat.render(document))
    assert back.comments[0].text.split() == ["first", "second"]


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped"])
def test_an_id_from_elsewhere_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    """Ids come from other teams' files; writing them must not touch what lies beside the target."""
    with pytest.raises(InputError):
        brat.write([Document(name, "x")], tmp_path / "out")
    assert not (tmp_path / "escaped.txt").exists()


@pytest.mark.parametrize(
    ("record", "code", "fragments"),
    [
        ("T1\tX 6 9;0 3\ttwo one", "fragments-out-of-order", ((0, 3), (6, 9))),
        ("T1\tX 0 3;3 5\tone an", "fragments-touch", ((0, 3), (3, 5))),
        ("T1\tX 0 5;3 9\tone an an two", "fragments-overlap", ((0, 9),)),
        ("T1\tX 6 9;0 3;0 3\ttwo one one", "fragments-overlap", ((0, 3), (6, 9))),
    ],
)
def test_fragments_in_any_order_are_a_warning(record: str, code: str, fragments: tuple[tuple[int, int], ...]) -> None:
    """BRAT itself writes them so, and every character of the mention is beyond doubt."""
    findings = Findings()
    document = brat.parse("d", "one an two", record.replace("one an an two", "one a an two"), findings)
    assert document.entities == (Entity("T1", "X", Span(fragments)),)
    assert findings.counts()[code] == 1
    assert not findings.errors


def test_a_message_shows_no_more_than_the_first_fragments() -> None:
    ranges = ";".join(f"{place} {place + 1}" for place in range(5000, 0, -2))
    findings = Findings()
    brat.parse("d", "x" * 6000, f"T1\tX {ranges}\tx\n", findings)
    assert {finding.code for finding in findings} == {"fragments-out-of-order", "covered-text-differs"}
    assert all(len(str(finding)) < 250 for finding in findings)
    with pytest.raises(FileFormatError) as caught:
        brat.parse("d", "x", f"T1\tX {ranges}\tx\n")
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_line_end_and_a_byte_order_mark_of_annotation_files(ends: str, mark: str) -> None:
    findings = Findings()
    assert brat.parse("d", TEXT, mark + RECORDS.replace("\n", ends), findings) == brat.parse("d", TEXT, RECORDS)
    assert not list(findings)


def test_a_single_carriage_return_between_two_records_ends_the_first() -> None:
    findings = Findings()
    document = brat.parse("d", "a\rb", "T1\tX 0 1\ta\rT2\tX 2 3\tb\nT3\tX 0 3\ta\rb\n#1\tNote T1\tfirst\rsecond\n", findings)
    assert [(entity.id, entity.span) for entity in document.entities] == [
        ("T1", Span.of(0, 1)), ("T2", Span.of(2, 3)), ("T3", Span.of(0, 3)),
    ]  # fmt: skip
    assert document.comments[0].text == "first\rsecond"
    assert not list(findings)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_covered_text_of_several_fragments_goes_on_over_any_line_end_of_the_text(end: str) -> None:
    text = f"big{end}red or rash{end}here"
    fragments = [(0, text.index(" or")), (text.index("rash"), len(text))]
    ranges = ";".join(f"{a} {b}" for a, b in fragments)
    findings = Findings()
    document = brat.parse("d", text, f"T1\tX {ranges}\tbig\nred rash\nhere\nT2\tX 0 3\tbig\n", findings)
    assert [entity.id for entity in document.entities] == ["T1", "T2"]
    assert not list(findings)


def test_a_byte_order_mark_of_the_text_is_a_character() -> None:
    document = brat.parse("d", "\ufeffone", "T1\tX 1 4\tone\n")
    assert document.covered(document.entities[0].span) == "one"


@pytest.mark.parametrize(
    ("record", "hint"),
    [
        ("T1\tAdverse Event 0 4\tRash", True),
        ("T1\tAdverse Event 0 1;2 4\tRash", True),
        ("R1\tcaused by Arg1:T1 Arg2:T2", True),
        ("E1\tAdverse Event:T1", True),
        ("T1\tDrug 0\tRash", False),
        ("R1\tcaused Arg1:T1", False),
    ],
)
def test_a_blank_in_a_type_is_named(record: str, hint: bool) -> None:
    with pytest.raises(FileFormatError) as caught:
        brat.parse("d", "Rash", record)
    assert ("a type has no blank in it" in str(caught.value)) is hint
    assert "Adverse" not in str(caught.value)


def test_a_blank_in_an_entry_is_kept_and_counted() -> None:
    findings = Findings()
    document = brat.parse(
        "d", "pain", "T1\tX 0 4\tpain\nN11\tReference T1 UMLS: C1300072\tpain\nN12\tReference T1 UMLS:C2 \tpain\n", findings
    )
    assert [entry.entry for entry in document.normalizations] == ["UMLS: C1300072", "UMLS:C2"]
    assert findings.counts() == {"blank-in-entry": 1}
    assert brat.parse("d", "pain", brat.render(document)) == document


def test_lenient_reading_drops_what_stands_on_dropped_attributes_and_keeps_circles() -> None:
    records = "T1\tX 0 1\ta\nA1\tNeg T9\nA2\tSure A1\nN1\tReference A2 A:1\tx\n*\tSame T1 A2\nA3\tSure A4\nA4\tSure A3\nA5\tNeg T1\n"
    findings = Findings(strict=False)
    document = brat.parse("d", "a b", records, findings)
    assert [attribute.id for attribute in document.attributes] == ["A3", "A4", "A5"]
    assert (document.normalizations, document.equivalences) == ((), ())
    assert findings.counts() == {"unknown-target": 4}


def test_targets_that_are_no_ids_are_not_shown() -> None:
    """Swapped fields put words of the note where an id belongs."""
    with pytest.raises(FileFormatError) as caught:
        brat.parse("d", "a", "T1\tX 0 1\ta\nA1\tNeg Smithson\n")
    assert "A1 refers to (an id of 8 characters)" in str(caught.value)


def test_texts_that_no_file_holds_are_refused(tmp_path: Path) -> None:
    for text in ("nul \0", "half \ud83d a pair"):
        with pytest.raises(FileFormatError, match="document n: its text"):
            brat.write([Document("good", "a"), Document("n", text)], tmp_path / "out")
        assert not (tmp_path / "out").exists()
    findings = Findings(strict=False)
    brat.write([Document("good", "a"), Document("n", "nul \0")], tmp_path / "out", findings)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.ann", "good.txt"]
    assert findings.counts() == {"unrepresentable": 1}


def test_other_ids_keep_confidences() -> None:
    given = Document(
        "d",
        TEXT,
        (Entity("a", "Tobacco", Span.of(0, 6), 0.5), Entity("b", "Type", Span.of(7, 13), 0.25)),
        (Relation("r", "Same", "a", "b", confidence=0.125),),
        (Event("e", "Tobacco", "a", (("Type", "b"),), 0.75, (0.375,)),),
        (Attribute("x", "Sure", "a", confidence=0.625),),
    )
    found = with_brat_ids(given)
    assert [one.id for one in (*found.entities, *found.events, *found.relations, *found.attributes)] == ["T1", "T2", "E1", "R1", "A1"]
    assert [one.confidence for one in (*found.entities, *found.events, *found.relations, *found.attributes)] == [
        0.5,
        0.25,
        0.75,
        0.125,
        0.625,
    ]
    assert found.events[0].argument_confidences == (0.375,)
