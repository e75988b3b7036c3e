"""Structured answers, independent of a response syntax: mentions and links, with white-space normalisation and offset alignment.

Responses are made of lines and tabs, so mentions have every run of white space as one blank; `NormalizedText` maps back to offsets
of the original text.
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
class NormalizedText:
    """A text with every run of white space as one blank.

    `starts` and `ends` are the offsets in the original text of each character of `text`.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> NormalizedText:
        """The normalised form of a text."""
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
        """The normalised offset of an original one."""
        return bisect_right(self.starts, original) - 1

    def to_original(self, start: int, end: int) -> Fragment:
        """The original offsets of a range of the normalised text."""
        return self.starts[start], self.ends[end - 1]


@dataclass(frozen=True, slots=True)
class Mention:
    """A type and the words of a mention on one line, fragments joined by `GAP`.

    `at` are its offsets: in a gold answer in the normalised text (first fragment's start, last one's end); in a completion that
    copies the text, among the characters of that copy that are not white space; None where only the words are known.
    `spelled` are the characters of a completion that say it, with the separator before them.
    """

    type: str
    text: str
    at: Fragment | None = None
    spelled: tuple[Fragment, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Link:
    """A label between two mentions of the same answer, by place from 0; `spelled` as of `Mention`."""

    label: str
    head: int
    tail: int
    spelled: tuple[Fragment, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The gold answer about a text. Mentions are in text order: start, then longest first."""

    mentions: tuple[Mention, ...]
    links: tuple[Link, ...] = ()


@dataclass(slots=True)
class ParsedCompletion:
    """The mentions and links parsed from a completion; `problems` counts what could not be parsed, by reason.

    `copied` is the text as the completion copies it, without white space, for syntaxes that do so.
    """

    mentions: list[Mention] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    copied: str | None = None


@dataclass(frozen=True, slots=True)
class LabelNames:
    """The names of types and labels in a prompt, in its order."""

    types: tuple[str, ...]
    labels: tuple[str, ...] = ()


def in_order(mentions: Sequence[Mention], order: Sequence[int]) -> tuple[list[Mention], dict[int, int]]:
    """Mentions in another order, and the new place of each old one."""
    return [mentions[old] for old in order], {old: new for new, old in enumerate(order)}
