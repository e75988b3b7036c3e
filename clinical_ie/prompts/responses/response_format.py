"""What all syntaxes of responses have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from clinical_ie.prompts.answers import Answer, Link, Mention, Parsed, Vocabulary

LINK = ">"
"""Opens a line of links; no type may begin with it."""

UNPARSED = "lines that are no answer"
UNKNOWN_TYPE = "mentions of a type that was not asked for"
UNKNOWN_LABEL = "links of a label that was not asked for"
NO_SUCH_MENTION = "links to a mention that was not given"
TWICE = "links said twice"
_PAIR = re.compile(r"\s*(\d{1,9})\s+(\d{1,9})\s*")


class ResponseFormat(ABC):
    """A syntax for answers. What writes it also reads it.

    `parse` never raises on a completion: it gives what it understood and counts what it did not.
    """

    name: ClassVar[str]
    constrained_as: ClassVar[Literal["lines", "grouped", "inline", "markup"] | None] = None
    """The grammar of what it can say; None where there is none."""
    says_links: ClassVar[bool] = True
    reserved: ClassVar[str] = ""
    """Characters that no type may have in its name."""
    separators: ClassVar[str] = ""
    """Characters behind which a completion that was cut off begins something unfinished."""

    def inexpressible(self, mentions: Sequence[Mention], text: str) -> dict[int, str]:
        """Place -> reason for the mentions of an answer about a flat text that this syntax cannot express."""
        return {}

    def most_expressible(self, mentions: Sequence[Mention], text: str) -> int:
        """How many of these mentions one answer can hold, at most."""
        return len(mentions)

    @abstractmethod
    def render(self, answer: Answer, text: str, vocabulary: Vocabulary) -> str:
        """The response that says an answer.

        Args:
            answer: What to say; links count its mentions in their order.
            text: The flat text that it is about.
            vocabulary: Types and labels in the order in which they were asked for.
        """

    @abstractmethod
    def parse(self, completion: str, vocabulary: Vocabulary) -> Parsed:
        """What a completion says, mentions in the order in which it says them."""

    def render_links(self, links: Iterable[Link], vocabulary: Vocabulary) -> str:
        """The response where mentions were given with the question, numbered from 1."""
        return "\n".join(link_lines(links, vocabulary))

    def parse_links(self, completion: str, vocabulary: Vocabulary, mentions: int) -> Parsed:
        """What such a response says of a number of mentions."""
        parsed = Parsed()
        for line in completion.splitlines():
            if line.strip():
                read_links(line, vocabulary, parsed)
        keep_known(parsed, mentions)
        return parsed


def link_lines(links: Iterable[Link], vocabulary: Vocabulary) -> list[str]:
    """One line for each label that is there, its pairs in order: ``>label``, then ``head tail``, apart by tabs, numbered from 1."""
    pairs: dict[str, list[Link]] = {}
    for link in links:
        pairs.setdefault(link.label, []).append(link)
    return [
        f"{LINK}{label}\t" + "\t".join(f"{link.head + 1} {link.tail + 1}" for link in sorted(pairs[label], key=lambda x: (x.head, x.tail)))
        for label in vocabulary.labels
        if label in pairs
    ]


def read_links(line: str, vocabulary: Vocabulary, parsed: Parsed) -> None:
    """Take in one line of links; numbers are checked later by `keep_known`."""
    label, *pairs = line.strip().split("\t")
    if not label.startswith(LINK) or not pairs:
        parsed.problems[UNPARSED] += 1
        return
    if label[len(LINK) :] not in vocabulary.labels:
        parsed.problems[UNKNOWN_LABEL] += len(pairs)
        return
    for pair in pairs:
        found = _PAIR.fullmatch(pair)
        if found is None:
            parsed.problems[UNPARSED] += 1
        else:
            parsed.links.append(Link(label[len(LINK) :], int(found[1]) - 1, int(found[2]) - 1))


def keep_known(parsed: Parsed, mentions: int) -> None:
    """Drop, and count, links to mentions that are not there and links said twice."""
    kept: dict[Link, None] = {}
    for link in parsed.links:
        if not (0 <= link.head < mentions and 0 <= link.tail < mentions):
            parsed.problems[NO_SUCH_MENTION] += 1
        elif link in kept:
            parsed.problems[TWICE] += 1
        else:
            kept[link] = None
    parsed.links = list(kept)


def renumbered(parsed: Parsed, numbers: dict[int, int]) -> None:
    """Turn the places of links from those said into those understood, and drop what is left without a mention."""
    moved = [Link(link.label, numbers.get(link.head, -1), numbers.get(link.tail, -1)) for link in parsed.links]
    parsed.links = moved
    keep_known(parsed, len(parsed.mentions))
