"""A checker of whole inline responses, written apart from the automaton; completions that the automaton is walked through."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st

from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar, State
from tests.prompts.test_grammar import flat_of, word_starts

TYPES = ("A", "AB", "Ähm x")
LABELS = (("R", frozenset({(0, 0), (0, 1)})), ("RS", frozenset({(1, 2)})))
SPECIAL = "\\{|}"
MARKS = ["a", "b", "ab", "A", " ", "  ", "\r\n", "\t", "1", "12", ".", ",", ":", ">", "{", "}", "|", "\\", "\\\\", "{a|A}", "|A}", "\\{", "😀", "👩🏽\u200d⚕️", "é", "e\u0301", "漢", "_"]  # fmt: skip  # noqa: E501
texts = st.lists(st.sampled_from(MARKS), max_size=8).map("".join) | st.text(st.characters(exclude_categories=("Cs",)), max_size=10)
relaxed = settings(max_examples=300, deadline=None)
OPENS, BAR, NEWLINE = b"{|\n"


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
