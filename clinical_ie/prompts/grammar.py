"""What a completion may say: types of the question, words of its text, numbers of its mentions, and nothing else.

The grammar is a deterministic automaton over bytes, because tokens may end inside a character. This one is of lines, one for each
mention or for each type; `markup_grammar` has that of texts with tags. While a mention is copied it knows
every place of the text where it may stand, so the place is known when it ends. Mentions follow the text: each begins at a word, at or
behind the one before (lines), and behind the last one of its type; so every completion comes to an end, every mention has
a place of its own, and no state is a dead end.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from clinical_ie.prompts.answers import Flat
from clinical_ie.prompts.responses.response_format import LINK

if TYPE_CHECKING:
    from clinical_ie.prompts.tag_habits import Follower

WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_TAB, NEWLINE, BLANK = 9, 10, 32

State = tuple[Any, ...]
"""One of ``("pick", context, options, offset)``: one of several names; ``("copy", context, type, places, length)``: a mention;
``("pair", context, label, options, offset)``: two numbers. ``context`` is what was said before."""


@dataclass(frozen=True, slots=True)
class Context:
    """What was said before: types of the mentions, start of the last one, last starts by type, last type, label and pair."""

    said: tuple[int, ...] = ()
    cursor: int = -1
    lasts: tuple[int, ...] = ()
    kind: int = -1
    label: int = -1
    linking: bool = False


@dataclass(frozen=True, slots=True)
class Grammar:
    """The completions of one question.

    Args:
        response: Name of the syntax.
        text: The text that mentions are copied from.
        types: Names of types, in the order of the question.
        labels: Names of labels, each with the pairs of types (by rank) that it may join.
        given: Types (by rank) of the mentions that the question numbers; None where mentions are part of the answer.
    """

    response: Literal["lines", "grouped", "inline", "markup"]
    text: str
    types: tuple[str, ...]
    labels: tuple[tuple[str, frozenset[tuple[int, int]]], ...] = ()
    given: tuple[int, ...] | None = None

    @property
    def repeats(self) -> bool:
        """Whether completions repeat the text."""
        return self.response in {"inline", "markup"} and self.given is None


class Automaton:
    """The states of a grammar of lines.

    Args:
        grammar: What may be said.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.grouped = grammar.response == "grouped"
        flat = Flat.of(grammar.text).text.rstrip()  # no mention ends in a blank
        self.bytes = flat.encode("utf-8", "surrogatepass")
        places = [0]
        for character in flat:
            places.append(places[-1] + len(character.encode("utf-8", "surrogatepass")))
        self.words = [places[word.start()] for word in WORD.finditer(flat)]
        self._blank = " " if self.grouped else ""
        self._names = [f"{name}\t{self._blank}".encode() for name in grammar.types]
        self._label_names = [f"{LINK}{name}\t".encode() for name, _ in grammar.labels]
        self._lines = lru_cache(maxsize=None)(self._line_options)
        self._pairs = lru_cache(maxsize=64)(self._pair_options)

    def start(self) -> State:
        """Before anything is said."""
        context = Context(self.grammar.given or (), -1, (-1,) * len(self.grammar.types))
        return "pick", context, self._lines(context), 0, True

    def may_end(self, state: State) -> bool:
        """Whether a completion may end here."""
        if state[0] == "pick":
            return bool(state[4])
        if state[0] == "copy":
            return self._whole(state)
        return any(len(option[0]) == state[4] for option in state[3])

    def turned(self, state: State, after: State) -> bool:
        """Whether a step took one of several ways: one of several names, or what follows a mention or a pair."""
        if state[0] == "pick":
            return bool(state[4]) or len(state[2]) > 1
        return self.may_end(state) and (after is state or after[0] != state[0] or after[1] is not state[1])

    def likely(self, state: State, follower: Follower | None = None) -> bytes:
        """What comes next where there is only one way, or where a mention can only stand at one place."""
        if state[0] == "pick" and len(state[2]) == 1 and not state[4]:
            return bytes(state[2][0][0][state[3] :])
        if state[0] == "copy" and len(state[3]) == 1:
            return self.bytes[state[3][0] + state[4] :]
        return b""

    def rest(self, state: State) -> bytes:
        """What may be said whatever the model thinks, without an error if it knows no better; nothing among lines."""
        return b""

    def successors(self, state: State) -> dict[int, State]:
        """Next byte -> next state."""
        if state[0] == "copy":
            return self._copying(state)
        found: dict[int, State] = {}
        if state[0] == "pick":
            _, context, options, offset, _ = state
            for byte, some in by_byte(options, offset).items():
                name, target = some[0]
                if len(some) == 1 and len(name) == offset + 1:
                    found[byte] = self._begun(context, target)
                else:
                    found[byte] = "pick", context, some, offset + 1, False
            return found
        _, context, label, options, offset = state
        for byte, some in by_byte(options, offset).items():
            found[byte] = "pair", context, label, some, offset + 1
        whole = next((option for option in options if len(option[0]) == offset), None)
        if whole is not None:
            if more := self._pairs(context.said, label, whole[1]):
                found[_TAB] = "pair", context, label, more, 0
            self._new_line(found, context)
        return found

    def step(self, state: State, spelled: bytes) -> State | None:
        """The state behind some bytes; None where they may not be said."""
        found: State | None = state
        for byte in spelled:
            if found is None:
                return None
            found = self.successors(found).get(byte)
        return found

    def _begun(self, context: Context, target: tuple[str, int]) -> State:
        """The state behind a name."""
        what, rank = target
        if what == "label":
            linking = Context(context.said, context.cursor, context.lasts, context.kind, rank, True)
            return "pair", linking, rank, self._pairs(context.said, rank, (-1, -1)), 0
        return self._copy(context, rank)

    def _copy(self, context: Context, kind: int) -> State:
        return "copy", context, kind, tuple(self.words[self._first(context, kind) :]), 0

    def _first(self, context: Context, kind: int) -> int:
        """The first word where a mention of a type may begin."""
        earliest = context.lasts[kind] + 1
        return bisect_left(self.words, earliest if self.grouped else max(earliest, context.cursor))

    def _whole(self, state: State) -> bool:
        """Whether what was copied may be a mention: not nothing, no blank at its end, no part of a character."""
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
        found: dict[int, State] = {byte: ("copy", context, kind, tuple(some), length + 1) for byte, some in groups.items()}
        if self._whole(state):
            lasts = (*context.lasts[:kind], places[0], *context.lasts[kind + 1 :])
            after = Context((*context.said, kind), places[0], lasts, kind)
            if self.grouped and self._first(after, kind) < len(self.words):
                found[_TAB] = "pick", after, ((self._blank.encode(), ("type", kind)),), 0, False
            self._new_line(found, after)
        return found

    def _new_line(self, found: dict[int, State], context: Context) -> None:
        if options := self._lines(context):
            found[NEWLINE] = "pick", context, options, 0, False

    def _line_options(self, context: Context) -> tuple[tuple[bytes, tuple[str, int]], ...]:
        """Names that a line may begin with."""
        found: list[tuple[bytes, tuple[str, int]]] = []
        if self.grammar.given is None and not context.linking:
            first = context.kind + 1 if self.grouped else 0
            found += [
                (self._names[kind], ("type", kind))
                for kind in range(first, len(self._names))
                if self._first(context, kind) < len(self.words)
            ]
        found += [
            (self._label_names[label], ("label", label))
            for label in range(context.label + 1, len(self._label_names))
            if self._pairs(context.said, label, (-1, -1))
        ]
        return tuple(found)

    def _pair_options(self, said: tuple[int, ...], label: int, last: tuple[int, int]) -> tuple[tuple[bytes, tuple[int, int]], ...]:
        """Numbers of mentions that a label may join, behind the last pair."""
        legal = self.grammar.labels[label][1]
        return tuple(
            (f"{head + 1} {tail + 1}".encode(), (head, tail))
            for head, one in enumerate(said)
            for tail, other in enumerate(said)
            if head != tail and (one, other) in legal and (head, tail) > last
        )


def by_byte(options: Iterable[tuple[bytes, Any]], offset: int) -> dict[int, tuple[tuple[bytes, Any], ...]]:
    """Names by their next byte."""
    found: dict[int, list[tuple[bytes, Any]]] = {}
    for option in options:
        if len(option[0]) > offset:
            found.setdefault(option[0][offset], []).append(option)
    return {byte: tuple(some) for byte, some in found.items()}
