from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.document import Attribute, Comment, Document, Entity, Equivalence, Event, Normalization, Relation, Span
from clinical_ie.errors import FileFormatError, InputError
from clinical_ie.formats import i2b2
from clinical_ie.formats.findings import Findings

TEXT = 'Chest pain ,  relieved\n\nby   "aspirin" 81 mg .\n'
PAIN = Entity("T1", "problem", Span.of(0, 10))
DRUG = Entity("T2", "treatment", Span.of(29, 44))
CON = 'c="chest pain" 1:0 1:1||t="problem"\nc=""aspirin" 81 mg" 3:1 3:3||t="treatment"\n'
AST = 'c="chest pain" 1:0 1:1||t="problem"||a="present"\n'
REL = 'c=""aspirin" 81 mg" 3:1 3:3||r="TrAP"||c="chest pain" 1:0 1:1\n'


def put(folder: Path, *, con: str = CON, ast: str = AST, rel: str = REL, text: str = TEXT) -> Path:
    (folder / "n.txt").write_bytes(text.encode())
    (folder / "n.con").write_bytes(con.encode())
    (folder / "n.ast").write_bytes(ast.encode())
    (folder / "n.rel").write_bytes(rel.encode())
    return folder


def test_line_and_token_become_characters(tmp_path: Path) -> None:
    findings = Findings()
    (document,) = i2b2.read(put(tmp_path), findings)
    assert TEXT[29:44] == '"aspirin" 81 mg'
    expected = Document(
        "n", TEXT, (PAIN, DRUG), (Relation("R1", "TrAP", "T2", "T1"),), attributes=(Attribute("A1", "assertion", "T1", "present"),)
    )
    assert document == expected
    assert not list(findings)


def test_characters_become_line_and_token(tmp_path: Path) -> None:
    (document,) = i2b2.read(put(tmp_path))
    i2b2.write([document], tmp_path / "out")
    written = {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes().decode() for path in (tmp_path / "out").glob("*/*")}
    assert written == {"txt/n.txt": TEXT, "concept/n.con": CON, "ast/n.ast": AST, "rel/n.rel": REL}
    assert i2b2.read(tmp_path / "out") == [document]


def test_crlf(tmp_path: Path) -> None:
    put(tmp_path, text="no\r\nchest  pain\r\n", con='c="chest pain" 2:0 2:1||t="problem"\r\n', ast="", rel="")
    (document,) = i2b2.read(tmp_path)
    assert [entity.span for entity in document.entities] == [Span.of(4, 15)]


def test_a_mention_may_go_on_in_the_next_line(tmp_path: Path) -> None:
    put(tmp_path, text="severe\nchest pain", con='c="severe chest pain" 1:0 2:1||t="problem"\n', ast="", rel="")
    (document,) = i2b2.read(tmp_path)
    assert document.entities[0].span == Span.of(0, 17)
    i2b2.write([document], tmp_path / "out")
    assert (tmp_path / "out" / "concept" / "n.con").read_text() == 'c="severe chest pain" 1:0 2:1||t="problem"\n'
    broken = Document("n", document.text, (Entity("T1", "problem", Span(((0, 6), (7, 12), (13, 17)))),))
    i2b2.write([broken], tmp_path / "broken")
    assert (tmp_path / "broken" / "concept" / "n.con").read_text() == 'c="severe chest pain" 1:0 2:1||t="problem"\n'


def test_the_text_file_wins(tmp_path: Path) -> None:
    findings = Findings()
    (document,) = i2b2.read(put(tmp_path, con=CON.replace("chest", "breast")), findings)
    assert document.entities[0] == PAIN
    assert [(finding.code, finding.line) for finding in findings] == [("covered-text-differs", 1)]
    assert "breast" not in str(findings.warnings[0])
    assert "pain" not in str(findings.warnings[0])


BROKEN = {
    "no concept": ("con", 'c="pain" 1:0||t="problem"', "malformed-record"),
    "no such token": ("con", 'c="pain" 1:9 1:9||t="problem"', "no-such-token"),
    "no such line": ("con", 'c="pain" 9:0 9:0||t="problem"', "no-such-token"),
    "line 0": ("con", 'c="pain" 0:0 0:0||t="problem"', "no-such-token"),
    "backwards": ("con", 'c="pain" 1:1 1:0||t="problem"', "no-such-token"),
    "no assertion": ("ast", 'c="chest pain" 1:0 1:1||t="problem"', "malformed-record"),
    "assertion of nothing": ("ast", 'c="pain" 1:1 1:1||t="problem"||a="absent"', "unknown-target"),
    "no relation": ("rel", 'c="pain" 1:0 1:1||r="PIP"', "malformed-record"),
    "huge number": ("con", f'c="pain" 1:0 1:{"9" * 5000}||t="problem"', "no-such-token"),
    "number of other digits": ("con", 'c="pain" 1:0 1:\u0661||t="problem"', "malformed-record"),
    "empty type": ("con", 'c="pain" 1:1 1:1||t=""', "malformed-record"),
    "empty value": ("ast", 'c="chest pain" 1:0 1:1||t="problem"||a=""', "malformed-record"),
    "assertion of another type": ("ast", 'c="chest pain" 1:0 1:1||t="test"||a="absent"', "unknown-target"),
    "relation to nothing": ("rel", 'c="chest pain" 1:0 1:1||r="PIP"||c="pain" 1:1 1:1', "unknown-target"),
}


