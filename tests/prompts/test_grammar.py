"""The automaton accepts what a checker of whole strings accepts, and all of it parses and occurs in the text."""

from __future__ import annotations

import itertools
import random
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clinical_ie.corpora import Demo
from clinical_ie.document import Document, Entity
from clinical_ie.prompts.answers import GAP, Answer, LabelNames, Mention, NormalizedText
from clinical_ie.prompts.grammar import Automaton, Grammar, State
from clinical_ie.prompts.grounding import ground
from clinical_ie.prompts.responses import Grouped, Lines

Labels = tuple[tuple[str, frozenset[tuple[int, int]]], ...]
relaxed = settings(max_examples=300, deadline=None)

# --- the checker of whole strings: places of mentions are tried out, none is preferred


def flat_of(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def word_starts(flat: str) -> set[int]:
    """Runs of letters, runs of digits, and every other character that is not white space."""
    found, before = set(), ""
    for place, character in enumerate(flat):
        kind = "digit" if character.isdecimal() else "letter" if character.isalpha() else "blank" if character.isspace() else "sign"
        if kind == "sign" or (kind != before and kind != "blank"):
            found.add(place)
        before = kind
    return found


def mention_places(flat: str, words: str) -> list[int]:
    if not words or words.endswith(" "):
        return []
    return [place for place in sorted(word_starts(flat)) if flat.startswith(words, place)]


def has_places_lines(flat: str, said: list[tuple[int, str]]) -> bool:
    """Each at or behind the one before, and behind the last one of its type."""
    ways: set[tuple[int, tuple[tuple[int, int], ...]]] = {(0, ())}
    for kind, words in said:
        further = set()
        for cursor, lasts in ways:
            for place in mention_places(flat, words):
                if place >= cursor and place > dict(lasts).get(kind, -1):
                    further.add((place, tuple(sorted({**dict(lasts), kind: place}.items()))))
        ways = further
    return bool(ways)


def has_places_grouped(flat: str, said: list[str]) -> bool:
    """Each behind the one before."""
    ways = {-1}
    for words in said:
        ways = {place for last in ways for place in mention_places(flat, words) if place > last}
    return bool(ways)


def accepts(grammar: Grammar, completion: str) -> bool:
    """Whether a whole string is a completion."""
    flat = flat_of(grammar.text)
    said: list[int] = list(grammar.given or ())
    lines = completion.split("\n") if completion else []
    mentions: list[tuple[int, str]] = []
    last_kind = last_label = -1
    names = [name for name, _ in grammar.labels]
    for line in lines:
        name, tab, rest = line.partition("\t")
        if not tab:
            return False
        if name.startswith(">"):
            if name[1:] not in names or names.index(name[1:]) <= last_label:
                return False
            last_label = names.index(name[1:])
            last = (0, 0)
            for part in rest.split("\t"):
                if not re.fullmatch(r"[1-9][0-9]* [1-9][0-9]*", part, re.ASCII):
                    return False
                head, tail = map(int, part.split(" "))
                if max(head, tail) > len(said) or head == tail or (head, tail) <= last:
                    return False
                if (said[head - 1], said[tail - 1]) not in grammar.labels[last_label][1]:
                    return False
                last = head, tail
        elif last_label >= 0 or grammar.given is not None or name not in grammar.types:
            return False
        else:
            kind = grammar.types.index(name)
            if grammar.response == "grouped":
                words = rest.split("\t")  # each behind a blank
                if kind <= last_kind or not all(word.startswith(" ") for word in words):
                    return False
                if not has_places_grouped(flat, [word[1:] for word in words]):
                    return False
                said += [kind] * len(rest.split("\t"))
            else:
                mentions.append((kind, rest))
                said.append(kind)
            last_kind = kind
    return has_places_lines(flat, mentions)


def automaton_accepts(grammar: Grammar, completion: bytes) -> bool:
    automaton = Automaton(grammar)
    state: State | None = automaton.start()
    for byte in completion:
        assert state is not None
        state = automaton.step(state, bytes([byte]))
        if state is None:
            return False
    return state is not None and automaton.may_end(state)


# --- what is tried

TYPES = ("A", "AB", "Ähm x")
MARKS = ["a", "b", "ab", "a b", "A", " ", "  ", "\r\n", "\n", "\t", "\u00a0", "\u2028", "1", "12", "_", ".", ">", "😀", "👩🏽\u200d⚕️", "é", "e\u0301", "漢", "²", "ß", "İ", "\u200b", " ... "]  # fmt: skip  # noqa: E501
pieces = st.lists(st.sampled_from(MARKS), max_size=9).map("".join)
repetitive = st.lists(st.sampled_from(["a", "ab", "A", "1", " ", " "]), max_size=12).map("".join)
texts = repetitive | pieces | st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@st.composite
def grammars(draw: st.DrawFn) -> Grammar:
    types = TYPES[: draw(st.integers(1, 3))]
    pairs = list(itertools.product(range(len(types)), repeat=2))
    names = draw(st.lists(st.sampled_from(["R", "RS", "S=x", "ü"]), unique=True, max_size=3))
    labels = tuple((name, frozenset(draw(st.lists(st.sampled_from(pairs), max_size=4)))) for name in names)
    numbered = st.lists(st.integers(0, len(types) - 1), max_size=13).map(tuple)
    text = draw(texts).rstrip()  # see test_white_space_at_the_end
    return Grammar(draw(st.sampled_from(("lines", "grouped"))), text, types, labels, draw(st.none() | st.none() | numbered))


def walk(grammar: Grammar, draw: random.Random, *, endless: bool = False, most: int = 60_000) -> bytes:
    """One completion; `endless` never ends where it may go on."""
    automaton = Automaton(grammar)
    state, said = automaton.start(), bytearray()
    haste = 0.0 if endless else draw.choice([0.01, 0.05, 0.2])
    while True:
        following = automaton.successors(state)
        may_end = automaton.may_end(state)
        assert following or may_end, "a dead end"
        if not following or (may_end and draw.random() < haste):
            return bytes(said)
        separators = sorted({9, 10} & set(following))
        byte = draw.choice(separators if separators and draw.random() < 0.5 else sorted(following))
        said.append(byte)
        assert len(said) < most, "no end"
        state = following[byte]


@relaxed
@given(grammars(), st.integers(0, 1 << 30))
def test_walks_end_and_the_checker_accepts_them(grammar: Grammar, seed: int) -> None:
    for number in range(3):
        completion = walk(grammar, random.Random(seed + number)).decode()
        assert accepts(grammar, completion)


@settings(relaxed, max_examples=60)
@given(grammars(), st.integers(0, 1 << 30))
def test_what_never_chooses_to_end_ends(grammar: Grammar, seed: int) -> None:
    completion = walk(grammar, random.Random(seed), endless=True).decode()
    assert accepts(grammar, completion)


@st.composite
def attempts(draw: st.DrawFn) -> tuple[Grammar, str]:
    """A grammar, and a string that is a completion or nearly one."""
    grammar = draw(grammars())
    flat = flat_of(grammar.text)
    if draw(st.booleans()):
        said = walk(grammar, random.Random(draw(st.integers(0, 1 << 30)))).decode()
        for _ in range(draw(st.integers(1, 2))):
            place = draw(st.integers(0, len(said)))
            width = draw(st.integers(0, 2))
            said = (
                said[:place]
                + draw(st.sampled_from(["", "\n", "\t", " ", "a", "1", ">", "2 1", "\u0301", "A\t", *flat]))
                + said[place + width :]
            )
        return grammar, said
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        words = []
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(flat)))
            words.append(flat[start : start + draw(st.integers(1, 4))])
        lines.append(draw(st.sampled_from(TYPES)) + ("\t " + "\t ".join(words) if (grammar.response == "grouped") else "\t" + words[0]))
    for name, _ in grammar.labels:
        pairs = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), max_size=3))
        if pairs:
            lines.append(f">{name}\t" + "\t".join(f"{head} {tail}" for head, tail in pairs))
    return grammar, "\n".join(lines)


