"""The automaton of inline responses accepts what a checker of whole strings accepts; all of it copies the text, parses, and ends."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.corpora import Demo
from clinical_ie.document import Document
from clinical_ie.prompts.answers import Answer, LabelNames, Link, Mention, NormalizedText
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar, State
from clinical_ie.prompts.responses import Inline
from clinical_ie.prompts.responses.markup import UNCLOSED
from tests.prompts.test_grammar import accepts as accepts_lines
from tests.prompts.test_grammar import flat_of, word_starts

TYPES = ("A", "AB", "Ähm x")
LABELS = (("R", frozenset({(0, 0), (0, 1)})), ("RS", frozenset({(1, 2)})))
SPECIAL = "\\{|}"
MARKS = ["a", "b", "ab", "A", " ", "  ", "\r\n", "\t", "1", "12", ".", ",", ":", ">", "{", "}", "|", "\\", "\\\\", "{a|A}", "|A}", "\\{", "😀", "👩🏽\u200d⚕️", "é", "e\u0301", "漢", "_"]  # fmt: skip  # noqa: E501
texts = st.lists(st.sampled_from(MARKS), max_size=8).map("".join) | st.text(st.characters(exclude_categories=("Cs",)), max_size=10)
relaxed = settings(max_examples=300, deadline=None)
OPENS, BAR, COMMA, NEWLINE = b"{|,\n"


# --- the checker of whole strings: character by character


@dataclass
class Reading:
    """The content of a completion: the text, mentions in their order (type, span), links, and the number of unclosed braces."""

    copied: str = ""
    said: list[tuple[str, tuple[int, int]]] = field(default_factory=list)
    links: list[tuple[str, int, int]] = field(default_factory=list)
    unclosed: int = 0


def read(grammar: Grammar, completion: str) -> Reading | None:
    """The content of a whole string; None if it is no completion."""
    flat, found = flat_of(grammar.text), Reading()
    body, *lines = completion.split("\n")
    opened: list[int] = []
    while body:
        first, body = body[0], body[1:]
        if first == "\\":
            if not body or body[0] not in SPECIAL:
                return None
            found.copied, body = found.copied + body[0], body[1:]
        elif first == "{":
            opened.append(len(found.copied))
            # the docstring has no limit, but without one there would be no end
            if opened[-1] not in word_starts(flat) or opened.count(opened[-1]) > len(grammar.types):
                return None
        elif first == "|":
            names, brace, body = body.partition("}")
            if not brace or not opened:
                return None
            span = opened.pop(), len(found.copied)
            if span[0] == span[1] or found.copied.endswith(" ") or span in [other for _, other in found.said]:
                return None
            last = -1
            for name in names.split(","):
                if grammar.labels:
                    name, colon, number = name.partition(":")
                    if not colon or number != str(len(found.said) + 1):
                        return None
                if name not in grammar.types or grammar.types.index(name) <= last:
                    return None
                last = grammar.types.index(name)
                found.said.append((name, span))
        elif first == "}":
            return None
        else:
            found.copied += first
        if not flat.startswith(found.copied):
            return None
    if found.copied not in (flat, flat.rstrip()):
        return None
    found.unclosed = len(opened)
    return found if has_links(grammar, lines, found) else None


def has_links(grammar: Grammar, lines: list[str], found: Reading) -> bool:
    """Whether lines are links between mentions; they are added to the content."""
    names, last_label = [name for name, _ in grammar.labels], -1
    kinds = [grammar.types.index(name) for name, _ in found.said]
    for line in lines:
        name, *pairs = line.split("\t")
        if not name.startswith(">") or name[1:] not in names or names.index(name[1:]) <= last_label or not pairs:
            return False
        last_label, last = names.index(name[1:]), (0, 0)
        for pair in pairs:
            if not re.fullmatch(r"[1-9][0-9]* [1-9][0-9]*", pair, re.ASCII):
                return False
            head, tail = map(int, pair.split(" "))
            if max(head, tail) > len(kinds) or head == tail or (head, tail) <= last:
                return False
            if (kinds[head - 1], kinds[tail - 1]) not in grammar.labels[last_label][1]:
                return False
            last = head, tail
            found.links.append((name[1:], head - 1, tail - 1))
    return True


def accepts(grammar: Grammar, completion: str) -> bool:
    """Whether a whole string is a completion."""
    return read(grammar, completion) is not None


def automaton_accepts(grammar: Grammar, completion: str | bytes) -> bool:
    automaton = automaton_of(grammar)
    state = automaton.step(automaton.start(), completion.encode() if isinstance(completion, str) else completion)
    return state is not None and automaton.may_end(state)


# --- what is tried


def walk(grammar: Grammar, draw: random.Random, *, greedy: bytes = b"") -> str:
    """One completion; the first of `greedy` that is allowed is taken, and with them the text never ends before it must."""
    automaton = automaton_of(grammar)
    state: State = automaton.start()
    said, in_links = bytearray(), False
    tags = draw.choice([0.05, 0.4, 0.8])
    while True:
        following = automaton.successors(state)
        assert following or automaton.may_end(state), "a dead end"
        if not following or (automaton.may_end(state) and (in_links or not greedy) and draw.random() < 0.4):
            return said.decode()
        copying = [byte for byte in following if byte not in (NEWLINE, OPENS, BAR)]
        byte = draw.choice(sorted(following)) if not copying or draw.random() < tags else draw.choice(copying)
        byte = next((wanted for wanted in greedy if wanted in following), byte)
        said.append(byte)
        assert len(said) < 30_000, "no end"
        in_links = in_links or byte == NEWLINE
        state = following[byte]


@st.composite
def grammars(draw: st.DrawFn) -> Grammar:
    return Grammar("inline", draw(texts), TYPES[: draw(st.integers(1, 3))], draw(st.sampled_from([(), LABELS])))


wishes = st.sampled_from([b"", b"", b"", b"{", b"|", b"|,", b",|{", b"{|,", b"{|"])


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


def test_the_remaining_text() -> None:
    automaton = automaton_of(Grammar("inline", "a {b}\r\nc", TYPES))
    for said, left in (("", "a \\{b\\} c"), ("{a", " \\{b\\} c"), ("{a|A}", " \\{b\\} c"), ("a \\", "{b\\} c"), ("a {\\{b|A,AB}\\} ", "c")):
        state = automaton.step(automaton.start(), said.encode())
        assert state is not None
        assert automaton.remaining_text(state) == left.encode()


@relaxed
@given(grammars(), st.lists(st.integers(0, 2), max_size=6), st.integers(0, 1 << 30))
def test_links_of_given_mentions_are_those_of_lines(grammar: Grammar, given_: list[int], seed: int) -> None:
    """Where the prompt numbers the mentions, no text is copied."""
    given_types = tuple(kind % len(grammar.types) for kind in given_)
    asked = Grammar("inline", grammar.text, grammar.types, LABELS, given_types)
    assert not asked.copies_text
    assert accepts_lines(Grammar("lines", grammar.text, grammar.types, LABELS, given_types), walk(asked, random.Random(seed)))


@pytest.mark.parametrize("text", ["", " \n", "a {b} | c\\", "\\", "{|}", "\t😀\r\n"])
def test_a_text_without_mentions(text: str) -> None:
    for labels in ((), LABELS):
        grammar = Grammar("inline", text, TYPES, labels)
        said = Inline().render(Answer(()), flat_of(text), LabelNames(TYPES, tuple(name for name, _ in labels)))
        assert automaton_accepts(grammar, said)
        assert accepts(grammar, said)


@pytest.mark.parametrize(
    ("text", "completion", "said"),
    [
        ("a b", "{a|A} b", True),
        ("a b", "{a b|A}", True),
        ("a b", "{{a|A} b|A}", True),  # nested, of one type
        ("a b", "{a {b|A}|A}", True),
        ("a b", "{a|A,AB} b", True),
        ("a b", "{a|AB,A} b", False),  # not in the order of the question
        ("a b", "{a|A,A} b", False),
        ("a b", "{{a|A}|AB} b", False),  # the same words twice
        ("a b", "{{{a|A}| b", False),
        ("a b c", "{{{a|A} b|A} c|A}", True),
        ("a b", "{{a|A} b", True),  # unclosed
        ("a b", "{{{{a|A} b", False),  # no more braces than types at one place
        ("a b", "{a |A}b", False),  # behind a blank
        ("a b", "{|A}a b", False),  # no character
        ("ab", "a{b|A}", False),  # inside of a word
        ("ab", "{a|A}b", True),
        ("1a", "1{a|A}", True),  # digits and letters are words of their own
        ("a b ", "{a|A} b", True),
        ("a b ", "{a|A} b ", True),
        ("a b ", "{a {b|A} |A}", False),
        ("a\r\n b", "{a b|A}", True),
        ("a\r\n b", "{a\r\n b|A}", False),
        ("{|}\\", "{\\{|A}{\\||A}{\\}|A}{\\\\|A}", True),
        ("{|}\\", "\\{\\|\\}\\\\", True),
        ("{a", "{a", False),
        ("e\u0301", "{e|A}\u0301", True),  # as between all characters
        ("a b", "{a|A:1} b", False),
        ("a b", "{a|A}", False),
        ("a b", "{a|A} b\n", False),
        ("a b", "{a|} b", False),
        ("a b", "{a|A,} b", False),
        ("a b", "{a|A, AB} b", False),
        ("a b", "{a|B} b", False),
        ("a b", "{a} b", False),
        ("a|A} b", "{a\\|A\\}|A} b", True),
    ],
)
def test_by_hand(text: str, completion: str, said: bool) -> None:
    grammar = Grammar("inline", text, TYPES)
    assert accepts(grammar, completion) == said
    assert automaton_accepts(grammar, completion) == said


@pytest.mark.parametrize(
    ("completion", "said"),
    [
        ("{a|A:1} {b|AB:2}\n>R\t1 2", True),
        ("{a|A:1,AB:2} {b|A:3}\n>R\t1 2\t1 3\t3 1\t3 2", True),
        ("{{a|A:1} b|AB:2}\n>R\t1 2", True),  # the inner one is said first
        ("{{a|A:2} b|AB:1}\n>R\t1 2", False),
        ("{a|A} b", False),
        ("{a|A:0} b", False),
        ("{a|A:2} b", False),
        ("{a|A:01} b", False),
        ("{a|A:1,AB:1} b", False),
        ("{{a|A:1} {b|AB:2}\n>R\t1 2", True),  # an unclosed brace has no number
        ("{a|A:1} {b|AB:2}\n>R\t2 1", False),
        ("{a|A:1} {b|AB:2}\n>R\t1 1", False),
        ("{a|A:1} {b|AB:2}\n>RS\t1 2", False),
        ("{a|A:1,AB:2,Ähm x:3} b\n>R\t1 2\n>RS\t2 3", True),
        ("{a|A:1,AB:2,Ähm x:3} b\n>RS\t2 3\n>R\t1 2", False),
        ("{a|A:1} {b|AB:2}\n", False),
    ],
)
def test_joint_answers_by_hand(completion: str, said: bool) -> None:
    grammar = Grammar("inline", "a b", TYPES, LABELS)
    assert accepts(grammar, completion) == said
    assert automaton_accepts(grammar, completion) == said


def test_more_than_nine_mentions_are_numbered() -> None:
    words = "a b c d e f g h i j k l"
    completion = " ".join(f"{{{word}|A:{number}}}" for number, word in enumerate(words.split(), 1)) + "\n>R\t1 10\t12 11"
    grammar = Grammar("inline", words, TYPES, LABELS)
    assert accepts(grammar, completion)
    assert automaton_accepts(grammar, completion)
    parsed = Inline().parse(completion, LabelNames(TYPES, ("R", "RS")))
    assert parsed.links == [Link("R", 0, 9), Link("R", 11, 10)]


def answer_of(document: Document) -> Answer:
    """All that the syntax can express, but mentions that begin inside a word."""
    types, flat = Demo.declared.entity_names, NormalizedText.of(document.text)
    starts = word_starts(flat.text)
    entities = sorted(document.entities, key=lambda e: (e.start, -e.end, types.index(e.type)))
    entities = [e for e in entities if len(e.span.fragments) == 1 and flat.place(e.start) in starts]
    mentions = [
        Mention(e.type, flat_of(document.text[e.start : e.end]), (flat.place(e.start), flat.place(e.end - 1) + 1)) for e in entities
    ]
    kept = [place for place in range(len(mentions)) if place not in Inline().inexpressible(mentions, flat.text)]
    rank = {entities[place].id: new for new, place in enumerate(kept)}
    links = dict.fromkeys((r.type, rank[r.head], rank[r.tail]) for r in document.relations if r.head in rank and r.tail in rank)
    return Answer(tuple(mentions[place] for place in kept), tuple(Link(*link) for link in links))


def test_gold_responses_of_the_demo_notes_are_accepted() -> None:
    types, said = Demo.declared.entity_names, 0
    for document in Demo().read("test"):
        answer, flat = answer_of(document), flat_of(document.text)
        completion = Inline().render(Answer(answer.mentions), flat, LabelNames(types))
        grammar = Grammar("inline", document.text, types)
        assert automaton_accepts(grammar, completion)
        reading = read(grammar, completion)
        assert reading is not None
        assert sorted(reading.said) == sorted((mention.type, mention.at) for mention in answer.mentions)
        said += len(answer.mentions)
    assert said > 100


def test_joint_gold_responses_of_the_demo_notes_are_accepted() -> None:
    schema, linked = Demo.declared, 0
    types = schema.entity_names
    names = tuple(dict.fromkeys(relation.name for relation in schema.relations))
    labels = tuple(
        (name, frozenset((a, b) for a, head in enumerate(types) for b, tail in enumerate(types) if schema.allows(name, head, tail)))
        for name in names
    )
    for document in Demo().read("test"):
        answer, flat = answer_of(document), flat_of(document.text)
        label_names = LabelNames(types, names)
        completion = Inline().render(answer, flat, label_names)
        assert automaton_accepts(Grammar("inline", document.text, types, labels), completion)
        parsed = Inline().parse(completion, label_names)
        assert not parsed.problems
        dense = ["".join(flat[slice(*(mention.at or (0, 0)))].split()) for mention in answer.mentions]
        wanted = {(link.label, dense[link.head], dense[link.tail]) for link in answer.links}
        found = {(link.label, *("".join(parsed.mentions[place].text.split()) for place in (link.head, link.tail))) for link in parsed.links}
        assert found == wanted
        assert len(parsed.links) == len(answer.links)
        linked += len(answer.links)
    assert linked > 50