@pytest.mark.parametrize(("kind", "line", "code"), BROKEN.values(), ids=list(BROKEN))
def test_strict_stops_with_file_and_line_and_lenient_counts(tmp_path: Path, kind: str, line: str, code: str) -> None:
    good = {"con": CON, "ast": AST, "rel": REL}
    put(tmp_path, **{kind: good[kind] + "\n" + line + "\n"})
    with pytest.raises(FileFormatError) as caught:
        i2b2.read(tmp_path)
    assert caught.value.path == str(tmp_path / f"n.{kind}")
    assert caught.value.line == good[kind].count("\n") + 2
    assert "pain" not in caught.value.problem
    findings = Findings(strict=False)
    (document,) = i2b2.read(tmp_path, findings)
    assert [finding.code for finding in findings.errors] == [code]
    assert (len(document.entities), len(document.relations), len(document.attributes)) == (2, 1, 1)


def test_what_the_format_cannot_say_is_refused_or_counted(tmp_path: Path) -> None:
    inside = Entity("T3", "problem", Span.of(1, 5))
    parted = Entity("T4", "problem", Span(((0, 5), (11, 12))))
    document = Document("n", TEXT, (PAIN, inside, parted), (Relation("R1", "PIP", "T1", "T3"),), (Event("E1", "problem", "T1"),))
    with pytest.raises(FileFormatError, match="T3"):
        i2b2.write([document], tmp_path / "strict")
    findings = Findings(strict=False)
    i2b2.write([document], tmp_path / "lenient", findings)
    assert findings.losses == {"mentions": 2, "relations": 1, "events": 1}
    assert [document.entities for document in i2b2.read(tmp_path / "lenient")] == [(PAIN,)]


def test_two_concepts_of_one_span_are_told_apart_by_what_the_relation_allows(tmp_path: Path) -> None:
    """``.rel`` lines hold no types: what cannot be said for certain must be refused, not said of the wrong concept."""
    twin = Entity("T3", "test", Span.of(0, 10))
    document = Document("n", TEXT, (DRUG, PAIN, twin), (Relation("R1", "TeRP", "T3", "T2"),))
    findings = Findings(strict=False)
    i2b2.write([document], tmp_path, findings)
    (back,) = i2b2.read(tmp_path)
    heads = [head.type for _, _, head, _ in back.links()]
    assert heads == ["test"] or findings.errors


def test_documents_in_sub_folders_come_back(tmp_path: Path) -> None:
    document = Document("batch1/n", TEXT, (PAIN,))
    i2b2.write([document], tmp_path)
    assert [back.entities for back in i2b2.read(tmp_path)] == [(PAIN,)]


@pytest.mark.parametrize("present", [[], ["n.txt"], ["n.con"]])
def test_nothing_to_read(tmp_path: Path, present: list[str]) -> None:
    for name in present:
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=r"no \.(txt|con) file"):
        i2b2.read(tmp_path)


@given(st.text(st.sampled_from("ab\t \r\n\xa0\U0001fac0"), max_size=30))
def test_every_token_goes_to_its_place_and_back(text: str) -> None:
    grid = i2b2.Grid(text)
    rows = [line.split() for line in text.split("\n")]
    assert [[text[a:b] for a, b in row] for row in grid.tokens] == rows
    for number, row in enumerate(rows, 1):
        for index in range(len(row)):
            span = grid.span((number, index), (number, index))
            assert span is not None
            assert grid.position(span) == f"{number}:{index} {number}:{index}"


def test_every_annotation_without_a_place_is_counted_for_itself(tmp_path: Path) -> None:
    mention = Entity("T1", "problem", Span.of(0, 10))
    document = Document(
        "n",
        TEXT,
        (mention, DRUG),
        (Relation("R1", "TrAP", "T2", "T1", ("Drug", "Reason")),),
        attributes=(Attribute("A1", "assertion", "T1"), Attribute("A2", "Negated", "T1", "yes"), Attribute("A3", "assertion", "T2", "x")),
        equivalences=(Equivalence("Same", ("T1", "T2")), Equivalence("Same", ("T1", "T2"))),
        normalizations=(Normalization("N1", "Reference", "T1", "A:1"), Normalization("N2", "Reference", "T1", "A:1")),
        comments=tuple(Comment("#1", "Note", "T1", text) for text in "abc"),
    )
    findings = Findings(strict=False)
    i2b2.write([document], tmp_path, findings)
    assert findings.counts() == {"unrepresentable": 1 + 2 + 2 + 2 + 3}
    (back,) = i2b2.read(tmp_path)
    assert [(kind, head.id, tail.id) for _, kind, head, tail in back.links()] == [("TrAP", "T2", "T1")]
    assert back.attributes == (Attribute("A1", "assertion", "T2", "x"),)


