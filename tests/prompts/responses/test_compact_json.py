"""JSON, whole, broken off or among prose."""

from __future__ import annotations

import json

import pytest

from clinical_ie.prompts.answers import Answer, Link, Mention
from clinical_ie.prompts.responses.response_format import NO_SUCH_MENTION, TWICE, UNKNOWN_LABEL
from tests.prompts.responses.response_cases import ANSWER, GOLDEN, VOCABULARY, made


def test_json_is_json() -> None:
    text = 'a "b" \\ é'
    answer = Answer((Mention("Drug", 'a "b" \\ é', (0, 9)),))
    rendered = made("json").render(answer, text, VOCABULARY)
    assert json.loads(rendered)["mentions"] == [["Drug", 'a "b" \\ é']]
    assert "é" in rendered


@pytest.mark.parametrize("dress", ["```json\n{}\n```", "Here is the answer:\n{}", "{}\nI hope this helps."])
def test_json_among_prose_is_found(dress: str) -> None:
    parsed = made("json").parse(dress.replace("{}", GOLDEN["json"]), VOCABULARY)
    assert len(parsed.mentions) == 3
    assert set(parsed.links) == set(ANSWER.links)


def test_broken_json_with_quotes_inside_mentions() -> None:
    completion = '{"mentions":[["Drug","a \\"b\\" \\\\"],["Dose","\\u00e9 [\\"x\\",\\"y\\"]"],["Dr'
    parsed = made("json").parse(completion, VOCABULARY)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Drug", 'a "b" \\'), ("Dose", 'é ["x","y"]')]


def test_links_of_broken_json_keep_their_mentions() -> None:
    completion = '{"mentions":[["Drug","aspirin"],["Drog","bad"],["Drug","heparin"],["Dose","5 mg"]],"links":[["Dose",3,4],["Dose",1'
    parsed = made("json").parse(completion, VOCABULARY)
    assert [mention.text for mention in parsed.mentions] == ["aspirin", "heparin", "5 mg"]
    assert parsed.links == [Link("Dose", 1, 2)]
    assert parsed.problems


def test_links_of_broken_json_keep_their_mentions_where_an_entry_between_is_malformed() -> None:
    """Cut off or not, an entry that is no pair of strings has its number."""
    whole = '{"mentions":[["Drug","aspirin"],["Drug",null],["Drug","heparin"],["Dose","5 mg"]],"links":[["Dose",3,4],["Dose",1,4]]}'
    for completion in (whole, whole[:-1], whole + " That is all."):
        parsed = made("json").parse(completion, VOCABULARY)
        pairs = [(parsed.mentions[link.head].text, parsed.mentions[link.tail].text) for link in parsed.links]
        assert pairs == [("heparin", "5 mg"), ("aspirin", "5 mg")], completion


def test_wrong_links_of_json_are_counted_by_reason() -> None:
    rows = '[["Dose",1,2],["Dose",1,2],["Dose",1,3],["Dose",0,1],["Nothing",1,2]]'
    expected = {TWICE: 1, NO_SUCH_MENTION: 2, UNKNOWN_LABEL: 1}
    parsed = made("json").parse('{"mentions":[["Drug","a"],["Dose","b"]],"links":' + rows + "}", VOCABULARY)
    assert parsed.links == [Link("Dose", 0, 1)]
    assert dict(parsed.problems) == expected