@settings(relaxed, max_examples=1500)
@given(attempts())
def test_accepted_is_what_the_checker_accepts(attempt: tuple[Grammar, str]) -> None:
    grammar, completion = attempt
    assert automaton_accepts(grammar, completion.encode()) == accepts(grammar, completion)


@relaxed
@given(grammars(), st.integers(0, 1 << 30), st.data())
def test_no_part_of_a_character_is_a_completion(grammar: Grammar, seed: int, data: st.DataObject) -> None:
    completion = walk(grammar, random.Random(seed))
    part = completion[: data.draw(st.integers(0, len(completion)))]
    try:
        expected = accepts(grammar, part.decode())
    except UnicodeDecodeError:
        expected = False
    assert automaton_accepts(grammar, part) == expected


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("text", ["a a", "ab a", "a\r\n😀a", "e\u0301 e", "1 12"])
def test_every_short_completion(text: str, grouped: bool) -> None:
    """All strings of a few parts, whether they are completions or not."""
    flat = flat_of(text)
    parts = sorted({flat[a:b] for a in range(len(flat)) for b in range(a + 1, len(flat) + 1)})
    parts = [*parts[:8], "A\t " if grouped else "A\t", "AB\t", "\n", "\t ", ">R\t", "1 2"]
    grammar = Grammar("grouped" if grouped else "lines", text, ("A", "AB"), (("R", frozenset({(0, 0), (0, 1)})),))
    automaton = Automaton(grammar)
    wrong, number = [], 0
    frontier: list[tuple[str, State | None]] = [("", automaton.start())]
    seen = {""}
    for _ in range(7):
        further: list[tuple[str, State | None]] = []
        for said, state in frontier:
            for part in parts:
                longer = said + part
                if longer in seen or state is None:
                    continue
                seen.add(longer)
                following = automaton.step(state, part.encode())
                accepted = following is not None and automaton.may_end(following)
                number += accepted
                if accepted != accepts(grammar, longer):
                    wrong.append(longer)
                further.append((longer, following))
        frontier = [(said, state) for said, state in further if state is not None]
        frontier = random.Random(0).sample(frontier, min(len(frontier), 600))
    assert not wrong
    assert number > 10


