"""Guesses of how marked-up text goes on: around every word the tags that stood there the last time in any answer of the run.

Notes of one kind say the same things over and over. A guess is only ever a guess, and what was learned is gone when the run is: it would
be the words of patients.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from clinical_ie.prompts.grammar import WORD

_SAID = re.compile(rf"<(?P<slash>/?)(?P<type>[^<>]*)>|(?P<word>{WORD.pattern})")
_FAR = 96
"""Characters of the text that are looked at for a guess."""

Key = str | tuple[str, str]


@dataclass(slots=True)
class TagHabits:
    """What all answers so far have done at a word, and at a word behind another one; and which type followed which."""

    opened: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    closed: dict[Key, int] = field(default_factory=dict)
    following: dict[str, Counter[str]] = field(default_factory=dict)

    def opening(self, previous: str, word: str) -> tuple[str, ...]:
        """Types whose tags open in front of a word."""
        return self.opened.get((previous, word), self.opened.get(word, ()))

    def closing(self, previous: str, word: str) -> int:
        """How many tags close behind a word inside of a mention; one where it was never seen there."""
        return self.closed.get((previous, word), self.closed.get(word, 1))

    def next_type(self, last: str, types: Sequence[str]) -> str:
        """Which of some types comes next, as far as is known."""
        known = self.following.get(last, Counter()) | Counter()
        return max(types, key=known.__getitem__)


class Follower(Protocol):
    """One answer on its way."""

    def follow(self, more: str) -> None:
        """Learn from more of the answer."""


class MarkupFollower:
    """One answer on its way: what it says is learned, and what it may say next is guessed.

    Args:
        habits: What other answers have said and will say.
    """

    def __init__(self, habits: TagHabits) -> None:
        self.habits = habits
        self._said = ""
        self._learned = 0
        self._open: list[str] = []
        self._last_type = ""
        self._words = ("", "")
        self._closing, self._inside = 0, False

    def follow(self, more: str) -> None:
        """Learn from more of the answer, up to its last whole word."""
        self._said += more
        end = self._said.rfind(" ")
        if self._said.rfind("<", 0, end) > self._said.rfind(">", 0, end):
            return  # a blank inside of a tag
        opening: list[str] = []
        for found in _SAID.finditer(self._said, self._learned, max(end, self._learned)):
            if found["word"] is not None:
                self._note_closing()
                self._words, self._closing, self._inside = (self._words[1], found["word"]), 0, bool(self._open)
                for key in (self._words, found["word"]):
                    self.habits.opened[key] = tuple(opening)
                opening = []
            elif found["slash"]:
                self._closing += 1
                if found["type"] in self._open:
                    self._open.remove(found["type"])
            else:
                opening.append(found["type"])
                self.habits.following.setdefault(self._last_type, Counter())[found["type"]] += 1
                self._last_type = found["type"]
                self._open.append(found["type"])
        if end > self._learned:
            self._note_closing()
            self._learned = end

    def _note_closing(self) -> None:
        """How many tags closed behind the last word, if it stood inside of a mention."""
        if self._inside:
            for key in (self._words, self._words[1]):
                self.habits.closed[key] = self._closing

    def tag(self, tags: Sequence[str], before: str, after: str) -> str:
        """Which of some tags it is that was begun, with the text on both sides."""
        words = WORD.findall(before[-_FAR:])
        if (closing := [tag for tag in tags if tag.startswith("</")]) and not before.endswith(" "):
            return closing[-1]
        here = WORD.match(after)
        expected = self.habits.opening(words[-1] if words else "", here[0]) if here else ()
        for name in expected:
            if f"<{name}>" in tags:
                return f"<{name}>"
        return f"<{self.habits.next_type(self._last_type, [tag[1:-1] for tag in tags])}>"

    def ahead(self, opened: Sequence[str], before: str, after: str, *, fresh: bool) -> str:
        """How the text goes on where some types are open, with their tags, `fresh` where one has just been opened or closed."""
        stack = list(opened)
        words = ["", "", *WORD.findall(before[-_FAR:])[-2:]]
        said: list[str] = []
        begun = "" if not before or before[-1] == " " else words[-1]
        if begun and WORD.match(begun + after[:1])[0] == begun:  # type: ignore[index]
            begun = ""
            if not fresh:
                said += self._ends(stack, words)
        last = 0
        for found in WORD.finditer(after[:_FAR]):
            said.append(after[last : found.start()])
            if begun:
                words[-1] = begun + found[0]
            else:
                types = self.habits.opening(words[-1], found[0])
                if fresh and opened[-1] not in types:
                    types = ()
                for name in types:
                    if name not in stack:
                        said.append(f"<{name}>")
                        stack.append(name)
                words.append(found[0])
            said.append(found[0])
            said += self._ends(stack, words)
            last, begun, fresh = found.end(), "", False
        return "".join([*said, after[last:_FAR]])

    def _ends(self, stack: list[str], words: list[str]) -> list[str]:
        number = self.habits.closing(words[-2], words[-1]) if stack else 0
        return [f"</{stack.pop()}>" for _ in range(min(number, len(stack)))]
