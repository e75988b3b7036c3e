"""The automaton of markup accepts what a checker of whole strings accepts; all of it copies the text, parses, and ends."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.corpora import Demo
from clinical_ie.prompts.answers import Answer, LabelNames, Mention, NormalizedText
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar, State
from clinical_ie.prompts.responses import Markup
from clinical_ie.prompts.responses.markup import UNCLOSED
from tests.prompts.test_grammar import flat_of, word_starts

TYPES = ("A", "AB", "Ähm x")
LABELS = (("R", frozenset({(0, 0), (0, 1)})), ("RS", frozenset({(1, 2)})))
MARKS = ["a", "b", "ab", "A", " ", "  ", "\r\n", "\t", "1", "12", ".", ">", "<", "&", "&lt;", "<A>", "</A>", "😀", "é", "e\u0301", "漢"]
texts = st.lists(st.sampled_from(MARKS), max_size=8).map("".join) | st.text(st.characters(exclude_categories=("Cs",)), max_size=10)
relaxed = settings(max_examples=300, deadline=None)


def accepts(grammar: Grammar, completion: str) -> bool:
    """Whether a whole string is a completion: it is cut at its tags, and every tag is looked at by itself."""
    flat = flat_of(grammar.text)
    body, *lines = completion.split("\n")
    names = "|".join(re.escape(name) for name in sorted(grammar.types, key=len, reverse=True))
    copied, opened, said = "", [], []  # type: ignore[var-annotated]
    before = ""
    for part in re.split(rf"(</?(?:{names})>)", body):
        if not part:
            continue
        name = part.strip("</>")
        if name in grammar.types and part == f"</{name}>":
            mine = [place for place, (kind, _, _) in enumerate(opened) if kind == name]
            if not mine or opened[mine[-1]][1] >= len(copied) or copied.endswith(" ") or before == "open":
                return False
            opened.pop(mine[-1])
            before = "close"
        elif name in grammar.types and part == f"<{name}>":
            if len(copied) not in word_starts(flat) or any((kind, at) == (name, len(copied)) for kind, at, _ in opened):
                return False
            opened.append((name, len(copied), len(said)))
            said.append(grammar.types.index(name))
            before = "open"
        else:
            if "<" in part or "&" in part.replace("&amp;", "").replace("&lt;", ""):
                return False
            copied += part.replace("&lt;", "<").replace("&amp;", "&")
            if not flat.startswith(copied):
                return False
            before = "text"
    if copied not in (flat, flat.rstrip()):
        return False
    closed = {number: kind for number, kind in enumerate(said) if number not in {open_one[2] for open_one in opened}}
    last_label = -1
    for line in lines:
        match = re.fullmatch(r">(R|RS)\t(.*)", line, re.DOTALL)
        if match is None:
            return False
        label = [name for name, _ in grammar.labels].index(match[1]) if match[1] in dict(grammar.labels) else -1
        if label <= last_label:
            return False
        last_label, last = label, (0, 0)
        for pair in match[2].split("\t"):
            if not re.fullmatch(r"[1-9][0-9]* [1-9][0-9]*", pair, re.ASCII):
                return False
            head, tail = map(int, pair.split(" "))
            if head == tail or (head, tail) <= last or (closed.get(head - 1), closed.get(tail - 1)) not in grammar.labels[label][1]:
                return False
            last = head, tail
    return True


def automaton_accepts(grammar: Grammar, completion: str) -> bool:
    automaton = automaton_of(grammar)
    state = automaton.step(automaton.start(), completion.encode())
    return state is not None and automaton.may_end(state)


def walk(grammar: Grammar, draw: random.Random, *, endless: bool = False) -> str:
    """One completion; `endless` never ends where it may go on."""
    automaton = automaton_of(grammar)
    state: State = automaton.start()
    said = bytearray()
    tags = draw.choice([0.05, 0.4, 0.8])
    while True:
        following = automaton.successors(state)
        assert following or automaton.may_end(state), "a dead end"
        if not following or (automaton.may_end(state) and not endless and draw.random() < 0.4):
            return said.decode()
        copying = [byte for byte in following if byte not in (10, 60)]
        byte = draw.choice(sorted(following)) if not copying or draw.random() < tags else draw.choice(copying)
        if endless and 60 in following:
            byte = 60
        said.append(byte)
        assert len(said) < 30_000, "no end"
        state = following[byte]


@st.composite
def grammars(draw: st.DrawFn) -> Grammar:
    return Grammar("markup", draw(texts), TYPES[: draw(st.integers(1, 3))], draw(st.sampled_from([(), LABELS])))


@relaxed
@given(grammars(), st.integers(0, 1 << 30), st.booleans())
def test_walks_end_and_the_checker_accepts_them(grammar: Grammar, seed: int, endless: bool) -> None:
    assert accepts(grammar, walk(grammar, random.Random(seed), endless=endless))


@settings(relaxed, max_examples=1000)
@given(grammars(), st.integers(0, 1 << 30), st.data())
def test_accepted_is_what_the_checker_accepts(grammar: Grammar, seed: int, data: st.DataObject) -> None:
    said = walk(grammar, random.Random(seed))
    for _ in range(data.draw(st.integers(1, 2))):
        place, width = data.draw(st.integers(0, len(said))), data.draw(st.integers(0, 4))
        what = st.sampled_from(["", "<A>", "</A>", "<AB>", "</AB>", "<", ">", "&", " ", "a", "\n", "\n>R\t1 2", "\n>RS\t2 3", "\t1 3"])
        said = said[:place] + data.draw(what) + said[place + width :]
    assert automaton_accepts(grammar, said) == accepts(grammar, said)


@settings(relaxed, max_examples=500)
@given(grammars(), st.integers(0, 1 << 30))
def test_completions_parse_and_stand_in_the_text(grammar: Grammar, seed: int) -> None:
    completion = walk(grammar, random.Random(seed))
    parsed = Markup().parse(completion, LabelNames(grammar.types, tuple(name for name, _ in grammar.labels)))
    opened, closed = (len(re.findall(rf"<{slash}(?:A|AB|Ähm x)>", completion)) for slash in ("", "/"))
    # an unclosed tag is discarded; all others are mentions, and there are no other problems
    assert parsed.problems.pop(UNCLOSED, 0) == opened - closed
    assert not parsed.problems
    assert len(parsed.mentions) == closed
    dense = "".join(grammar.text.split())
    assert parsed.copied == dense
    for mention in parsed.mentions:
        assert mention.at is not None
        assert dense[slice(*mention.at)] == "".join(mention.text.split()) != ""
    spans = [(mention.type, mention.at) for mention in parsed.mentions]
    assert len(set(spans)) == len(spans)


@relaxed
@given(grammars(), st.integers(0, 1 << 30))
def test_the_remaining_text_is_always_accepted(grammar: Grammar, seed: int) -> None:
    automaton, draw = automaton_of(grammar), random.Random(seed)
    completion = walk(grammar, draw).encode()
    state = automaton.step(automaton.start(), completion[: draw.randint(0, len(completion))])
    assert state is not None
    if rest := automaton.remaining_text(state):
        end = automaton.step(state, rest)
        assert end is not None
        assert automaton.may_end(end)
    if likely := automaton.draft(state):
        assert automaton.step(state, likely) is not None


@pytest.mark.parametrize("text", ["", " \n", "a < b & c"])
def test_a_text_without_mentions(text: str) -> None:
    grammar = Grammar("markup", text, TYPES)
    assert automaton_accepts(grammar, Markup().render(Answer(()), flat_of(text), LabelNames(TYPES)))


def test_gold_responses_of_the_demo_notes_are_accepted() -> None:
    """All that the syntax can express, but mentions that begin inside a word."""
    types, said = Demo.declared.entity_names, 0
    rank = {name: place for place, name in enumerate(types)}
    for document in Demo().read("test"):
        flat = NormalizedText.of(document.text)
        starts = word_starts(flat.text)
        entities = sorted(document.entities, key=lambda e: (e.start, -e.end, rank[e.type]))
        mentions = [
            Mention(e.type, flat_of(document.text[e.start : e.end]), (flat.place(e.start), flat.place(e.end - 1) + 1))
            for e in entities
            if len(e.span.fragments) == 1 and flat.place(e.start) in starts
        ]
        lost = Markup().inexpressible(mentions, flat.text)
        kept = tuple(mention for place, mention in enumerate(mentions) if place not in lost)
        completion = Markup().render(Answer(kept), flat.text, LabelNames(types))
        assert automaton_accepts(Grammar("markup", document.text, types), completion)
        said += len(kept)
    assert said > 100
