"""Mentions as braces in a copy of the text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clinical_ie.prompts.answers import Answer, Link, Mention
from clinical_ie.prompts.responses.markup import UNCLOSED
from clinical_ie.prompts.responses.response_format import NO_SUCH_MENTION, UNKNOWN_TYPE, UNPARSED
from tests.prompts.responses.response_cases import ALONE, ANSWER, TEXT, VOCABULARY, dense, in_copy, made


def test_inline_answers_without_links_say_no_numbers() -> None:
    rendered = made("inline").render(Answer(ANSWER.mentions), TEXT, ALONE)
    assert rendered == "takes {aspirin|Drug} {5 mg|Dose} and {heparin|Drug}"


def test_braces_nest() -> None:
    text = "abc def ghi"
    mentions = (Mention("Drug", "abc def ghi", (0, 11)), Mention("Dose", "abc def", (0, 7)), Mention("T1", "def", (4, 7)))
    kind = made("inline")
    rendered = kind.render(Answer(mentions, (Link("Dose", 0, 2),)), text, VOCABULARY)
    assert rendered == "{{abc {def|T1:1}|Dose:2} ghi|Drug:3}\n>Dose\t3 1"
    parsed = kind.parse(rendered, VOCABULARY)
    assert parsed.mentions == [replace(mention, at=in_copy(text, mention)) for mention in reversed(mentions)]
    assert parsed.links == [Link("Dose", 2, 0)]
    assert not parsed.problems


def test_mentions_of_the_same_words_share_their_braces() -> None:
    """In the order of the question, whatever that of the answer."""
    text = "smokes daily"
    mentions = (Mention("T1", "smokes", (0, 6)), Mention("Drug", "smokes", (0, 6)), Mention("Living status", "smokes", (0, 6)))
    kind = made("inline")
    assert kind.render(Answer(mentions), text, ALONE) == "{smokes|Drug,Living status,T1} daily"
    rendered = kind.render(Answer(mentions, (Link("is a", 0, 1),)), text, VOCABULARY)
    assert rendered == "{smokes|Drug:1,Living status:2,T1:3} daily\n>is a\t3 1"
    parsed = kind.parse(rendered, VOCABULARY)
    assert [(mention.type, mention.text, mention.at) for mention in parsed.mentions] == [
        ("Drug", "smokes", (0, 6)), ("Living status", "smokes", (0, 6)), ("T1", "smokes", (0, 6)),
    ]  # fmt: skip
    assert parsed.links == [Link("is a", 2, 0)]


def test_adjacent_mentions_close_before_others_open() -> None:
    mentions = (Mention("Dose", "10", (0, 2)), Mention("Drug", "mg", (2, 4)))
    rendered = made("inline").render(Answer(mentions), "10mg", ALONE)
    assert rendered == "{10|Dose}{mg|Drug}"
    assert [mention.at for mention in made("inline").parse(rendered, ALONE).mentions] == [(0, 2), (2, 4)]


def test_braces_bars_and_backslashes_of_the_text_are_escaped() -> None:
    text = "{a|Drug} C:\\x \\{ | }"
    mentions = (Mention("Dose", "{a|Drug}", (0, 8)), Mention("T1", "\\", (11, 12)), Mention("Drug", "\\{ | }", (14, 20)))
    kind = made("inline")
    rendered = kind.render(Answer(mentions), text, ALONE)
    assert rendered == "{\\{a\\|Drug\\}|Dose} C:{\\\\|T1}x {\\\\\\{ \\| \\}|Drug}"
    parsed = kind.parse(rendered, ALONE)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [(mention.type, mention.text) for mention in mentions]
    assert parsed.copied == dense(text)
    assert not parsed.problems


@pytest.mark.parametrize("text", ["a \\ b", "a | b", "a } b", "a \\n b", "a||b", "a|Disease b", "}"])
def test_what_the_model_did_not_escape_is_read_where_it_can_be_nothing_else(text: str) -> None:
    """Models copy the text as it stands."""
    parsed = made("inline").parse(text + " {aspirin|Drug} \\ daily", ALONE)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Drug", "aspirin")]
    assert parsed.copied == dense(text) + "aspirin\\daily"
    assert not parsed.problems


def test_a_bar_inside_of_a_mention_that_the_model_did_not_escape_is_read() -> None:
    parsed = made("inline").parse("{a|b|Drug} c", ALONE)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Drug", "a|b")]
    assert parsed.copied == "a|bc"


def test_a_brace_that_the_model_did_not_escape_is_counted() -> None:
    """It may as well be a mention that was not closed."""
    parsed = made("inline").parse("x { y {aspirin|Drug} z", ALONE)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Drug", "aspirin")]
    assert dict(parsed.problems) == {UNCLOSED: 1}


def test_braces_without_a_type_are_counted() -> None:
    parsed = made("inline").parse("takes {aspirin} and {heparin|Drug:1}\n>Dose\t1 1", VOCABULARY)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Drug", "heparin")]
    assert dict(parsed.problems) == {UNPARSED: 1}
    assert parsed.copied == "takesaspirinandheparin"
    assert parsed.links == [Link("Dose", 0, 0)]


def test_braces_without_words_are_counted() -> None:
    parsed = made("inline").parse("takes {|Drug} { |Dose}aspirin", ALONE)
    assert not parsed.mentions
    assert dict(parsed.problems) == {UNPARSED: 2}
    assert parsed.copied == "takesaspirin"


def test_inline_mentions_of_a_type_that_was_not_asked_for_are_counted() -> None:
    parsed = made("inline").parse("takes {aspirin|Disease} and {{low|Foo:1} heparin|Drug:2}\n>Dose\t2 1\t2 2", VOCABULARY)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Drug", "low heparin")]
    assert dict(parsed.problems) == {UNKNOWN_TYPE: 2, NO_SUCH_MENTION: 1}
    assert parsed.copied == "takesaspirinandlowheparin"
    assert parsed.links == [Link("Dose", 0, 0)]


@pytest.mark.parametrize("types", ["Drug:1,Disease:2", "Disease:1,Drug:2"])
def test_a_type_beside_one_that_was_not_asked_for_is_understood(types: str) -> None:
    parsed = made("inline").parse(f"takes {{aspirin|{types}}}", VOCABULARY)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Drug", "aspirin")]
    assert dict(parsed.problems) == {UNKNOWN_TYPE: 1}


def test_types_behind_words_without_a_brace_are_counted() -> None:
    """As tags that were not opened are."""
    parsed = made("inline").parse("takes aspirin|Drug} daily", ALONE)
    assert not parsed.mentions
    assert dict(parsed.problems) == {UNCLOSED: 1}


def test_braces_that_are_not_closed_hide_none_inside() -> None:
    parsed = made("inline").parse("{takes {aspirin|Drug} and {heparin", ALONE)
    assert [(mention.type, mention.text, mention.at) for mention in parsed.mentions] == [("Drug", "aspirin", (5, 12))]
    assert dict(parsed.problems) == {UNCLOSED: 2}
    assert parsed.copied == "takesaspirinandheparin"


def test_inline_links_go_by_the_numbers_that_mentions_say() -> None:
    parsed = made("inline").parse("{aspirin|Drug:2} {5 mg|Dose:7} {heparin|Drug:1,T1:3}\n>Dose\t2 7\t1 7\t3 7\t4 7", VOCABULARY)
    pairs = [(parsed.mentions[link.head], parsed.mentions[link.tail].text) for link in parsed.links]
    assert [(head.type, head.text, tail) for head, tail in pairs] == [
        ("Drug", "aspirin", "5 mg"), ("Drug", "heparin", "5 mg"), ("T1", "heparin", "5 mg"),
    ]  # fmt: skip
    assert dict(parsed.problems) == {NO_SUCH_MENTION: 1}


def test_inline_links_without_numbers_count_as_types_are_said() -> None:
    parsed = made("inline").parse("{{low|Dose} heparin|Drug,T1}\n>Dose\t2 1\t3 1", VOCABULARY)
    assert [mention.type for mention in parsed.mentions] == ["Dose", "Drug", "T1"]
    assert parsed.links == [Link("Dose", 1, 0), Link("Dose", 2, 0)]
    assert not parsed.problems


def test_inline_answers_over_several_lines_are_read() -> None:
    """A model may copy the line breaks of the text that it was shown, and begin with one."""
    for end in ("\n", "\r\n"):
        completion = "\ntakes {aspirin|Drug:1}\nand {low\ndose heparin|Drug:2}\n\n>Dose\t1 2\n".replace("\n", end)
        parsed = made("inline").parse(completion, VOCABULARY)
        assert [mention.text for mention in parsed.mentions] == ["aspirin", "low dose heparin"]
        assert parsed.copied == "takesaspirinandlowdoseheparin"
        assert parsed.links == [Link("Dose", 0, 1)]
        assert not parsed.problems


def test_inline_mentions_cannot_cross_or_repeat() -> None:
    kind = made("inline")
    crossing = (Mention("Drug", "abc def", (0, 7)), Mention("T1", "def ghi", (4, 11)))
    assert set(kind.inexpressible(crossing, "abc def ghi")) == {1}
    twice = (Mention("Drug", "abc", (0, 3)), Mention("T1", "abc", (0, 3)), Mention("Drug", "abc", (0, 3)))
    assert set(kind.inexpressible(twice, "abc def ghi")) == {2}
    nested = (Mention("Drug", "abc def", (0, 7)), Mention("Drug", "def", (4, 7)), Mention("Drug", "ghi", (8, 11)))
    assert not kind.inexpressible(nested, "abc def ghi")
    assert set(kind.inexpressible((Mention("Drug", "abc ... ghi", (0, 11)), *crossing), "abc def ghi")) == {0, 2}


def test_a_sign_cut_off_inside_is_no_part_of_the_copy() -> None:
    """So that mentions before it keep their places."""
    parsed = made("inline").parse("a {b|Drug} \\", VOCABULARY)
    assert [mention.text for mention in parsed.mentions] == ["b"]
    assert parsed.copied == "ab"
