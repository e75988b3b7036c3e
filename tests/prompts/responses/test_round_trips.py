"""What every format writes it reads again, but for what it says it cannot express."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.prompts.answers import GAP, Answer, Link, Mention
from clinical_ie.prompts.word_pattern import GRAPHEME_WORD as WORD
from tests.prompts.responses.response_cases import LINKING, VOCABULARY, answers, dense, in_copy, made, said, sayable


@pytest.mark.parametrize("name", ["lines", "json"])
@given(case=answers())
def test_round_trip_in_order(name: str, case: tuple[str, Answer]) -> None:
    text, answer = case
    kind = made(name)
    assert not kind.inexpressible(answer.mentions, text)
    parsed = kind.parse(kind.render(answer, text, VOCABULARY), VOCABULARY)
    assert not parsed.problems
    assert said(parsed.mentions, parsed.links) == said(answer.mentions, answer.links)
    assert len(parsed.links) == len(answer.links)


def grouped_order(mentions: Sequence[Mention]) -> list[int]:
    return sorted(range(len(mentions)), key=lambda place: VOCABULARY.types.index(mentions[place].type))


@given(answers())
def test_round_trip_by_type(case: tuple[str, Answer]) -> None:
    text, answer = case
    kind = made("grouped")
    assert not kind.inexpressible(answer.mentions, text)
    parsed = kind.parse(kind.render(answer, text, VOCABULARY), VOCABULARY)
    assert not parsed.problems
    assert said(parsed.mentions, parsed.links) == said(answer.mentions, answer.links, grouped_order(answer.mentions))


@given(answers())
def test_round_trip_of_markup(case: tuple[str, Answer]) -> None:
    text, answer = case
    kind = made("markup")
    answer = sayable(kind, answer, text)
    parsed = kind.parse(kind.render(answer, text, VOCABULARY), VOCABULARY)
    assert not parsed.problems
    assert said(parsed.mentions, parsed.links) == said(answer.mentions, answer.links)
    assert parsed.copied == dense(text)
    assert [mention.at for mention in parsed.mentions] == [in_copy(text, mention) for mention in answer.mentions]


def closing_order(mentions: Sequence[Mention]) -> list[int]:
    """The order in which types are said behind their words: what ends first, and what lies inside, then the order of types."""

    def key(place: int) -> tuple[int, int, int]:
        start, end = mentions[place].at or (0, 0)
        return end, -start, VOCABULARY.types.index(mentions[place].type)

    return sorted(range(len(mentions)), key=key)


@pytest.mark.parametrize("labels", [VOCABULARY.labels, ()], ids=["joint", "mentions"])
@given(case=answers())
def test_round_trip_in_the_order_in_which_types_are_said(labels: tuple[str, ...], case: tuple[str, Answer]) -> None:
    text, answer = case
    kind, label_names = made("inline"), replace(VOCABULARY, labels=labels)
    answer = sayable(kind, answer, text)
    answer = answer if labels else Answer(answer.mentions)
    parsed = kind.parse(kind.render(answer, text, label_names), label_names)
    order_ = closing_order(answer.mentions)
    assert not parsed.problems
    assert said(parsed.mentions, parsed.links) == said(answer.mentions, answer.links, order_)
    assert len(parsed.links) == len(answer.links)
    assert parsed.copied == dense(text)
    assert [mention.at for mention in parsed.mentions] == [in_copy(text, answer.mentions[place]) for place in order_]


@given(case=answers(), draw=st.randoms(use_true_random=False))
def test_inline_links_keep_their_mentions_in_whatever_order_those_come(case: tuple[str, Answer], draw: Random) -> None:
    """The order of an answer's mentions is nothing that braces can show."""
    text, answer = case
    kind = made("inline")
    answer = sayable(kind, answer, text)
    order_ = list(range(len(answer.mentions)))
    draw.shuffle(order_)
    new = {place: rank for rank, place in enumerate(order_)}
    links = tuple(Link(link.label, new[link.head], new[link.tail]) for link in answer.links)
    shuffled = Answer(tuple(answer.mentions[place] for place in order_), links)
    assert kind.render(shuffled, text, VOCABULARY) == kind.render(answer, text, VOCABULARY)


@given(answers(whole_words=True))
def test_round_trip_of_tagged_words(case: tuple[str, Answer]) -> None:
    text, answer = case
    kind = made("bio")
    answer = sayable(kind, answer, text)
    parsed = kind.parse(kind.render(answer, text, VOCABULARY), VOCABULARY)
    assert not parsed.problems
    assert not parsed.links
    assert parsed.copied == dense(text)
    found = [(mention.type, dense(mention.text), mention.at) for mention in parsed.mentions]
    assert found == [(mention.type, dense(mention.text), in_copy(text, mention)) for mention in answer.mentions]


@given(answers())
def test_tagged_words_of_mentions_inside_words_stay_readable(case: tuple[str, Answer]) -> None:
    text, answer = case
    kind = made("bio")
    answer = sayable(kind, answer, text)
    parsed = kind.parse(kind.render(answer, text, VOCABULARY), VOCABULARY)
    assert not parsed.problems
    assert parsed.copied == dense(text)
    assert len(parsed.mentions) <= len(answer.mentions)


@given(answers())
def test_only_what_must_be_is_inexpressible(case: tuple[str, Answer]) -> None:
    """Nested, adjacent and crossing mentions of different types can be marked up; flat ones be tagged."""
    text, answer = case
    gone = made("markup").inexpressible(answer.mentions, text)
    for place, mention in enumerate(answer.mentions):
        if GAP not in mention.text and all(other.type != mention.type for rank, other in enumerate(answer.mentions) if rank != place):
            assert place not in gone
    first = [mention for mention in answer.mentions if GAP not in mention.text][:1]
    edges = {edge for word in WORD.finditer(text) for edge in word.span()}
    assert bool(made("bio").inexpressible(first, text)) == any(not edges.issuperset(mention.at or ()) for mention in first)


@given(answers())
def test_only_what_must_be_is_inexpressible_in_braces(case: tuple[str, Answer]) -> None:
    """Discontinuous mentions, those said already, and of two that cross one; all else stays."""
    text, answer = case
    gone = made("inline").inexpressible(answer.mentions, text)
    kept: list[Mention] = []
    for place, mention in enumerate(answer.mentions):
        wrong = GAP in mention.text or any(crosses(mention, other) or repeats(mention, other) for other in kept)
        assert (place in gone) == wrong
        kept += [] if wrong else [mention]


def crosses(mention: Mention, other: Mention) -> bool:
    """Whether two share characters, and each has some that the other has not."""
    one, two = set(range(*(mention.at or (0, 0)))), set(range(*(other.at or (0, 0))))
    return bool(one & two and one - two and two - one)


def repeats(mention: Mention, other: Mention) -> bool:
    return (mention.type, mention.at) == (other.type, other.at)


@pytest.mark.parametrize("name", LINKING)
@given(data=st.data())
def test_links_alone_round_trip(name: str, data: st.DataObject) -> None:
    kind = made(name)
    count = data.draw(st.integers(1, 12))
    place = st.integers(0, count - 1)
    links = data.draw(st.lists(st.builds(Link, st.sampled_from(VOCABULARY.labels), place, place), max_size=8, unique=True))
    parsed = kind.parse_links(kind.render_links(links, VOCABULARY), VOCABULARY, count)
    assert not parsed.problems
    assert not parsed.mentions
    assert set(parsed.links) == set(links)
    assert len(parsed.links) == len(links)