@pytest.mark.parametrize("name", ['say "x"', "", "line\nend", "half \ud83d a pair", "nul\0"])
def test_names_that_quotes_cannot_hold_are_refused_or_replaced(tmp_path: Path, name: str) -> None:
    document = Document("n", TEXT, (Entity("T1", name, Span.of(0, 10)),), attributes=(Attribute("A1", "assertion", "T1", name),))
    with pytest.raises(FileFormatError, match=r"document n: the type of T1 .*\(--lenient\)"):
        i2b2.write([document], tmp_path / "strict")
    assert not (tmp_path / "strict").exists()
    findings = Findings(strict=False)
    i2b2.write([document], tmp_path / "lenient", findings)
    assert findings.counts() == {"name-replaced": 2}
    (back,) = i2b2.read(tmp_path / "lenient")
    assert len(back.entities) == len(back.attributes) == 1


def test_an_assertion_of_the_second_of_two_equal_mentions_is_not_given_to_the_first(tmp_path: Path) -> None:
    twin = Entity("T3", "problem", PAIN.span)
    document = Document("n", TEXT, (PAIN, twin), attributes=(Attribute("A1", "assertion", "T3", "absent"),))
    with pytest.raises(FileFormatError, match="attribute A1"):
        i2b2.write([document], tmp_path)


def test_blanks_in_types_come_back(tmp_path: Path) -> None:
    document = Document("n", TEXT, (Entity("T1", "medical problem || other", Span.of(0, 10)),))
    i2b2.write([document], tmp_path)
    assert i2b2.read(tmp_path) == [document]


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_line_ends_and_a_byte_order_mark_of_annotation_files(tmp_path: Path, ends: str) -> None:
    put(tmp_path, con="\ufeff" + CON.replace("\n", ends), ast=AST.replace("\n", ends), rel="\ufeff" + REL.replace("\n", ends))
    findings = Findings()
    (document,) = i2b2.read(tmp_path, findings)
    assert (len(document.entities), len(document.relations), len(document.attributes)) == (2, 1, 1)
    assert not list(findings)


def test_a_byte_order_mark_of_the_text_counts_and_is_part_of_no_mention(tmp_path: Path) -> None:
    findings = Findings()
    (document,) = i2b2.read(put(tmp_path, text="\ufeff" + TEXT), findings)
    assert document.entities[0].span == Span.of(1, 11)
    assert not list(findings)
    i2b2.write([document], tmp_path / "out")
    assert i2b2.read(tmp_path / "out") == [document]


def test_annotations_of_no_text_are_an_error(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "concept").mkdir()
    (tmp_path / "concept" / "lost.con").write_text(CON)
    with pytest.raises(FileFormatError, match=r"lost\.con: no \.txt file for it"):
        i2b2.read(tmp_path)
    findings = Findings(strict=False)
    assert [document.id for document in i2b2.read(tmp_path, findings)] == ["n"]
    assert findings.counts() == {"no-text-file": 1}


def test_capitals_and_linked_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    put(tmp_path / "store")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "site").symlink_to("../store")
    (tmp_path / "in" / "M.TXT").write_text(TEXT)
    (tmp_path / "in" / "M.CON").write_text(CON)
    assert [document.id for document in i2b2.read(tmp_path / "in")] == ["M", "site/n"]


def test_quotes_and_bars_in_covered_texts(tmp_path: Path) -> None:
    """Text that looks like the syntax itself; what parts a relation is the last separator behind a place."""
    text = 'x" 1:0 1:0||t="y" ||r="z"||c="w pain'
    document = Document(
        "n", text, (Entity("T1", "problem", Span.of(0, len(text))), Entity("T2", "test", Span.of(len(text) - 4, len(text)))),
        (Relation("R1", "PIP", "T1", "T2"), Relation("R2", "PIP", "T2", "T1"), Relation("R3", "PIP", "T1", "T1")),
    )  # fmt: skip
    i2b2.write([document], tmp_path)
    assert i2b2.read(tmp_path) == [document]


def test_accents_of_file_names_in_either_form(tmp_path: Path) -> None:
    (tmp_path / "e\u0301.txt").write_text("pain .\n")
    (tmp_path / "\u00e9.con").write_text('c="pain" 1:0 1:0||t="problem"\n')
    assert [(document.id, len(document.entities)) for document in i2b2.read(tmp_path)] == [("\u00e9", 1)]
