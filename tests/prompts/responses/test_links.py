"""Links refer to mentions by number, whatever else of the answer is understood."""

from __future__ import annotations

import pytest

from clinical_ie.prompts.answers import Link
from clinical_ie.prompts.responses.response_format import NO_SUCH_MENTION, TWICE, UNKNOWN_LABEL
from tests.prompts.responses.response_cases import LINKING, VOCABULARY, made

BROKEN_BETWEEN = {
    "lines": "Drug\taspirin\nDrog\tbad\nDrug\theparin\nDose\t5 mg\n>Dose\t3 4\t1 4\t2 4",
    "grouped": "Drug\taspirin\nDrog\tbad\nDose\t5 mg\theparin\n>Dose\t4 3\t1 3\t2 3",
    "json": '{"mentions":[["Drug","aspirin"],["Drog","bad"],["Drug","heparin"],["Dose","5 mg"]],"links":[["Dose",3,4],["Dose",1,4],'
    '["Dose",2,4]]}',
    "inline": "{aspirin|Drug:1} {bad|Drog:2} and {heparin|Drug:3} {5 mg|Dose:4}\n>Dose\t3 4\t1 4\t2 4",
    "markup": "<Drug>aspirin</Drug> <T1>bad and <Drug>heparin</Drug> <Dose>5 mg</Dose>\n>Dose\t3 4\t1 4\t2 4",
}


@pytest.mark.parametrize("name", LINKING)
def test_links_keep_their_mentions_where_one_between_is_not_understood(name: str) -> None:
    parsed = made(name).parse(BROKEN_BETWEEN[name], VOCABULARY)
    assert sorted(mention.text for mention in parsed.mentions) == ["5 mg", "aspirin", "heparin"]
    pairs = [(link.label, parsed.mentions[link.head].text, parsed.mentions[link.tail].text) for link in parsed.links]
    assert pairs == [("Dose", "heparin", "5 mg"), ("Dose", "aspirin", "5 mg")]
    assert parsed.problems[NO_SUCH_MENTION] == 1


@pytest.mark.parametrize("name", ["lines", "json"])
def test_links_keep_their_mentions_where_an_entry_between_has_no_words(name: str) -> None:
    completion = {
        "lines": "Drug\taspirin\nDrug\t\nDose\t5 mg\n>Dose\t1 3",
        "json": '{"mentions":[["Drug","aspirin"],["Drug"],["Dose","5 mg"]],"links":[["Dose",1,3]]}',
    }[name]
    parsed = made(name).parse(completion, VOCABULARY)
    assert [mention.text for mention in parsed.mentions] == ["aspirin", "5 mg"]
    assert parsed.links == [Link("Dose", 0, 1)]
    assert parsed.problems


def test_links_of_grouped_mentions_count_empty_places() -> None:
    parsed = made("grouped").parse("Drug\taspirin\t\theparin\n>Dose\t1 3", VOCABULARY)
    assert [mention.text for mention in parsed.mentions] == ["aspirin", "heparin"]
    assert parsed.links == [Link("Dose", 0, 1)]


LINKS = {
    "lines": ("Drug\ta\nDose\tb\n", ">Dose\t1 2\t1 2\t1 3\t0 1\n>Nothing\t1 2"),
    "grouped": ("Drug\ta\nDose\tb\n", ">Dose\t1 2\t1 2\t1 3\t0 1\n>Nothing\t1 2"),
    "inline": ("{a|Drug:1} {b|Dose:2}\n", ">Dose\t1 2\t1 2\t1 3\t0 1\n>Nothing\t1 2"),
    "markup": ("<Drug>a</Drug> <Dose>b</Dose>\n", ">Dose\t1 2\t1 2\t1 3\t0 1\n>Nothing\t1 2"),
}


@pytest.mark.parametrize("name", LINKS)
def test_wrong_links_are_counted_by_reason(name: str) -> None:
    mentions, links = LINKS[name]
    expected = {TWICE: 1, NO_SUCH_MENTION: 2, UNKNOWN_LABEL: 1}
    parsed = made(name).parse(mentions + links, VOCABULARY)
    assert parsed.links == [Link("Dose", 0, 1)]
    assert dict(parsed.problems) == expected
    alone = made(name).parse_links(links, VOCABULARY, 2)
    assert alone.links == [Link("Dose", 0, 1)]
    assert dict(alone.problems) == expected


def test_golden_links_alone() -> None:
    links = [Link("Reason-Drug", 2, 0), Link("Dose", 0, 1), Link("Dose", 0, 2)]
    for name in ("lines", "grouped", "inline", "markup"):
        assert made(name).render_links(links, VOCABULARY) == ">Dose\t1 2\t1 3\n>Reason-Drug\t3 1"
    parsed = made("json").parse_links(made("json").render_links(links, VOCABULARY), VOCABULARY, 3)
    assert set(parsed.links) == set(links)


@pytest.mark.parametrize("name", LINKING)
def test_no_links_alone(name: str) -> None:
    kind = made(name)
    parsed = kind.parse_links(kind.render_links([], VOCABULARY), VOCABULARY, 3)
    assert not parsed.links
    assert not parsed.problems
