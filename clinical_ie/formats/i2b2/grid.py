"""``line:token`` positions."""

from __future__ import annotations

import re

from clinical_ie.document import Span

ASSERTION = "assertion"
"""The attribute type of the assertion status of a problem (``.ast`` files)."""

_TOKEN = re.compile(r"\S+")


class Grid:
    """The tokens of a text by line, both ways between ``line:token`` and characters.

    A byte order mark before the first token is no part of it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[list[tuple[int, int]]] = []
        self.flat: list[tuple[int, int]] = []
        self.before: list[int] = []
        self.places: dict[int, tuple[int, int]] = {}
        self.ends: dict[int, tuple[int, int]] = {}
        position = 0
        lines = (" " + text[1:] if text.startswith("\ufeff") else text).split("\n")
        for number, line in enumerate(lines, 1):
            row = [(position + match.start(), position + match.end()) for match in _TOKEN.finditer(line)]
            for index, (start, end) in enumerate(row):
                self.places[start] = self.ends[end] = (number, index)
            self.before.append(len(self.flat))
            self.flat += row
            self.tokens.append(row)
            position += len(line) + 1

    def ranks(self, first: tuple[int, int], last: tuple[int, int]) -> range | None:
        """Ranks of the tokens from one ``(line, token)`` to another, both included; None where there is no such token."""
        for line, token in (first, last):
            if not 1 <= line <= len(self.tokens) or not 0 <= token < len(self.tokens[line - 1]):
                return None
        one, other = self.before[first[0] - 1] + first[1], self.before[last[0] - 1] + last[1]
        return range(one, other + 1) if one <= other else None

    def span(self, first: tuple[int, int], last: tuple[int, int]) -> Span | None:
        """Characters from the first token to the last, both included; None where there is no such token."""
        ranks = self.ranks(first, last)
        return Span.of(self.flat[ranks[0]][0], self.flat[ranks[-1]][1]) if ranks else None

    def agrees(self, ranks: range, covered: str) -> bool:
        """Whether a covered text consists of these tokens, whatever their case."""
        words = covered.lower().split()
        if len(words) != len(ranks):
            return False
        return all(
            self.text[start:end].lower() == word for (start, end), word in zip(map(self.flat.__getitem__, ranks), words, strict=True)
        )

    def position(self, span: Span) -> str | None:
        """``line:token line:token`` of a span; None where it does not begin and end with a token."""
        first, last = self.places.get(span.start), self.ends.get(span.end)
        if span.discontinuous or first is None or last is None:
            return None
        return f"{first[0]}:{first[1]} {last[0]}:{last[1]}"