def read(grammar: Grammar, completion: str) -> list[tuple[str, str]]:
    syntax = Grouped() if (grammar.response == "grouped") else Lines()
    label_names = LabelNames(grammar.types, tuple(name for name, _ in grammar.labels))
    if grammar.given is not None:
        parsed = syntax.parse_links(completion, label_names, len(grammar.given))
        kinds = [grammar.types[kind] for kind in grammar.given]
    else:
        parsed = syntax.parse(completion, label_names)
        kinds = [mention.type for mention in parsed.mentions]
    assert not parsed.problems
    legal = {name: {(grammar.types[a], grammar.types[b]) for a, b in pairs} for name, pairs in grammar.labels}
    assert all((kinds[link.head], kinds[link.tail]) in legal[link.label] for link in parsed.links)
    assert len(parsed.links) == sum(line.count("\t") for line in completion.split("\n") if line.startswith(">"))
    mentions = [(mention.type, mention.text) for mention in parsed.mentions]
    said = [line.split("\t") for line in completion.split("\n") if line and not line.startswith(">")]
    assert mentions == [(kind, words) for kind, *some in said for words in (part[(grammar.response == "grouped") :] for part in some)]
    return mentions


@relaxed
@given(grammars(), st.integers(0, 1 << 30))
def test_completions_parse_without_problems(grammar: Grammar, seed: int) -> None:
    for number in range(3):
        read(grammar, walk(grammar, random.Random(seed + number)).decode())


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("text", ["a ", "0\x85", "a b\r\n", " ... "])
def test_white_space_at_the_end(text: str, grouped: bool) -> None:
    """A mention cannot end in a blank, so a blank at the end of the text is not accepted."""
    for seed in range(20):
        grammar = Grammar("grouped" if grouped else "lines", text, TYPES)
        assert accepts(grammar, walk(grammar, random.Random(seed)).decode())


