"""Mentions as tags in a copy of the text."""

from __future__ import annotations

from dataclasses import replace

from clinical_ie.prompts.answers import Answer, Link, Mention
from tests.prompts.responses.response_cases import VOCABULARY, dense, in_copy, made


def test_markup_nests_and_crosses() -> None:
    text = "abc def ghi"
    mentions = (Mention("Drug", "abc def", (0, 7)), Mention("Dose", "abc", (0, 3)), Mention("T1", "def ghi", (4, 11)))
    kind = made("markup")
    rendered = kind.render(Answer(mentions), text, VOCABULARY)
    assert rendered == "<Drug><Dose>abc</Dose> <T1>def</Drug> ghi</T1>"
    assert kind.parse(rendered, VOCABULARY).mentions == [
        replace(mention, at=in_copy(text, mention)) for mention in mentions
    ]  # fmt: skip


def test_markup_escapes_what_looks_like_a_tag() -> None:
    text = "O2 <Drug> 90 & p<0.05 &lt;"
    kind = made("markup")
    mentions = (Mention("Dose", "<Drug>", (3, 9)), Mention("T1", "<0.05", (16, 21)))
    parsed = kind.parse(kind.render(Answer(mentions), text, VOCABULARY), VOCABULARY)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Dose", "<Drug>"), ("T1", "<0.05")]
    assert parsed.copied == dense(text)


def test_markup_not_escaped_by_the_model_is_read() -> None:
    """Models copy the text as it stands: a lone < or & is a character."""
    parsed = made("markup").parse("SpO2 < 90 & p<0.05 on <Drug>a&b <5</Drug>", VOCABULARY)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Drug", "a&b <5")]
    assert parsed.copied == "SpO2<90&p<0.05ona&b<5"
    assert not parsed.problems


def test_markup_of_one_type_cannot_cross_or_repeat() -> None:
    kind = made("markup")
    crossing = (Mention("Drug", "abc def", (0, 7)), Mention("Drug", "def ghi", (4, 11)))
    assert set(kind.inexpressible(crossing, "abc def ghi")) == {1}
    twice = (Mention("Drug", "abc", (0, 3)), Mention("Drug", "abc", (0, 3)))
    assert set(kind.inexpressible(twice, "abc def ghi")) == {1}
    nested = (Mention("Drug", "abc def", (0, 7)), Mention("Drug", "def", (4, 7)))
    assert not kind.inexpressible(nested, "abc def ghi")
    assert set(kind.inexpressible((Mention("Drug", "abc ... ghi", (0, 11)),), "abc def ghi")) == {0}


def test_markup_behind_an_empty_line_is_read() -> None:
    """Generators often begin with a line break."""
    parsed = made("markup").parse("\n<Drug>aspirin</Drug> daily\n>Dose\t1 1", VOCABULARY)
    assert [mention.text for mention in parsed.mentions] == ["aspirin"]
    assert parsed.copied == "aspirindaily"
    assert parsed.links == [Link("Dose", 0, 0)]


def test_markup_over_several_lines_is_read() -> None:
    """A model may copy the line breaks of the text that it was shown."""
    parsed = made("markup").parse("takes <Drug>aspirin</Drug>\nand <Drug>low\ndose heparin</Drug>\n>Dose\t1 2", VOCABULARY)
    assert [mention.text for mention in parsed.mentions] == ["aspirin", "low dose heparin"]
    assert parsed.copied == "takesaspirinandlowdoseheparin"
    assert parsed.links == [Link("Dose", 0, 1)]


def test_markup_of_a_type_that_was_not_asked_for_is_counted() -> None:
    parsed = made("markup").parse("takes <Disease>aspirin</Disease>", VOCABULARY)
    assert parsed.problems


def test_tags_not_closed_or_opened_are_counted() -> None:
    parsed = made("markup").parse("a <Drug>b c</Dose> <T1>d</T1>", VOCABULARY)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("T1", "d")]
    assert sum(parsed.problems.values()) == 2
