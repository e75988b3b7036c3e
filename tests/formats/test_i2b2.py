from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
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
    assert findings.counts() == {"unrepresentable": 4}
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
