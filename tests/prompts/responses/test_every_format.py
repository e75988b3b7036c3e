"""One answer by hand in every format."""

from __future__ import annotations

import pytest

from clinical_ie.prompts.answers import Answer
from clinical_ie.prompts.responses.response_format import UNKNOWN_TYPE
from tests.prompts.responses.response_cases import ANSWER, GOLDEN, NAMES, TEXT, VOCABULARY, made


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    kind = made(name)
    assert kind.render(ANSWER, TEXT, VOCABULARY) == GOLDEN[name]
    assert not kind.parse(GOLDEN[name], VOCABULARY).problems


@pytest.mark.parametrize("name", NAMES)
def test_golden_with_line_ends_of_windows_and_blank_lines(name: str) -> None:
    kind = made(name)
    plain = kind.parse(GOLDEN[name], VOCABULARY)
    dressed = kind.parse("\r\n" + GOLDEN[name].replace("\n", "\r\n") + "\r\n\r\n", VOCABULARY)
    assert (dressed.mentions, dressed.links, dressed.copied) == (plain.mentions, plain.links, plain.copied)
    assert not dressed.problems


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_say(name: str) -> None:
    kind = made(name)
    for text in ("", TEXT):
        parsed = kind.parse(kind.render(Answer(()), text, VOCABULARY), VOCABULARY)
        assert not parsed.mentions
        assert not parsed.links
        assert not parsed.problems


@pytest.mark.parametrize("name", NAMES)
def test_words_of_a_mention_stand_on_one_line_with_single_blanks(name: str) -> None:
    completion = {
        "lines": "Drug\tlow  dose\theparin",
        "grouped": "Drug\tlow  dose\u2028heparin",
        "json": '{"mentions":[["Drug","low  dose\\theparin"]]}',
        "inline": "{low  dose\theparin|Drug}",
        "markup": "<Drug>low  dose\theparin</Drug>",
        "bio": "low  dose\tB-Drug\nheparin\tI-Drug",
    }[name]
    assert [mention.text for mention in made(name).parse(completion, VOCABULARY).mentions] == ["low dose heparin"]


@pytest.mark.parametrize("name", ["lines", "grouped"])
def test_types_that_were_not_asked_for_are_counted(name: str) -> None:
    parsed = made(name).parse("Drug\ta\nDisease\tb\n", VOCABULARY)
    assert [mention.text for mention in parsed.mentions] == ["a"]
    assert parsed.problems[UNKNOWN_TYPE] == 1
