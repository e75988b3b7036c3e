"""The automaton of inline responses accepts what a checker of whole strings accepts; all of it copies the text, parses, and ends."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.prompts.answers import Answer, LabelNames, Link, Mention
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar, State
from clinical_ie.prompts.responses import Inline
from clinical_ie.prompts.responses.markup import UNCLOSED
from tests.prompts.inline_checker import LABELS, SPECIAL, TYPES, accepts, automaton_accepts, grammars, read, relaxed, walk, wishes
from tests.prompts.test_grammar import accepts as accepts_lines
from tests.prompts.test_grammar import flat_of, word_starts


@relaxed
@given(grammars(), st.integers(0, 1 << 30), wishes)
def test_walks_end_and_the_checker_accepts_them(grammar: Grammar, seed: int, greedy: bytes) -> None:
    assert accepts(grammar, walk(grammar, random.Random(seed), greedy=greedy))


PUT_IN = [
    "", "{", "{{", "|", "}", "|A}", "|AB}", "|A,AB}", "|AB,A}", "|A,A}", "|Ähm x}", "|A:1}", "|AB:2}", "|A:1,AB:2}", "|A:2,AB:1}", "|A:01}",
    ",AB", ",AB:2", ":1", ":2", ":3", "\\", "\\\\", "\\{", "\\a", " ", "a", "1", "\n", "\n>R\t1 2", "\n>RS\t2 3", "\t1 3",
]  # fmt: skip


@settings(relaxed, max_examples=1500)
@given(grammars(), st.integers(0, 1 << 30), wishes, st.data())
def test_accepted_is_what_the_checker_accepts(grammar: Grammar, seed: int, greedy: bytes, data: st.DataObject) -> None:
    said = walk(grammar, random.Random(seed), greedy=greedy)
    for _ in range(data.draw(st.integers(1, 2))):
        place, width = data.draw(st.integers(0, len(said))), data.draw(st.integers(0, 4))
        said = said[:place] + data.draw(st.sampled_from(PUT_IN)) + said[place + width :]
    assert automaton_accepts(grammar, said) == accepts(grammar, said)


@relaxed
@given(grammars(), st.integers(0, 1 << 30), st.data())
def test_no_part_of_a_character_is_a_completion(grammar: Grammar, seed: int, data: st.DataObject) -> None:
    completion = walk(grammar, random.Random(seed)).encode()
    part = completion[: data.draw(st.integers(0, len(completion)))]
    try:
        expected = accepts(grammar, part.decode())
    except UnicodeDecodeError:
        expected = False
    assert automaton_accepts(grammar, part) == expected


@pytest.mark.parametrize("labels", [(), LABELS], ids=["mentions", "joint"])
@pytest.mark.parametrize("text", ["a b", "ab a ", "a\r\n😀", "{|", "a\\", "e\u0301 1a"])
def test_every_short_completion(text: str, labels: tuple[tuple[str, frozenset[tuple[int, int]]], ...]) -> None:
    """All strings of a few parts, whether they are completions or not."""
    grammar = Grammar("inline", text, TYPES[:2], labels)
    letters = [f"\\{character}" if character in SPECIAL else character for character in flat_of(text)]
    said = ["|A:1}", "|AB:1}", "|A:2}", "|AB:2}", "|A:1,AB:2}", "\n>R\t1 2"] if labels else ["|A}", "|AB}", "|A,AB}", "|AB,A}"]
    automaton = automaton_of(grammar)
    wrong, number = [], 0
    frontier: list[tuple[str, State]] = [("", automaton.start())]
    seen = {""}
    for _ in range(8):
        further: list[tuple[str, State]] = []
        for before, state in frontier:
            for part in ["{", *letters, *said]:
                longer = before + part
                if longer in seen:
                    continue
                seen.add(longer)
                following = automaton.step(state, part.encode())
                accepted = following is not None and automaton.may_end(following)
                number += accepted
                if accepted != accepts(grammar, longer):
                    wrong.append(longer)
                if following is not None:
                    further.append((longer, following))
        frontier = random.Random(0).sample(further, min(len(further), 600))
    assert not wrong
    assert number > 10


@settings(relaxed, max_examples=500)
@given(grammars(), st.integers(0, 1 << 30), wishes)
def test_completions_parse_and_stand_in_the_text(grammar: Grammar, seed: int, greedy: bytes) -> None:
    completion = walk(grammar, random.Random(seed), greedy=greedy)
    parsed = Inline().parse(completion, LabelNames(grammar.types, tuple(name for name, _ in grammar.labels)))
    expected = read(grammar, completion)
    assert expected is not None
    # an unclosed brace is discarded; all others are mentions, and there are no other problems
    assert parsed.problems.pop(UNCLOSED, 0) == expected.unclosed
    assert not parsed.problems
    dense = "".join(grammar.text.split())
    assert parsed.copied == dense
    for mention in parsed.mentions:
        assert mention.at is not None
        assert dense[slice(*mention.at)] == "".join(mention.text.split()) != ""
    flat = flat_of(grammar.text)
    assert [(mention.type, mention.text, mention.at) for mention in parsed.mentions] == [
        (kind, flat[start:end], (len("".join(flat[:start].split())), len("".join(flat[:end].split()))))
        for kind, (start, end) in expected.said
    ]
    spans = [(mention.type, mention.at) for mention in parsed.mentions]
    assert len(set(spans)) == len(spans)
    assert parsed.links == [Link(*link) for link in expected.links]


@relaxed
@given(grammars(), st.integers(0, 1 << 30), wishes)
def test_what_is_accepted_can_be_rendered(grammar: Grammar, seed: int, greedy: bytes) -> None:
    """A completion without unclosed braces is what its answer is rendered as."""
    completion = walk(grammar, random.Random(seed), greedy=greedy)
    expected = read(grammar, completion)
    assert expected is not None
    flat = flat_of(grammar.text)
    mentions = [Mention(kind, flat[start:end], (start, end)) for kind, (start, end) in expected.said]
    answer = Answer(tuple(mentions), tuple(Link(*link) for link in expected.links))
    if not Inline().inexpressible(mentions, flat):
        said = Inline().render(answer, flat, LabelNames(grammar.types, tuple(name for name, _ in grammar.labels)))
        assert automaton_accepts(grammar, said)
        again = read(grammar, said)
        assert again is not None
        assert (again.said, again.links, again.unclosed) == (expected.said, expected.links, 0)
    else:  # a fragment's gap stands in the text itself
        assert " ... " in flat


@st.composite
def answers(draw: st.DrawFn) -> tuple[Grammar, Answer]:
    """A grammar, and mentions that begin at words, nested and of the same words, as far as the syntax can express them."""
    grammar = draw(grammars())
    flat = flat_of(grammar.text)
    mentions: list[Mention] = []
    starts = st.sampled_from(sorted(word_starts(flat)) or [0])
    for start in draw(st.lists(starts, max_size=8)):
        end = draw(st.integers(start, len(flat)))
        words = flat[start:end].rstrip()
        begin = {mention.at for mention in mentions if mention.at is not None and mention.at[0] == start}
        if words and len(begin - {(start, start + len(words))}) < len(grammar.types):  # see the limit above
            mentions.append(Mention(draw(st.sampled_from(grammar.types)), words, (start, start + len(words))))
    lost = Inline().inexpressible(mentions, flat)
    kept = tuple(mention for place, mention in enumerate(mentions) if place not in lost)
    legal = dict(grammar.labels)
    links = [
        Link(label, head, tail)
        for label in legal
        for head in range(len(kept))
        for tail in range(len(kept))
        if head != tail and (grammar.types.index(kept[head].type), grammar.types.index(kept[tail].type)) in legal[label]
    ]
    return grammar, Answer(kept, tuple(draw(st.lists(st.sampled_from(links), unique=True, max_size=4)) if links else ()))


@settings(relaxed, max_examples=500)
@given(answers())
def test_what_is_rendered_is_accepted(case: tuple[Grammar, Answer]) -> None:
    grammar, answer = case
    flat = flat_of(grammar.text)
    completion = Inline().render(answer, flat, LabelNames(grammar.types, tuple(name for name, _ in grammar.labels)))
    assert automaton_accepts(grammar, completion)
    reading = read(grammar, completion)
    assert reading is not None
    assert sorted(reading.said) == sorted((mention.type, mention.at) for mention in answer.mentions)
    assert sorted((label, reading.said[head], reading.said[tail]) for label, head, tail in reading.links) == sorted(
        (link.label, *((answer.mentions[place].type, answer.mentions[place].at) for place in (link.head, link.tail)))
        for link in answer.links
    )


@relaxed
@given(grammars(), st.integers(0, 1 << 30), wishes)
def test_the_remaining_text_is_always_accepted(grammar: Grammar, seed: int, greedy: bytes) -> None:
    automaton, draw = automaton_of(grammar), random.Random(seed)
    completion = walk(grammar, draw, greedy=greedy).encode()
    state = automaton.step(automaton.start(), completion[: draw.randint(0, len(completion))])
    assert state is not None
    if rest := automaton.remaining_text(state):
        end = automaton.step(state, rest)
        assert end is not None
        assert automaton.may_end(end)
    if likely := automaton.draft(state):
        assert automaton.step(state, likely) is not None


@relaxed
@given(grammars(), st.lists(st.integers(0, 2), max_size=6), st.integers(0, 1 << 30))
def test_links_of_given_mentions_are_those_of_lines(grammar: Grammar, given_: list[int], seed: int) -> None:
    """Where the prompt numbers the mentions, no text is copied."""
    given_types = tuple(kind % len(grammar.types) for kind in given_)
    asked = Grammar("inline", grammar.text, grammar.types, LABELS, given_types)
    assert not asked.copies_text
    assert accepts_lines(Grammar("lines", grammar.text, grammar.types, LABELS, given_types), walk(asked, random.Random(seed)))
