"""Answers without syntax: mentions and links between them, on one line of text.

Responses are made of lines and tabs, so mentions are given with every run of white space as one blank; `Flat` leads back to the
characters of the text as it was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from clinical_ie.document import Fragment

GAP = " ... "
"""Between the fragments of a discontinuous mention."""


@dataclass(frozen=True, slots=True)
class Flat:
    """A text with every run of white space as one blank.

    `starts` and `ends` are, for each character of `text`, where the characters that it stands for begin and end.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> Flat:
        """The flat form of a text."""
        found: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        for place, character in enumerate(text):
            if character.isspace():
                if found and found[-1] == " " and ends[-1] == place:
                    ends[-1] = place + 1
                    continue
                character = " "
            found.append(character)
            starts.append(place)
            ends.append(place + 1)
        return cls("".join(found), tuple(starts), tuple(ends))

    def place(self, original: int) -> int:
        """The flat character that stands for an original one."""
        return bisect_right(self.starts, original) - 1

    def back(self, start: int, end: int) -> Fragment:
        """The characters of the original text under a range of the flat one."""
        return self.starts[start], self.ends[end - 1]


@dataclass(frozen=True, slots=True)
class Mention:
    """A type and the words of a mention on one line, fragments joined by `GAP`.

    `at` says where it stands: in a gold answer in the flat text (first fragment's start, last one's end); in a completion that
    repeats the text, among the characters of that copy that are not white space; None where only the words are known.
    """

    type: str
    text: str
    at: Fragment | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A label between two mentions of the same answer, by place from 0."""

    label: str
    head: int
    tail: int


@dataclass(frozen=True, slots=True)
class Answer:
    """All that should be said of a text. Mentions are in text order: start, then longest first."""

    mentions: tuple[Mention, ...]
    links: tuple[Link, ...] = ()


@dataclass(slots=True)
class Parsed:
    """What a completion says, as far as it was understood; `problems` counts the rest by reason.

    `copied` is the text as the completion repeats it, without white space, for syntaxes that repeat it.
    """

    mentions: list[Mention] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    copied: str | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that a completion may use, in the order in which they were asked for."""

    types: tuple[str, ...]
    labels: tuple[str, ...] = ()


def in_order(mentions: Sequence[Mention], order: Sequence[int]) -> tuple[list[Mention], dict[int, int]]:
    """Mentions in another order, and the new place of each old one."""
    return [mentions[old] for old in order], {old: new for new, old in enumerate(order)}
