"""The grammar of grammar-constrained decoding, as a deterministic automaton over bytes: types, mentions copied from the text, and links.

Bytes, because tokens may end inside a character. This automaton is of responses in lines, one for each mention or for each type;
`text_copying_grammar` is the base of those that copy the whole text. While a mention is copied a state holds every place of the
text where it may stand, so its span is known when it ends. Mentions follow the text: each begins at a word, at or behind the one before
(lines), and behind the last one of its type. So every completion comes to an end, every mention has a span of its own, and no state
is a dead end.

Reference: Geng et al., Grammar-constrained decoding for structured NLP tasks without finetuning (EMNLP 2023).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

from clinical_ie.prompts.answers import NormalizedText
from clinical_ie.prompts.draft_proposer import DraftProposer
from clinical_ie.prompts.responses.response_format import LINK, numbers
from clinical_ie.prompts.word_pattern import WORD

_TAB, NEWLINE, BLANK = 9, 10, 32

Syntax = Literal["lines", "grouped", "inline", "markup"]
"""Names of the syntaxes that have a grammar."""

State = tuple[Any, ...]
"""One of ``("pick", context, options, offset)``: one of several names; ``("copy", context, type, places, length)``: a mention;
``("pair", context, label, options, offset)``: two numbers. ``context`` is what was generated before."""


@dataclass(frozen=True, slots=True)
class Context:
    """What was generated before: types of mentions, the last start, last starts by type, last type and label, whether links began."""

    mention_types: tuple[int, ...] = ()
    last_start: int = -1
    last_starts: tuple[int, ...] = ()
    last_type: int = -1
    last_label: int = -1
    in_links: bool = False


@dataclass(frozen=True, slots=True)
class Grammar:
    """The completions that one prompt allows.

    Args:
        response: Name of the syntax.
        text: The text that mentions are copied from.
        types: Names of types, in the order of the prompt.
        labels: Names of labels, each with the pairs of types (by rank) that it may join.
        given: Types (by rank) of the mentions that the prompt numbers; None where mentions are part of the completion.
        single: Labels are said of single mentions; their pairs of types are of a type with itself.
    """

    response: Syntax
    text: str
    types: tuple[str, ...]
    labels: tuple[tuple[str, frozenset[tuple[int, int]]], ...] = ()
    given: tuple[int, ...] | None = None
    single: bool = False

    @property
    def copies_text(self) -> bool:
        """Whether completions copy the whole text."""
        return self.response in {"inline", "markup"} and self.given is None


class Automaton:
    """The states and transitions of a grammar of lines.

    Args:
        grammar: What it accepts.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.grouped = grammar.response == "grouped"
        flat = NormalizedText.of(grammar.text).text.rstrip()  # no mention ends in a blank
        self.bytes = flat.encode("utf-8", "surrogatepass")
        places = [0]
        for character in flat:
            places.append(places[-1] + len(character.encode("utf-8", "surrogatepass")))
        self.words = [places[word.start()] for word in WORD.finditer(flat)]
        self._blank = " " if self.grouped else ""
        self._names = [f"{name}\t{self._blank}".encode() for name in grammar.types]
        self._label_names = [f"{LINK}{name}\t".encode() for name, _ in grammar.labels]
        # No cache refers to the automaton, or every request would wait for the garbage collection.
        self._known_lines: dict[Context, tuple[tuple[bytes, tuple[str, int]], ...]] = {}
        self._pairs = lru_cache(maxsize=64)(partial(_pair_options, tuple(legal for _, legal in grammar.labels), grammar.single))

    def start(self) -> State:
        """The initial state."""
        context = Context(self.grammar.given or (), -1, (-1,) * len(self.grammar.types))
        return "pick", context, self._lines(context), 0, True

    def may_end(self, state: State) -> bool:
        """Whether a state is accepting: a completion may end here."""
        if state[0] == "pick":
            return bool(state[4])
        if state[0] == "copy":
            return self._is_mention(state)
        return any(len(option[0]) == state[4] for option in state[3])

    def is_branch(self, state: State, after: State) -> bool:
        """Whether a step chose one of several continuations: one of several names, or what follows a mention or a pair."""
        if state[0] == "pick":
            return bool(state[4]) or len(state[2]) > 1
        return self.may_end(state) and (after is state or after[0] != state[0] or after[1] is not state[1])

    def spells(self, state: State, after: State) -> bool:
        """Whether a step says something of a mention or a link, and does not only copy the text around."""
        return True

    def is_whole(self, state: State) -> bool:
        """Whether what is being spelled, a mention or a pair, may end here; it does where a separator or the end follows."""
        if state[0] == "copy":
            return self._is_mention(state)
        return state[0] == "pair" and any(len(option[0]) == state[4] for option in state[3])

    def draft(self, state: State, proposer: DraftProposer | None = None) -> bytes:
        """A draft for speculative decoding: what is forced, or the rest of the text where a mention can only stand at one place."""
        if state[0] == "pick" and len(state[2]) == 1 and not state[4]:
            return bytes(state[2][0][0][state[3] :])
        if state[0] == "copy" and len(state[3]) == 1:
            return self.bytes[state[3][0] + state[4] :]
        return b""

    def remaining_text(self, state: State) -> bytes:
        """The rest of a text that is copied, which is a safe continuation; nothing for lines."""
        return b""

    def successors(self, state: State) -> dict[int, State]:
        """Next byte -> next state."""
        if state[0] == "copy":
            return self._copying(state)
        found: dict[int, State] = {}
        if state[0] == "pick":
            _, context, options, offset, _ = state
            for byte, matching in by_byte(options, offset).items():
                name, target = matching[0]
                if len(matching) == 1 and len(name) == offset + 1:
                    found[byte] = self._after_name(context, target)
                else:
                    found[byte] = "pick", context, matching, offset + 1, False
            return found
        _, context, label, options, offset = state
        for byte, matching in by_byte(options, offset).items():
            found[byte] = "pair", context, label, matching, offset + 1
        whole = next((option for option in options if len(option[0]) == offset), None)
        if whole is not None:
            if more := self._pairs(context.mention_types, label, whole[1]):
                found[_TAB] = "pair", context, label, more, 0
            self._new_line(found, context)
        return found

    def step(self, state: State, token_bytes: bytes) -> State | None:
        """The state behind some bytes; None where they are not accepted."""
        found: State | None = state
        for byte in token_bytes:
            if found is None:
                return None
            found = self.successors(found).get(byte)
        return found

    def _after_name(self, context: Context, target: tuple[str, int]) -> State:
        """The state behind a name."""
        what, rank = target
        if what == "label":
            in_links = Context(context.mention_types, context.last_start, context.last_starts, context.last_type, rank, True)
            return "pair", in_links, rank, self._pairs(context.mention_types, rank, (-1, -1)), 0
        return self._copy(context, rank)

    def _copy(self, context: Context, kind: int) -> State:
        return "copy", context, kind, tuple(self.words[self._first(context, kind) :]), 0

    def _first(self, context: Context, kind: int) -> int:
        """The first word where a mention of a type may begin."""
        earliest = context.last_starts[kind] + 1
        return bisect_left(self.words, earliest if self.grouped else max(earliest, context.last_start))

    def _is_mention(self, state: State) -> bool:
        """Whether the copied bytes are a mention: not empty, no blank at the end, no part of a character."""
        _, _, _, places, length = state
        end = places[0] + length
        if not length or self.bytes[end - 1] == BLANK:
            return False
        return bool(end == len(self.bytes) or self.bytes[end] & 0xC0 != 0x80)

    def _copying(self, state: State) -> dict[int, State]:
        _, context, kind, places, length = state
        groups: dict[int, list[int]] = {}
        for place in places:
            if place + length < len(self.bytes):
                groups.setdefault(self.bytes[place + length], []).append(place)
        found: dict[int, State] = {byte: ("copy", context, kind, tuple(matching), length + 1) for byte, matching in groups.items()}
        if self._is_mention(state):
            last_starts = (*context.last_starts[:kind], places[0], *context.last_starts[kind + 1 :])
            after = Context((*context.mention_types, kind), places[0], last_starts, kind)
            if self.grouped and self._first(after, kind) < len(self.words):
                found[_TAB] = "pick", after, ((self._blank.encode(), ("type", kind)),), 0, False
            self._new_line(found, after)
        return found

    def _new_line(self, found: dict[int, State], context: Context) -> None:
        if options := self._lines(context):
            found[NEWLINE] = "pick", context, options, 0, False

    def _lines(self, context: Context) -> tuple[tuple[bytes, tuple[str, int]], ...]:
        """Names that a line can begin with."""
        if context not in self._known_lines:
            self._known_lines[context] = self._line_options(context)
        return self._known_lines[context]

    def _line_options(self, context: Context) -> tuple[tuple[bytes, tuple[str, int]], ...]:
        found: list[tuple[bytes, tuple[str, int]]] = []
        if self.grammar.given is None and not context.in_links:
            first = context.last_type + 1 if self.grouped else 0
            found += [
                (self._names[kind], ("type", kind))
                for kind in range(first, len(self._names))
                if self._first(context, kind) < len(self.words)
            ]
        found += [
            (self._label_names[label], ("label", label))
            for label in range(context.last_label + 1, len(self._label_names))
            if self._pairs(context.mention_types, label, (-1, -1))
        ]
        return tuple(found)


def _pair_options(
    legal: Sequence[frozenset[tuple[int, int]]], single: bool, mention_types: tuple[int, ...], label: int, last: tuple[int, int]
) -> tuple[tuple[bytes, tuple[int, int]], ...]:
    """Pairs of numbers of mentions that a label can join, or single ones, behind the last."""
    return tuple(
        (numbers(head, tail, single=single).encode(), (head, tail))
        for head, one in enumerate(mention_types)
        for tail, other in enumerate(mention_types)
        if (head == tail) == single and (one, other) in legal[label] and (head, tail) > last
    )


def by_byte(options: Iterable[tuple[bytes, Any]], offset: int) -> dict[int, tuple[tuple[bytes, Any], ...]]:
    """Options by their next byte."""
    found: dict[int, list[tuple[bytes, Any]]] = {}
    for option in options:
        if len(option[0]) > offset:
            found.setdefault(option[0][offset], []).append(option)
    return {byte: tuple(matching) for byte, matching in found.items()}
