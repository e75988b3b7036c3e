"""BRAT files as they are written."""

import random
from pathlib import Path

import pytest

from clinical_ie.document import Document, Entity, Event, Relation, Span
from clinical_ie.errors import FileFormatError, InputError
from clinical_ie.formats import brat, brat_literal
from clinical_ie.formats.brat_literal import LiteralNote
from clinical_ie.formats.findings import Findings
from clinical_ie.scoring.n2c2 import N2c22018

#       01234567890123
TEXT = "aspirin 81 mg."


def parse(*lines: str, text: str | None = TEXT, end: str = "\n") -> tuple[LiteralNote, dict[str, int]]:
    findings = Findings()
    return brat_literal.parse("a", text, end.join(lines), findings), dict(findings.counts())


ASPIRIN, DOSE = ("Drug", 0, 7), ("Dose", 8, 13)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_mentions_and_relations(end: str) -> None:
    lines = (
        "T1\tDrug 0 7\taspirin",
        "T2\tDose 8 13\t81 mg",
        "",
        "R1\tDose-Drug Arg1:T2 Arg2:T1",
        "#1\tAnnotatorNotes T1\tx",
        "A1\tSure T1",
    )
    assert parse(*lines, end=end) == (LiteralNote("a", TEXT, (ASPIRIN, DOSE), (("Dose-Drug", DOSE, ASPIRIN),)), {})


def test_arguments_in_the_order_of_the_file() -> None:
    note, _ = parse("R1\tDose-Drug Arg2:T1 Arg1:T2", "T1\tDrug 0 7\taspirin", "T2\tDose 8 13\t81 mg")
    assert note.links == (("Dose-Drug", ASPIRIN, DOSE),)


def test_arguments_that_are_events_stand_for_their_triggers() -> None:
    lines = ("T1\tDrug 0 7\taspirin", "T2\tDose 8 13\t81 mg", "E1\tDrug:T1 Has:T2", "R1\tDose-Drug Arg1:T2 Arg2:E1")
    assert parse(*lines)[0].links == (("Dose-Drug", DOSE, ASPIRIN),)


@pytest.mark.parametrize(
    ("ranges", "mention", "finding"),
    [
        ("100 107", ("Drug", 100, 107), "offsets-outside-text"),
        ("10 16", ("Drug", 10, 16), "offsets-outside-text"),
        ("7 0", ("Drug", 7, 0), "fragments-out-of-order"),
        ("7 7", ("Drug", 7, 7), "offsets-outside-text"),
        ("-3 7", ("Drug", -3, 7), "offsets-outside-text"),
        ("8 13;0 7", ("Drug", 8, 7), "fragments-out-of-order"),
        ("0 3;2 7", ("Drug", 0, 7), "fragments-out-of-order"),
    ],
)
def test_offsets_are_kept_as_they_are_written(ranges: str, mention: tuple[str, int, int], finding: str) -> None:
    note, counts = parse(f"T1\tDrug {ranges}\taspirin")
    assert note.mentions == (mention,)
    assert counts[finding] == 1


def test_the_last_of_equal_ids_counts_in_the_place_of_the_first() -> None:
    lines = [
        "T1\tDrug 0 3\tasp",
        "T2\tDose 8 13\t81 mg",
        "R1\tA Arg1:T1 Arg2:T2",
        "R2\tB Arg1:T1 Arg2:T2",
        "T1\tDrug 0 7\taspirin",
        "R1\tC Arg1:T2 Arg2:T1",
    ]
    note, counts = parse(*lines)
    assert note.mentions == (ASPIRIN, DOSE)
    assert note.links == (("C", DOSE, ASPIRIN), ("B", ASPIRIN, DOSE))
    assert counts == {"duplicate-id": 2}


def test_blanks_and_a_byte_order_mark_before_a_record() -> None:
    note, counts = parse("\ufeffT1\tDrug 0 7\taspirin", "  T2\tDose 8 13\t81 mg  ", "\t")
    assert (note.mentions, counts) == ((ASPIRIN, DOSE), {})


def test_covered_text_over_several_lines() -> None:
    lines = ("T1\tDrug 0 18\taspirin", "Tylenol", "Re", "T2\tDose 8 13\t81 mg")
    assert parse(*lines, text=None) == (LiteralNote("a", None, (("Drug", 0, 18), DOSE)), {})
    with pytest.raises(FileFormatError, match=r"a\.ann:3"):  # "aspirin\nTylenol" is all of 0-15
        parse("T1\tDrug 0 15\taspirin", "Tylenol", "Re", text=None)


