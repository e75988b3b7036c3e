"""Inputs on which a reader that looks at anything twice for every line would take minutes; these take seconds together."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.document import Attribute, Comment, Document, Entity, Normalization, Relation, Span
from clinical_ie.errors import FileFormatError
from clinical_ie.formats import brat, i2b2
from clinical_ie.formats.findings import Findings

MANY = 20_000
LONG = 200_000
TEXT = "word " * (LONG // 5)
MENTION = "T1\tX 0 4\tword\n"

LINES = {
    "blanks before a value": "A1\tNeg T1 x" + " " * LONG + "y",
    "blanks behind an attribute": "A1\tNeg T1" + " " * LONG,
    "blanks behind an event": "E1\tX:T1" + " " * LONG + "y",
    "blanks behind a relation": "R1\tX Arg1:T1 Arg2:T1" + " " * LONG + "y",
    "blanks in a group": "*\tSame T1" + " " * LONG + "y",
    "blanks in an entry": "N1\tReference T1 A:1" + " " * LONG + "y",
    "blanks in a mention": "T2\tX" + " " * LONG + "0 4\tword",
    "blanks in a note": "#1\tNote T1\t" + " " * LONG + "y",
    "colons in an event": "E1\tX:T1 " + "a:" * (LONG // 2) + " y",
    "arguments and no end": "E1\tX:T1" + " Role:T1" * (LONG // 8) + " y",
    "a long id": "T" + "1" * LONG,
    "a long number": "T2\tX 0 " + "4" * LONG + "\tword",
    "numbers and no end": "T2\tX 0 1" + ";2 3" * (LONG // 4) + ";",
    "fragments": "T2\tX " + ";".join(f"{place} {place + 1}" for place in range(MANY, 0, -2)) + "\tword",
    "fragments that overlap": "T2\tX " + ";".join([f"0 {LONG}"] * MANY) + "\tword",
    "carriage returns and no end": "\r" * LONG + "x",
    "carriage returns": "#1\tNote T1\t" + "\rT" * (LONG // 2),
}


@pytest.mark.parametrize("line", LINES.values(), ids=list(LINES))
def test_one_long_line(line: str) -> None:
    findings = Findings(strict=False)
    document = brat.parse("d", TEXT, f"{MENTION}{line}\n", findings)
    assert document.entities[0] == Entity("T1", "X", Span.of(0, 4))
    assert all(len(str(finding)) < 300 for finding in findings)


def test_many_equal_ids() -> None:
    findings = Findings(strict=False)
    document = brat.parse("d", TEXT, MENTION * MANY, findings)
    assert len({entity.id for entity in document.entities}) == MANY
    assert findings.counts() == {"duplicate-id": MANY - 1}


def test_many_attributes_on_attributes_that_are_dropped() -> None:
    rows = "".join(f"A{rank}\tX A{rank + 1}\n" for rank in range(MANY))
    findings = Findings(strict=False)
    assert brat.parse("d", TEXT, rows, findings).attributes == ()
    assert findings.counts() == {"unknown-target": MANY}


def test_many_wide_mentions_with_wrong_covered_text() -> None:
    rows = "".join(f"T{rank}\tX 0 {LONG}\tother\n" for rank in range(MANY))
    findings = Findings()
    assert len(brat.parse("d", TEXT, rows, findings).entities) == MANY
    assert findings.counts() == {"covered-text-differs": MANY}


def test_a_covered_text_of_many_lines() -> None:
    text = "a\n" * (LONG // 2)
    findings = Findings()
    document = brat.parse("d", text, f"T1\tX 0 {len(text) - 1}\t{text}T2\tX 0 1\ta\n", findings)
    assert [entity.id for entity in document.entities] == ["T1", "T2"]
    assert not list(findings)


def test_many_mentions_in_a_text_with_other_offsets() -> None:
    text = "😀" + "word " * MANY
    rows = "".join(f"T{rank}\tX {2 + 5 * rank} {6 + 5 * rank}\tword\n" for rank in range(MANY))
    with pytest.raises(FileFormatError, match="utf-16"):
        brat.parse("d", text, rows)


def test_many_ids_that_have_to_be_renamed() -> None:
    entities = tuple(Entity(str(rank), "X", Span.of(0, 4)) for rank in range(MANY))
    document = Document(
        "d",
        TEXT,
        entities,
        tuple(Relation(f"r{rank}", "X", "0", "1") for rank in range(MANY)),
        attributes=tuple(Attribute(f"a{rank}", "X", "0") for rank in range(MANY)),
        normalizations=tuple(Normalization("n", "X", "0", "A:1") for _ in range(MANY)),
        comments=tuple(Comment("c", "X", "0", "y") for _ in range(MANY)),
    )
    findings = Findings(strict=False)
    back = brat.parse("d", TEXT, brat.render(document, findings))
    assert len({entity.id for entity in back.entities}) == len({entry.id for entry in back.normalizations}) == MANY


CONCEPT = 'c="word" 1:0 1:0'
I2B2 = {
    "parts of a relation": ("rel", f'{CONCEPT}||r="X"||' * (LONG // 25) + "y"),
    "places in a covered text": ("con", 'c="' + '" 1:0 1:0' * (LONG // 9) + "y"),
    "blanks": ("con", f'{CONCEPT}||t="X"' + " " * LONG + "y"),
    "types": ("con", CONCEPT + '||t="X' * (LONG // 6)),
    "types and values": ("ast", CONCEPT + '||t="X"||a="Y"' * (LONG // 14) + "z"),
    "a long number": ("con", f'c="word" 1:0 1:{"1" * LONG}||t="X"'),
    "wide concepts": ("con", f'c="other" 1:0 1:{LONG // 5 - 1}||t="X"\n' * MANY),
    "relations": ("rel", f'{CONCEPT}||r="X"||{CONCEPT}\n' * MANY),
    "assertions": ("ast", f'{CONCEPT}||t="X"||a="Y"\n' * MANY),
}


@pytest.mark.parametrize(("ending", "records"), I2B2.values(), ids=list(I2B2))
def test_i2b2_there_and_back(tmp_path: Path, ending: str, records: str) -> None:
    first = f'{CONCEPT}||t="X"\n'
    (tmp_path / "n.txt").write_text(TEXT)
    (tmp_path / "n.con").write_text(first * (1 if ending == "con" else 100))
    with open(tmp_path / f"n.{ending}", "a") as file:
        file.write(records)
    findings = Findings(strict=False)
    (document,) = i2b2.read(tmp_path, findings)
    assert all(len(str(finding)) < 300 + len(str(tmp_path)) for finding in findings)
    if len(document.entities) < MANY:
        i2b2.write([document], tmp_path / "out", Findings(strict=False))


def test_many_relations_between_many_mentions_are_written(tmp_path: Path) -> None:
    entities = tuple(Entity(f"T{rank}", "X", Span.of(5 * rank, 5 * rank + 4)) for rank in range(MANY))
    relations = tuple(Relation(f"R{rank}", "X", f"T{rank}", f"T{rank + 1}") for rank in range(MANY - 1))
    i2b2.write([Document("n", TEXT, entities, relations)], tmp_path)
    assert len(i2b2.read(tmp_path)[0].relations) == MANY - 1
