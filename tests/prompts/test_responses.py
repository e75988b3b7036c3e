"""What every syntax writes it reads again, and no completion makes it raise."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.prompts.answers import GAP, Answer, LabelNames, Link, Mention, NormalizedText, ParsedCompletion
from clinical_ie.prompts.responses import FORMATS
from clinical_ie.prompts.responses.markup import UNCLOSED
from clinical_ie.prompts.responses.response_format import NO_SUCH_MENTION, TWICE, UNKNOWN_LABEL, UNKNOWN_TYPE, UNPARSED, ResponseFormat
from clinical_ie.prompts.word_pattern import GRAPHEME_WORD as WORD

VOCABULARY = LabelNames(("Drug", "Dose", "B-C", "Living status", "T1"), ("Dose", "Reason-Drug", "is a"))
NAMES = tuple(FORMATS)
LINKING = tuple(name for name, kind in FORMATS.items() if kind.supports_links)
PIECES = [
    "aspirin", "ab", "B", "O", "é", "\U0001fac0", "日本", "\u0301", "\u200b", "\x00", "10", "5", "mg", "²", "٣", '"', "'", "<", ">", "&",
    "\\", "\\n", "/", ",", ":", ";", "|", ".", "...", "_", "-", "[", "]", "{", "}", "&lt;", "&amp;", "&", "<Drug>", "</Drug>", "< /T1 >",
    "<br>", ">Dose", "Drug:", "B-Drug", "null", "```", "{a|Drug}", "|Drug:1}", "\\{",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from([*PIECES, " ", " ", " "]), max_size=25).map(lambda parts: re.sub(r" +", " ", "".join(parts)))


def made(name: str) -> ResponseFormat:
    return FORMATS[name]()


def order(mention: Mention) -> tuple[int, int, int]:
    """Text order: start, then longest first, then the order of types."""
    assert mention.at is not None
    return mention.at[0], -mention.at[1], VOCABULARY.types.index(mention.type)


@st.composite
def answers(draw: st.DrawFn, whole_words: bool = False) -> tuple[str, Answer]:
    """A flat text and any answer: mentions adjacent, nested, crossing, discontinuous, of one span, linked in any way."""
    text = draw(TEXTS)
    edges = {0, len(text)}
    edges |= {edge for word in WORD.finditer(text) for edge in word.span()} if whole_words else set(range(len(text)))
    points = st.sampled_from(sorted(edges))
    mentions = []
    for _ in range(draw(st.integers(0, 6))):
        cuts = sorted(draw(st.sets(points, min_size=1, max_size=4)))
        fragments = [trimmed(text, start, end) for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
        fragments = [(start, end) for start, end in fragments if start < end]
        if fragments:
            words = GAP.join(text[start:end] for start, end in fragments)
            mentions.append(Mention(draw(st.sampled_from(VOCABULARY.types)), words, (fragments[0][0], fragments[-1][1])))
    mentions.sort(key=order)
    if not mentions:
        return text, Answer(())
    place = st.integers(0, len(mentions) - 1)
    links = draw(st.lists(st.builds(Link, st.sampled_from(VOCABULARY.labels), place, place), max_size=6, unique=True))
    return text, Answer(tuple(mentions), tuple(links))


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def sayable(kind: ResponseFormat, answer: Answer, text: str) -> Answer:
    """An answer without what the syntax cannot express."""
    left_out = kind.inexpressible(answer.mentions, text)
    assert set(left_out) <= set(range(len(answer.mentions)))
    assert all(left_out.values())
    kept = [place for place in range(len(answer.mentions)) if place not in left_out]
    new = {place: rank for rank, place in enumerate(kept)}
    links = [Link(link.label, new[link.head], new[link.tail]) for link in answer.links if link.head in new and link.tail in new]
    return Answer(tuple(answer.mentions[place] for place in kept), tuple(links) if kind.supports_links else ())


def grouped_order(mentions: Sequence[Mention]) -> list[int]:
    return sorted(range(len(mentions)), key=lambda place: VOCABULARY.types.index(mentions[place].type))


def closing_order(mentions: Sequence[Mention]) -> list[int]:
    """The order in which types are said behind their words: what ends first, and what lies inside, then the order of types."""

    def key(place: int) -> tuple[int, int, int]:
        start, end = mentions[place].at or (0, 0)
        return end, -start, VOCABULARY.types.index(mentions[place].type)

    return sorted(range(len(mentions)), key=key)


def said(
    mentions: Sequence[Mention], links: Sequence[Link], order_: Sequence[int] | None = None
) -> tuple[list[tuple[str, str]], set[Link]]:
    """Types and words in an order, and links between places of that order."""
    if order_ is None:
        order_ = range(len(mentions))
    new = {place: rank for rank, place in enumerate(order_)}
    rows = [(mentions[place].type, mentions[place].text) for place in order_]
    return rows, {Link(link.label, new[link.head], new[link.tail]) for link in links}


def dense(text: str) -> str:
    return "".join(text.split())


def in_copy(text: str, mention: Mention) -> tuple[int, int]:
    """Where a mention stands among the characters that are not white space."""
    assert mention.at is not None
    return len(dense(text[: mention.at[0]])), len(dense(text[: mention.at[1]]))


@given(st.text(st.sampled_from("ab \t\n\r\u00a0\u2028\x0b\x1c\x85é\U0001fac0"), max_size=20))
def test_flat_has_single_blanks_and_leads_back(text: str) -> None:
    flat = NormalizedText.of(text)
    assert flat.text == re.sub(r"\s+", " ", text)
    for start in range(len(flat.text)):
        for end in range(start + 1, len(flat.text) + 1):
            first, last = flat.to_original(start, end)
            assert 0 <= first < last <= len(text)
            assert re.sub(r"\s+", " ", text[first:last]) == flat.text[start:end]
    if flat.text:
        assert flat.to_original(0, len(flat.text)) == (0, len(text))


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


def check(parsed: ParsedCompletion, label_names: LabelNames = VOCABULARY) -> None:
    """What holds of anything that was understood."""
    assert all(mention.type in label_names.types for mention in parsed.mentions)
    assert all(mention.text for mention in parsed.mentions)
    for link in parsed.links:
        assert link.label in label_names.labels
        assert 0 <= link.head < len(parsed.mentions)
        assert 0 <= link.tail < len(parsed.mentions)
    assert len(set(parsed.links)) == len(parsed.links)
    assert all(isinstance(reason, str) and count > 0 for reason, count in parsed.problems.items())
    if parsed.copied is not None:
        assert not any(character.isspace() for character in parsed.copied)
        for mention in parsed.mentions:
            if mention.at is not None:
                start, end = mention.at
                assert 0 <= start < end <= len(parsed.copied)
                assert parsed.copied[start:end] == dense(mention.text)


SYNTAX = [*PIECES, *VOCABULARY.types, *VOCABULARY.labels, "\t", "\n", "\r\n", " ", "\u2028", "\x0b", "1", "2", "0",
          "-1", "99999999999", "I-Drug", '["', '"]', '","', '{"mentions":[', '"links":[', '\\"', "\\ud800", "\\u12",
          "NaN", "1e999", "true", "null", "<", "</", ">",
          "|Drug}", "|Dose:2}", "|Drug,Dose}", ",T1:1}", ":1", "|}", "|Disease}"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@given(completion=st.text() | st.lists(st.sampled_from(SYNTAX), max_size=40).map("".join))
def test_any_string_is_read(name: str, completion: str) -> None:
    check(made(name).parse(completion, VOCABULARY))


@pytest.mark.parametrize("name", LINKING)
@given(completion=st.text() | st.lists(st.sampled_from(SYNTAX), max_size=40).map("".join), count=st.integers(0, 4))
def test_any_string_is_read_as_links(name: str, completion: str, count: int) -> None:
    parsed = made(name).parse_links(completion, VOCABULARY, count)
    assert all(0 <= link.head < count and 0 <= link.tail < count and link.label in VOCABULARY.labels for link in parsed.links)
    assert len(set(parsed.links)) == len(parsed.links)


@st.composite
def damaged(draw: st.DrawFn, rendered: str) -> str:
    """A rendering with characters replaced, left out, put in, or cut off."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(rendered)))
        gone = draw(st.integers(0, 3))
        rendered = rendered[:at] + draw(st.sampled_from(["", *SYNTAX])) + rendered[at + gone :]
    return rendered[: draw(st.integers(0, len(rendered)))] if draw(st.booleans()) else rendered