@settings(relaxed, max_examples=500)
@given(grammars(), st.integers(0, 1 << 30))
def test_every_mention_is_grounded(grammar: Grammar, seed: int) -> None:
    assume(grammar.given is None)
    mentions = read(grammar, walk(grammar, random.Random(seed)).decode())
    assert "none" not in [place.status for place in ground(grammar.text, mentions, literal=True)]


@settings(relaxed, max_examples=500)
@given(grammars(), st.integers(0, 1 << 30))
def test_mentions_of_a_type_have_places_of_their_own(grammar: Grammar, seed: int) -> None:
    assume(grammar.given is None)
    mentions = read(grammar, walk(grammar, random.Random(seed)).decode())
    found = ground(grammar.text, mentions, literal=True)
    spans = [(kind, place.span) for (kind, _), place in zip(mentions, found, strict=True) if place.span is not None]
    assert len(set(spans)) == len(spans)


@settings(relaxed, max_examples=500)
@given(grammars(), st.integers(0, 1 << 30))
def test_places_hold_the_words_to_the_letter(grammar: Grammar, seed: int) -> None:
    assume(grammar.given is None)
    mentions = read(grammar, walk(grammar, random.Random(seed)).decode())
    for (_, words), place in zip(mentions, ground(grammar.text, mentions, literal=True), strict=True):
        assert place.span is None or flat_of(grammar.text[place.span.start : place.span.end]) == words


def assert_grounded(grammar: Grammar, mentions: list[tuple[str, str]]) -> None:
    found = ground(grammar.text, mentions, literal=True)
    assert "none" not in [place.status for place in found]
    spans = []
    for (kind, words), place in zip(mentions, found, strict=True):
        assert place.span is not None
        assert flat_of(grammar.text[place.span.start : place.span.end]) == words
        spans.append((kind, place.span))
    assert len(set(spans)) == len(spans), "every mention has a place of its own"


@pytest.mark.parametrize(
    ("text", "completion"),
    [
        ("pain painful", "A\tpain\nA\tpain"),  # a whole word, and the beginning of another
        ("Pain painful", "A\tpain"),  # the letters stand in a longer word only
        ("a b ab", "A\tab"),
        ("x 5mg 5", "A\t5\nA\t5"),
        ("e\u0301 e", "A\te\nA\te"),
        ("one ... two", "A\tone ... two"),
    ],
)
def test_words_that_are_parts_of_words(text: str, completion: str) -> None:
    grammar = Grammar("lines", text, ("A", "AB"))
    assert accepts(grammar, completion)
    assert automaton_accepts(grammar, completion.encode())
    assert_grounded(grammar, read(grammar, completion))


def test_the_empty_completion_and_a_text_without_words() -> None:
    for text in ("", " \n\t "):
        for grouped in (False, True):
            automaton = Automaton(Grammar("grouped" if grouped else "lines", text, TYPES, (("R", frozenset({(0, 0)})),)))
            assert automaton.may_end(automaton.start())
            assert not automaton.successors(automaton.start())


@pytest.mark.parametrize("grouped", [False, True])
def test_gold_responses_of_the_demo_notes_are_accepted(grouped: bool) -> None:
    """All but mentions of one type that begin at one place, and those in fragments."""
    types = Demo.declared.entity_names
    syntax = Grouped() if grouped else Lines()
    accepted = 0
    for document in Demo().read("test"):
        kept = sayable(document)
        flat = NormalizedText.of(document.text)
        rank = {name: place for place, name in enumerate(types)}
        kept.sort(key=lambda e: (e.start, -e.end, rank[e.type]))
        mentions = tuple(Mention(e.type, flat_of(document.text[e.start : e.end])) for e in kept)
        said = syntax.render(Answer(mentions), flat.text, LabelNames(types))
        assert automaton_accepts(Grammar("grouped" if grouped else "lines", document.text, types), said.encode())
        accepted += 1
    assert accepted > 20


def sayable(document: Document) -> list[Entity]:
    found: dict[tuple[str, int], Entity] = {}
    for entity in document.entities:
        if len(entity.span.fragments) == 1 and GAP not in document.text[entity.start : entity.end]:
            found.setdefault((entity.type, entity.start), entity)
    return list(found.values())