@pytest.mark.parametrize(
    "line",
    [
        "T1\tDrug eight 13\tSmith",
        "T1 Drug 0 7 Smith",
        "Tylenol",
        "R1\tA Arg1:T1",
        "X1\tDrug 0 7\tSmith",
        f"T1\tDrug 0 {'9' * 5000}\tSmith",
        "T1\tDrug 0\tSmith",
    ],
)
def test_what_is_no_record_is_named_or_counted(line: str) -> None:
    with pytest.raises(FileFormatError, match=r"a\.ann:1: not a BRAT record") as caught:
        parse(line)
    assert "Smith" not in str(caught.value)
    findings = Findings(strict=False)
    assert brat_literal.parse("a", TEXT, f"{line}\nT2\tDose 8 13\t81 mg", findings).mentions == (DOSE,)
    assert findings.counts() == {"malformed-record": 1}


def test_relations_of_nothing_are_named_or_counted() -> None:
    lines = "T1\tDrug 0 7\taspirin\nR1\tA Arg1:T1 Arg2:T9\n"
    with pytest.raises(FileFormatError, match=r"a\.ann:2: the relation refers"):
        brat_literal.parse("a", TEXT, lines)
    findings = Findings(strict=False)
    assert brat_literal.parse("a", TEXT, lines, findings).links == ()
    assert findings.counts() == {"unknown-target": 1}


def test_documents_give_what_their_files_give(tmp_path: Path) -> None:
    entities = (Entity("T1", "Drug", Span(((0, 3), (4, 7)))), Entity("T2", "Dose", Span.of(8, 13)))
    document = Document("ward/a", TEXT, entities, (Relation("R1", "X", "T2", "E1"),), (Event("E1", "Drug", "T1", (("Has", "T2"),)),))
    brat.write([document], tmp_path)
    assert brat_literal.read(tmp_path) == [LiteralNote.of(document)]
    assert LiteralNote.of(document) == LiteralNote("ward/a", TEXT, (ASPIRIN, DOSE), (("X", DOSE, ASPIRIN),))


def test_damaged_files_are_named_or_counted_and_never_quoted() -> None:
    generator = random.Random(3)
    whole = "T1\tDrug 0 7\taspirin\nT2\tDose 8 10;11 13\t81 mg\nR1\tA Arg1:T1 Arg2:T2\nE1\tDrug:T1 X:T2\n#1\tNote T1\tSECRET words\n"
    for _ in range(600):
        signs = list(whole)
        for _ in range(generator.randint(1, 10)):
            place = generator.randrange(len(signs))
            signs[place : place + generator.randint(0, 3)] = generator.choice(
                ["", "T", "R", "E", "9", "-", " ", "\t", ";", ":", "\r", "\n", "\ud800"]
            )
        for strict in (True, False):
            findings, refusal = Findings(strict=strict), ""
            try:
                note = brat_literal.parse("a", TEXT, "".join(signs), findings)
            except FileFormatError as error:
                refusal = str(error)
            else:
                N2c22018().count_literally(note, note)
            assert strict or not refusal
            assert "SECRET" not in refusal + "".join(map(str, findings))


def test_folders_without_texts(tmp_path: Path) -> None:
    (tmp_path / "a.ann").write_text("T1\tDrug 10 17\taspirin\n")
    (tmp_path / "b.txt").write_text("no annotations")
    findings = Findings()
    assert brat_literal.read(tmp_path, findings) == [LiteralNote("a", None, (("Drug", 10, 17),))]
    assert not findings.items
    assert brat_literal.read(tmp_path, findings, texts={"a": TEXT})[0].text == TEXT
    assert findings.counts() == {"offsets-outside-text": 1}
    (tmp_path / "a.ann").unlink()
    with pytest.raises(InputError, match=r"no \.ann file"):
        brat_literal.read(tmp_path)


def test_offsets_that_count_otherwise() -> None:
    text = "\U0001f600 aspirin"
    findings = Findings(strict=False)
    lines = "T1\tDrug 3 10\taspirin\nT2\tDrug 1 10\tx\nT3\tDrug 12 14\tx"
    note = brat_literal.parse("a", text, lines, findings, offsets="utf-16")
    # An offset inside the pair goes to its character; those behind the text stay behind it, one less than they were.
    assert note.mentions == (("Drug", 2, 9), ("Drug", 0, 9), ("Drug", 11, 13))
    assert findings.counts() == {"offsets-outside-text": 1}
    with pytest.raises(FileFormatError, match="--offsets utf-16"):
        brat_literal.parse("a", text, "T1\tDrug 3 10\taspirin")
