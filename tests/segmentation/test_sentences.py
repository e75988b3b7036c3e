from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.segmentation.sentences import cut_points, sentences

TEXTS = st.text(st.sampled_from("aB .!?\n\t-1:\"')•,é\u2028"), max_size=60)


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("no full stop", ["no full stop"]),
        ("He has pain. She has none.", ["He has pain.", "She has none."]),
        ("Pain? Yes! Strong...  Very.", ["Pain?", "Yes!", "Strong...", "Very."]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("Seen by Dr. Li (Prof. Wu). Stable.", ["Seen by Dr. Li (Prof. Wu).", "Stable."]),
        ("Took 2.5 mg p.o. b.i.d. with food.", ["Took 2.5 mg p.o. b.i.d. with food."]),
        ("Temp 37.2. Pulse 80.", ["Temp 37.2.", "Pulse 80."]),
        ("a wrapped\nparagraph goes on", ["a wrapped\nparagraph goes on"]),
        ("no stop\n\nnext part", ["no stop", "next part"]),
        ("no stop\r\n\r\nnext part", ["no stop", "next part"]),
        ("Meds:\n- aspirin\n- iron", ["Meds:", "- aspirin", "- iron"]),
        ("Meds:\n1. aspirin\n2. iron", ["Meds:", "1. aspirin", "2. iron"]),
        ("stable\nPlan: rest\nDiet: none", ["stable", "Plan: rest", "Diet: none"]),
        ("Any fever?\n\nno", ["Any fever?", "no"]),
    ],
)
def test_by_hand(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


@given(TEXTS)
def test_sentences_are_in_order_apart_and_trimmed(text: str) -> None:
    previous = 0
    for start, end in sentences(text):
        assert previous <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        previous = end


@given(TEXTS)
def test_nothing_but_white_space_is_left_out(text: str) -> None:
    assert "".join("".join(part.split()) for part in cut(text)) == "".join(text.split())


@given(TEXTS)
def test_windows_may_begin_with_sentences_and_lines(text: str) -> None:
    points = cut_points(text)
    assert points == sorted(set(points))
    assert {start for start, _ in sentences(text)} <= set(points)
    assert all(text[point - 1].isspace() for point in points if point > 0)


@pytest.mark.parametrize(
    "text",
    ["a" + " " * 200_000 + "b", "." * 200_000, "a" + "?!" * 100_000 + "b", "a." + ")" * 200_000 + "b", ".)" * 100_000, "a.." * 70_000],
    ids=["blanks", "dots", "marks", "brackets", "marks and brackets", "words and dots"],
)
def test_long_runs_take_linear_time(text: str) -> None:
    """Forms and tables are full of them; a search that began anew at every sign would take minutes here."""
    assert cut(text) == [text]


def test_many_lines_take_linear_time() -> None:
    assert len(sentences("\n\n".join(["a. b"] * 50_000))) == 50_000
    assert sentences("a" + "\n \t" * 60_000) == [(0, 1)]
    assert len(cut_points("\n" * 200_000)) <= 1
