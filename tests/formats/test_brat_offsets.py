"""Files whose offsets count UTF-16 units, bytes, a CRLF as one character, or no byte order mark."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.corpora import BratFolder
from clinical_ie.document import Span
from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.formats import brat
from clinical_ie.formats.brat.offsets import RULES, Positions, check_rule
from clinical_ie.formats.findings import Findings

TEXT = "\ufeff😀 Started aspirin 81 mg.\r\n👍 Also\r\nlisinopril 10 mg for pain.\r\n"
WORDS = ("aspirin", "81 mg", "Also\r\nlisinopril", "10 mg", "pain")


def counted(prefix: str, rule: str) -> int:
    """How long a text is where it is counted by a rule: an oracle that re-encodes it."""
    if "without-bom" in rule:
        prefix = prefix.removeprefix("\ufeff")
    if "crlf-as-one" in rule:
        prefix = prefix.replace("\r\n", "\n")
    if "utf-8" in rule:
        return len(prefix.encode())
    return len(prefix.encode("utf-16-le")) // 2 if "utf-16" in rule else len(prefix)


def records(text: str, spans: list[tuple[int, int]], rule: str) -> str:
    rows = [
        f"T{rank}\tX {counted(text[:start], rule)} {counted(text[:end], rule)}\t{text[start:end]}\n"
        for rank, (start, end) in enumerate(spans)
    ]
    return "".join(rows)


def spans_of(words: tuple[str, ...] = WORDS) -> list[tuple[int, int]]:
    return [(TEXT.index(word), TEXT.index(word) + len(word)) for word in words]


ALL_RULES = ["utf-16", "crlf-as-one", "without-bom", "utf-16+crlf-as-one", "utf-16+crlf-as-one+without-bom", "crlf-as-one+without-bom"]
ALL_RULES += ["utf-8", "utf-8+crlf-as-one", "utf-8+without-bom"]


@pytest.mark.parametrize("rule", ALL_RULES)
def test_the_rule_is_named_and_applied(rule: str) -> None:
    expected = [Span.of(start, end) for start, end in spans_of()]
    written = records(TEXT, spans_of(), rule)
    with pytest.raises(FileFormatError, match="only under that rule") as caught:
        brat.parse("d", TEXT, written, path="in/d.ann")
    assert f"read it with offsets: {rule} (--offsets {rule})" in str(caught.value)
    shifted = [any(counted(TEXT[:place], rule) != place for place in span) for span in spans_of()]
    first = shifted.index(True) + 1
    assert str(caught.value).startswith(f"in/d.ann:{first}: ")
    assert not any(word in str(caught.value) for word in ("aspirin", "lisinopril", "pain"))
    findings = Findings()
    assert [entity.span for entity in brat.parse("d", TEXT, written, findings, offsets=rule).entities] == expected
    assert not list(findings)
    lenient = Findings(strict=False)
    assert [entity.span for entity in brat.parse("d", TEXT, written, lenient).entities] == expected
    assert lenient.counts() == {"shifted-offsets": 1}


@pytest.mark.parametrize("rule", ALL_RULES)
def test_a_wrong_option_is_told_as_well(rule: str) -> None:
    with pytest.raises(FileFormatError, match="read it with offsets: characters"):
        brat.parse("d", TEXT, records(TEXT, spans_of(), "characters"), offsets=rule)


def test_bytes_behind_an_accent() -> None:
    text = "\u00c5ngstr\u00f6m aspirin \u00c4rzte lisinopril"
    spans = [(text.index(word), text.index(word) + len(word)) for word in ("aspirin", "lisinopril")]
    with pytest.raises(FileFormatError, match=r"count bytes of UTF-8: .*--offsets utf-8"):
        brat.parse("d", text, records(text, spans, "utf-8"))
    assert [Positions(text, "utf-8").character(offset) for offset in (0, 1, 2, 10)] == [0, 0, 1, 8]


def test_offsets_behind_the_end_are_explained_too() -> None:
    text = "😀😀😀 aspirin"
    with pytest.raises(FileFormatError, match="--offsets utf-16"):
        brat.parse("d", text, "T1\tX 7 14\taspirin\n")


def test_one_mention_behind_the_first_emoji_is_enough() -> None:
    """Mentions before it agree under both rules, and say nothing about either."""
    text = "aspirin, heparin, iron 😀 or zinc"
    spans = [(text.index(word), text.index(word) + len(word)) for word in ("aspirin", "heparin", "iron", "zinc")]
    with pytest.raises(FileFormatError, match="--offsets utf-16"):
        brat.parse("d", text, records(text, spans, "utf-16"))


def test_damaged_covered_text_is_a_warning_where_no_rule_explains_it() -> None:
    findings = Findings()
    written = records(TEXT, spans_of(), "characters").replace("aspirin", "asprin").replace("pain", "pane")
    brat.parse("d", TEXT, written, findings)
    assert findings.counts() == {"covered-text-differs": 2}
    assert not findings.errors


def test_some_damaged_records_do_not_hide_the_rule() -> None:
    text = "😀 " + "iron zinc " * 20
    spans = [(place, place + 4) for place in range(2, len(text) - 4, 5)]
    written = records(text, spans, "utf-16").replace("iron", "lead", 2)
    with pytest.raises(FileFormatError, match="--offsets utf-16"):
        brat.parse("d", text, written)
    findings = Findings()
    brat.parse("d", text, written, findings, offsets="utf-16")
    assert findings.counts() == {"covered-text-differs": 2}


@given(st.text(st.sampled_from("ab \r\n\U0001fac0é"), max_size=20), st.sampled_from(ALL_RULES), st.booleans())
def test_every_offset_becomes_its_character(text: str, rule: str, bom: bool) -> None:
    text = "\ufeff" * bom + text.replace("\n", "\r\n")
    positions = Positions(text, rule)
    first = 1 if bom and "without-bom" in rule else 0
    edges = [place for place in range(first, len(text) + 1) if text[place - 1 : place + 1] != "\r\n" or place == 0]
    for start, end in pairwise(edges):
        assert positions.fragments([(counted(text[:start], rule), counted(text[:end], rule))]) == [(start, end)]


def test_a_fragment_that_ends_inside_a_character_is_refused() -> None:
    assert Positions("😀a", "utf-16").fragments([(1, 3)]) is None
    with pytest.raises(FileFormatError, match="leaves the text"):
        brat.parse("d", "😀a", "T1\tX 1 3\tx\n", offsets="utf-16")


def test_rules_by_name() -> None:
    assert [check_rule(rule) for rule in (*RULES, *ALL_RULES)]
    for wrong in ("", "utf16", "characters+utf-16", "utf-16+", "utf-16+utf-8"):
        with pytest.raises(SettingError, match="crlf-as-one"):
            check_rule(wrong)
        with pytest.raises(SettingError):
            brat.read(".", offsets=wrong)


def test_a_folder_and_a_corpus_take_the_rule(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_bytes(TEXT.encode())
    (tmp_path / "n.ann").write_bytes(records(TEXT, spans_of(), "utf-16").encode())
    (document,) = brat.read(tmp_path, offsets="utf-16")
    assert [document.covered(entity.span) for entity in document.entities] == list(WORDS)
    corpus = BratFolder(str(tmp_path), {"entities": ["X"]}, offsets="utf-16")
    assert [found.entities for found in corpus.read("train")] == [document.entities]
    with pytest.raises(FileFormatError, match="utf-16"):
        BratFolder(str(tmp_path), {"entities": ["X"]}).read("train")
    with pytest.raises(SettingError, match="expected one of characters"):
        BratFolder(str(tmp_path), {"entities": ["X"]}, offsets="bytes")
