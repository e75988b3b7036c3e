"""The base of response formats: rendering, parsing, links by the numbers of mentions, and problems of completions."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from clinical_ie.document import Fragment
from clinical_ie.prompts.answers import Answer, LabelNames, Link, Mention, ParsedCompletion

LINK = ">"
"""Opens a line of links; no type may begin with it."""

UNPARSED = "malformed lines"
UNKNOWN_TYPE = "mentions of an unknown type"
UNKNOWN_LABEL = "links of an unknown label"
NO_SUCH_MENTION = "links to an unknown mention"
TWICE = "duplicate links"
_NUMBER = re.compile(r"\s*(\d{1,9})\s*")
_PAIR = re.compile(r"\s*(\d{1,9})\s+(\d{1,9})\s*")


class ResponseFormat(ABC):
    """A syntax of responses: `render` writes it and `parse` reads it.

    `parse` never raises on a completion: it returns what it parsed and counts the rest.
    """

    name: ClassVar[str]
    grammar: ClassVar[Literal["lines", "grouped", "inline", "markup"] | None] = None
    """The grammar of constrained decoding; None where there is none."""
    supports_links: ClassVar[bool] = True
    reserved: ClassVar[str] = ""
    """Characters that names of types cannot hold."""
    separators: ClassVar[str] = ""
    """Characters that end a complete item; what stands behind the last one of a truncated completion is dropped."""

    def inexpressible(self, mentions: Sequence[Mention], text: str) -> dict[int, str]:
        """Place -> reason for the mentions of an answer about a normalised text that this syntax cannot express."""
        return {}

    def most_expressible(self, mentions: Sequence[Mention], text: str) -> int:
        """How many of these mentions one answer can hold, at most."""
        return len(mentions)

    @abstractmethod
    def render(self, answer: Answer, text: str, label_names: LabelNames) -> str:
        """The response that renders an answer.

        Args:
            answer: Mentions and links; links count its mentions in their order.
            text: The normalised text that it is about.
            label_names: Types and labels in the order of the prompt.
        """

    @abstractmethod
    def parse(self, completion: str, label_names: LabelNames) -> ParsedCompletion:
        """The content of a completion, mentions in its order."""

    def render_links(self, links: Iterable[Link], label_names: LabelNames, *, single: bool = False) -> str:
        """The response where mentions were given in the prompt, numbered from 1; with `single`, of what holds of mentions alone."""
        return "\n".join(link_lines(links, label_names, single=single))

    def parse_links(self, completion: str, label_names: LabelNames, mentions: int, *, single: bool = False) -> ParsedCompletion:
        """The links of such a response between a number of mentions.

        With `single`, what holds of mentions alone, as links of a mention to itself.
        """
        parsed = ParsedCompletion()
        at = 0
        for line in completion.split("\n"):
            if line.strip():
                read_links(line, label_names, parsed, at, single=single)
            at += len(line) + 1
        keep_known(parsed, mentions)
        return parsed


def link_lines(links: Iterable[Link], label_names: LabelNames, *, single: bool = False) -> list[str]:
    """One line for each label that is there, its pairs in order: ``>label``, then ``head tail``, apart by tabs, numbered from 1.

    With `single`, what holds of mentions alone (attributes, held as links of a mention to itself) has their one number.
    """
    pairs: dict[str, list[Link]] = {}
    for link in links:
        pairs.setdefault(link.label, []).append(link)
    return [
        f"{LINK}{label}\t"
        + "\t".join(numbers(link.head, link.tail, single=single) for link in sorted(pairs[label], key=lambda x: (x.head, x.tail)))
        for label in label_names.labels
        if label in pairs
    ]


def numbers(head: int, tail: int, *, single: bool = False) -> str:
    """A pair of mentions as answers write it, or a mention alone."""
    return f"{head + 1}" if single else f"{head + 1} {tail + 1}"


def read_links(line: str, label_names: LabelNames, parsed: ParsedCompletion, at: int, *, single: bool = False) -> None:
    """Take in one line of links, which begins at a character of the completion; numbers are checked later by `keep_known`."""
    spelled = cells(line, at)
    label, *pairs = line.strip().split("\t")
    if not label.startswith(LINK) or not pairs:
        parsed.problems[UNPARSED] += 1
        return
    if label[len(LINK) :] not in label_names.labels:
        parsed.problems[UNKNOWN_LABEL] += len(pairs)
        return
    for place, pair in enumerate(pairs):
        found = (_NUMBER if single else _PAIR).fullmatch(pair)
        if found is None:
            parsed.problems[UNPARSED] += 1
        else:
            parsed.links.append(Link(label[len(LINK) :], int(found[1]) - 1, int(found[found.re.groups]) - 1, (spelled[place],)))


def cells(line: str, at: int) -> list[Fragment]:
    r"""The characters of what stands between the tabs of a line, each with its tab, the first with the name of the line and its newline.

    Args:
        line: ``Name<TAB>one<TAB>other``, without its newline.
        at: The character of the completion where it begins.

    Example:
        >>> cells("Drug\ta\tbc", 10)
        [(9, 16), (16, 19)]
    """
    ends = [*[place for place, character in enumerate(line) if character == "\t"][1:], len(line)]
    starts = [max(at - 1, 0), *(at + end for end in ends[:-1])]
    return [(start, at + end) for start, end in zip(starts, ends, strict=True)]


def keep_known(parsed: ParsedCompletion, mentions: int) -> None:
    """Drop, and count, links to unknown mentions and duplicate links."""
    kept: dict[Link, None] = {}
    for link in parsed.links:
        if not (0 <= link.head < mentions and 0 <= link.tail < mentions):
            parsed.problems[NO_SUCH_MENTION] += 1
        elif link in kept:
            parsed.problems[TWICE] += 1
        else:
            kept[link] = None
    parsed.links = list(kept)


def renumbered(parsed: ParsedCompletion, numbers: dict[int, int]) -> None:
    """Renumber the ends of links from mentions generated to mentions parsed, and drop links without a mention."""
    moved = [replace(link, head=numbers.get(link.head, -1), tail=numbers.get(link.tail, -1)) for link in parsed.links]
    parsed.links = moved
    keep_known(parsed, len(parsed.mentions))