@pytest.mark.parametrize("name", NAMES)
@given(case=answers(), data=st.data())
def test_damaged_responses_are_read(name: str, case: tuple[str, Answer], data: st.DataObject) -> None:
    text, answer = case
    kind = made(name)
    check(kind.parse(data.draw(damaged(kind.render(sayable(kind, answer, text), text, VOCABULARY))), VOCABULARY))


@pytest.mark.parametrize("name", NAMES)
@given(case=answers())
def test_a_response_cut_off_anywhere_keeps_what_was_whole(name: str, case: tuple[str, Answer]) -> None:
    """The entries before the cut are those of the whole response; only the last one may be short."""
    text, answer = case
    kind = made(name)
    rendered = kind.render(sayable(kind, answer, text), text, VOCABULARY)
    whole = [(mention.type, mention.text) for mention in kind.parse(rendered, VOCABULARY).mentions]
    for end in range(0, len(rendered), 7):
        parsed = kind.parse(rendered[:end], VOCABULARY)
        check(parsed)
        if name != "markup":  # where mentions count by their opening tags, and unclosed ones are none
            rows = [(mention.type, mention.text) for mention in parsed.mentions]
            assert rows[:-1] == whole[: len(rows[:-1])]


EXTREME = [
    "[" * 100_000,
    '{"mentions":' * 50_000,
    '{"mentions":' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"mentions":[],"links":[["Dose",' + "9" * 5_000 + ",1]]}",
    '{"mentions":[["Drug","a"]],"links":[["Dose",1e400,1],["Dose",-1,1],["Dose",1.0,1],["Dose",true,1],["Dose",0,1],["Dose",NaN,Infinity]]}',
    '{"mentions":{"Drug":"a"},"links":"Dose"}',
    '{"mentions":[["Drug",null],["Drug",["a"]],["Drug"],[],null,["Drug","a","b"],[["Drug"],"a"],[{},"a"]],"links":[[[],1,1],[{},1,1]]}',
    '["mentions"]', "null", "1", '"mentions"', "{}", "[]", "NaN", "-Infinity",
    '{"mentions":[["Drug","\\ud800"]]}',
    '{"mentions":[["Drug","a\\tb\\nc"]]}',
    ">Dose\t" + "9" * 5_000 + " 1",
    ">Dose\t1 " + "1" * 5_000,
    "Drug\ta\n>Dose\t١ ²",
    "Drug\ta\n" * 2_000 + ">Dose\t1 2000\t2000 2001",
    "<Drug>" * 20_000, "</Drug>" * 20_000, "<Drug>" * 5_000 + "a" + "</Drug>" * 5_000, "<" * 50_000, "&" * 50_000, "&#" * 20_000 + ";",
    "a\tI-Drug\n" * 5_000, "\tB-Drug\n" * 100, "a\tB-\nb\tI-\nc\t\n\t\t\n", "a\tB-Drug\tb\n", "\ud800\tB-Drug", "\ufeffDrug\ta",
    "{" * 50_000, "}" * 50_000, "|" * 50_000, "\\" * 50_000, "{|" * 20_000, "|Drug}" * 20_000, "{a|Drug}" * 5_000, "{|Drug}" * 5_000,
    "{" * 5_000 + "a" + "|Drug}" * 5_000, "{" * 5_000 + "a" + "}" * 5_000, "{a" + "|Drug,Dose" * 10_000, "{a|Drug" + ",Drug" * 5_000 + "}",
    "{a|Drug" + ",Drug" * 20_000, "{a|T1:" + "1" * 50_000, "{a|Drug:" + "9" * 5_000 + "}", "{a|Drug:0}\n>Dose\t0 0\t1 1", "{a|Drug:\u0661}",
    "{a|Drug:1}\n" * 2_000 + ">Dose\t1 2000\t2000 2001", "{a|" + "x" * 50_000, "{a|" + ", " * 20_000 + "}", "\ud800{\ud800|Drug}",
    "\n" * 50_000, "\t" * 50_000, "Drug" + "\t" * 50_000, "", " ", "\x00", "\ud800", '["' * 20_000, '["\\"' * 20_000, "[ " * 50_000,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("completion", EXTREME, ids=range(len(EXTREME)))
def test_extreme_completions_are_read(name: str, completion: str) -> None:
    check(made(name).parse(completion, VOCABULARY))


@pytest.mark.parametrize("name", LINKING)
@pytest.mark.parametrize("completion", EXTREME, ids=range(len(EXTREME)))
def test_extreme_completions_are_read_as_links(name: str, completion: str) -> None:
    made(name).parse_links(completion, VOCABULARY, 2)


@pytest.mark.parametrize("name", NAMES)
@given(
    completion=st.text(st.characters(blacklist_categories=["Cs", "Zs", "Cc", "Zl", "Zp"]), min_size=1).filter(
        lambda text: text[0] not in "[{>"
    )
)
def test_what_is_no_answer_is_counted(name: str, completion: str) -> None:
    """A line of prose is no answer in any syntax but those that repeat the text, where it is a text without mentions."""
    parsed = made(name).parse(completion, VOCABULARY)
    assert not parsed.mentions or ("{" if name == "inline" else "<") in completion
    assert parsed.problems or name in {"markup", "inline"}


# Golden responses. Flat text: takes aspirin 5 mg and heparin
TEXT = "takes aspirin 5 mg and heparin"
ANSWER = Answer(
    (Mention("Drug", "aspirin", (6, 13)), Mention("Dose", "5 mg", (14, 18)), Mention("Drug", "heparin", (23, 30))),
    (Link("Dose", 0, 1), Link("Reason-Drug", 2, 0)),
)
GOLDEN = {
    "lines": "Drug\taspirin\nDose\t5 mg\nDrug\theparin\n>Dose\t1 2\n>Reason-Drug\t3 1",
    "grouped": "Drug\t aspirin\t heparin\nDose\t 5 mg\n>Dose\t1 3\n>Reason-Drug\t2 1",
    "json": '{"mentions":[["Drug","aspirin"],["Dose","5 mg"],["Drug","heparin"]],"links":[["Dose",1,2],["Reason-Drug",3,1]]}',
    "inline": "takes {aspirin|Drug:1} {5 mg|Dose:2} and {heparin|Drug:3}\n>Dose\t1 2\n>Reason-Drug\t3 1",
    "markup": "takes <Drug>aspirin</Drug> <Dose>5 mg</Dose> and <Drug>heparin</Drug>\n>Dose\t1 2\n>Reason-Drug\t3 1",
    "bio": "takes\tO\naspirin\tB-Drug\n5\tB-Dose\nmg\tI-Dose\nand\tO\nheparin\tB-Drug",
}


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


def test_json_is_json() -> None:
    text = 'a "b" \\ é'
    answer = Answer((Mention("Drug", 'a "b" \\ é', (0, 9)),))
    rendered = made("json").render(answer, text, VOCABULARY)
    assert json.loads(rendered)["mentions"] == [["Drug", 'a "b" \\ é']]
    assert "é" in rendered


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


ALONE = replace(VOCABULARY, labels=())
"""Where there are no links, mentions say no numbers."""


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


def test_words_are_tagged_one_by_one() -> None:
    text = "x-ray 10mg"
    kind = made("bio")
    mentions = (Mention("Drug", "x-ray", (0, 5)), Mention("Dose", "10", (6, 8)), Mention("Dose", "mg", (8, 10)))
    assert kind.render(Answer(mentions), text, VOCABULARY) == "x\tB-Drug\n-\tI-Drug\nray\tI-Drug\n10\tB-Dose\nmg\tB-Dose"


def test_tagged_words_say_no_overlap() -> None:
    kind = made("bio")
    mentions = (
        Mention("Drug", "a b", (0, 3)),
        Mention("Dose", "b", (2, 3)),
        Mention("Dose", "c ... d", (4, 11)),
        Mention("T1", "e", (12, 13)),
    )
    assert set(kind.inexpressible(mentions, "a b c x x d e")) == {1, 2}


def test_a_mention_that_crosses_only_inexpressible_ones_can_be_tagged() -> None:
    """What is not said covers nothing."""
    kind = made("bio")
    mentions = (Mention("Drug", "a b", (0, 3)), Mention("Drug", "b c", (2, 5)), Mention("Drug", "c d", (4, 7)))
    assert 2 not in kind.inexpressible(mentions, "a b c d")


def test_a_tag_without_a_word_is_no_mention() -> None:
    parsed = made("bio").parse("a\tO\n\tB-Drug\nb\tO", VOCABULARY)
    assert not parsed.mentions
    assert parsed.problems


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


def test_an_inside_tag_behind_another_type_begins_a_mention() -> None:
    parsed = made("bio").parse("a\tB-Drug\nb\tI-Dose\nc\tO\nd\tI-T1", VOCABULARY)
    assert [(mention.type, mention.text, mention.at) for mention in parsed.mentions] == [
        ("Drug", "a", (0, 1)), ("Dose", "b", (1, 2)), ("T1", "d", (3, 4)),
    ]  # fmt: skip


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


def test_links_of_broken_json_keep_their_mentions_where_an_entry_between_is_malformed() -> None:
    """Cut off or not, an entry that is no pair of strings has its number."""
    whole = '{"mentions":[["Drug","aspirin"],["Drug",null],["Drug","heparin"],["Dose","5 mg"]],"links":[["Dose",3,4],["Dose",1,4]]}'
    for completion in (whole, whole[:-1], whole + " That is all."):
        parsed = made("json").parse(completion, VOCABULARY)
        pairs = [(parsed.mentions[link.head].text, parsed.mentions[link.tail].text) for link in parsed.links]
        assert pairs == [("heparin", "5 mg"), ("aspirin", "5 mg")], completion


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


def test_links_of_broken_json_keep_their_mentions() -> None:
    completion = '{"mentions":[["Drug","aspirin"],["Drog","bad"],["Drug","heparin"],["Dose","5 mg"]],"links":[["Dose",3,4],["Dose",1'
    parsed = made("json").parse(completion, VOCABULARY)
    assert [mention.text for mention in parsed.mentions] == ["aspirin", "heparin", "5 mg"]
    assert parsed.links == [Link("Dose", 1, 2)]
    assert parsed.problems


def test_broken_json_with_quotes_inside_mentions() -> None:
    completion = '{"mentions":[["Drug","a \\"b\\" \\\\"],["Dose","\\u00e9 [\\"x\\",\\"y\\"]"],["Dr'
    parsed = made("json").parse(completion, VOCABULARY)
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Drug", 'a "b" \\'), ("Dose", 'é ["x","y"]')]


@pytest.mark.parametrize("dress", ["```json\n{}\n```", "Here is the answer:\n{}", "{}\nI hope this helps."])
def test_json_among_prose_is_found(dress: str) -> None:
    parsed = made("json").parse(dress.replace("{}", GOLDEN["json"]), VOCABULARY)
    assert len(parsed.mentions) == 3
    assert set(parsed.links) == set(ANSWER.links)


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


def test_wrong_links_of_json_are_counted_by_reason() -> None:
    rows = '[["Dose",1,2],["Dose",1,2],["Dose",1,3],["Dose",0,1],["Nothing",1,2]]'
    expected = {TWICE: 1, NO_SUCH_MENTION: 2, UNKNOWN_LABEL: 1}
    parsed = made("json").parse('{"mentions":[["Drug","a"],["Dose","b"]],"links":' + rows + "}", VOCABULARY)
    assert parsed.links == [Link("Dose", 0, 1)]
    assert dict(parsed.problems) == expected


@pytest.mark.parametrize("name", ["lines", "grouped"])
def test_types_that_were_not_asked_for_are_counted(name: str) -> None:
    parsed = made(name).parse("Drug\ta\nDisease\tb\n", VOCABULARY)
    assert [mention.text for mention in parsed.mentions] == ["a"]
    assert parsed.problems[UNKNOWN_TYPE] == 1


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


def test_a_sign_cut_off_inside_is_no_part_of_the_copy() -> None:
    """So that mentions before it keep their places."""
    parsed = made("inline").parse("a {b|Drug} \\", VOCABULARY)
    assert [mention.text for mention in parsed.mentions] == ["b"]
    assert parsed.copied == "ab"
