"""Inline responses by hand and of the demo notes: what the checker and the automaton accept."""

from __future__ import annotations

import pytest

from clinical_ie.corpora import Demo
from clinical_ie.document import Document
from clinical_ie.prompts.answers import Answer, LabelNames, Link, Mention, NormalizedText
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.responses import Inline
from tests.prompts.inline_checker import LABELS, TYPES, accepts, automaton_accepts, read
from tests.prompts.test_grammar import flat_of, word_starts


def test_the_remaining_text() -> None:
    automaton = automaton_of(Grammar("inline", "a {b}\r\nc", TYPES))
    for said, left in (("", "a \\{b\\} c"), ("{a", " \\{b\\} c"), ("{a|A}", " \\{b\\} c"), ("a \\", "{b\\} c"), ("a {\\{b|A,AB}\\} ", "c")):
        state = automaton.step(automaton.start(), said.encode())
        assert state is not None
        assert automaton.remaining_text(state) == left.encode()


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
