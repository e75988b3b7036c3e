"""No completion makes a format raise, and what it understands is sound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.prompts.answers import Answer, LabelNames, ParsedCompletion
from tests.prompts.responses.response_cases import LINKING, NAMES, PIECES, VOCABULARY, answers, dense, made, sayable


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
