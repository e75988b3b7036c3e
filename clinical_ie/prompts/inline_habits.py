"""Guesses of how an inline answer goes on: where braces stood around the same words in any answer of the run, with which types.

As with `TagHabits`, a guess is only ever a guess, and what was learned is gone when the run is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from clinical_ie.prompts.grammar import WORD
from clinical_ie.prompts.responses.inline import numbered
from clinical_ie.prompts.tag_habits import TagHabits

_SAID = re.compile(rf"\\(?P<escaped>[\\{{|}}])|(?P<opening>\{{)|\|(?P<types>[^\\{{|}}]*)\}}|(?P<bar>\|)|(?P<word>{WORD.pattern})")
_FAR = 96
"""Characters of the text that are looked at for a guess."""


class InlineFollower:
    """One inline answer on its way: what it says is learned, and what it may say next is guessed.

    Args:
        habits: What other answers have said and will say. Types are learned by the words they stood behind.
    """

    def __init__(self, habits: TagHabits) -> None:
        self.habits = habits
        self._said = ""
        self._learned = 0
        self._open: list[list[str]] = []
        self._braces = self._closing = 0
        self._words = ("", "")
        self._inside = False

    @property
    def closed(self) -> bool:
        """Whether a brace has just been closed."""
        return self._said.endswith("}") and not self._said.endswith("\\}")

    def follow(self, more: str) -> None:
        """Learn from more of the answer, up to its last whole word."""
        self._said += more
        end = self._said.rfind(" ") + 1
        while self._learned < end:
            found = _SAID.search(self._said, self._learned)
            if found is None or found.start() >= end:
                self._note_closing()
                self._learned = end
                return
            if found["bar"]:
                return  # types that are not whole yet
            self._learned = found.end()
            if found["opening"]:
                self._note_closing()
                self._braces += 1
            elif found["types"] is not None:
                self._close(found["types"])
            else:
                self._word(found["word"] or found["escaped"])

    def _word(self, word: str) -> None:
        self._note_closing()
        self._words = self._words[1], word
        for key in (self._words, word):
            self.habits.opened[key] = ("",) * self._braces
        self._open += [[] for _ in range(self._braces)]
        for words in self._open:
            words.append(word)
        self._braces, self._closing, self._inside = 0, 0, bool(self._open)

    def _close(self, types: str) -> None:
        self._closing += 1
        # numbers of mentions are never the same again
        types = re.sub(r":\d+", "", types)
        words = self._open.pop() if self._open else []
        for key in (" ".join(words), words[-1] if words else ""):
            self.habits.following.setdefault(key, Counter())[types] += 1
        self.habits.following.setdefault("", Counter())[types] += 1

    def _note_closing(self) -> None:
        """How many braces closed behind the last word, if it stood inside of a mention."""
        if self._inside:
            for key in (self._words, self._words[1]):
                self.habits.closed[key] = self._closing
            self._inside = False

    def tag(self, words: str, options: Sequence[str], number: int | None) -> str:
        """How the types behind a mention go on that have been begun.

        Args:
            words: The words of the mention.
            options: What may stand there next.
            number: How many mentions have been said, where they say their numbers.
        """
        said = self._said[self._said.rfind("|") + 1 :]
        first = None if number is None else number - said.count(",")
        for types in self._known(words):
            whole = _numbered(types, first)
            if whole.startswith(said) and any(whole[len(said) :].startswith(option) for option in options):
                return whole[len(said) :]
        return options[0]

    def ahead(self, opened: Sequence[str], before: str, after: str, *, fresh: bool, number: int | None) -> str:
        """How the text goes on where some mentions are open, with their braces.

        Args:
            opened: The words of these so far, outermost first.
            before: The text before.
            after: The text behind.
            fresh: The last one has just been opened or closed.
            number: How many mentions have been said, where they say their numbers.
        """
        stack = list(opened)
        words = ["", "", *WORD.findall(before[-_FAR:])[-2:]]
        begun = "" if not before or before[-1] == " " else words[-1]
        said: list[str] = []
        if begun and WORD.match(begun + after[:1])[0] == begun:  # type: ignore[index]
            begun = ""
            if not fresh:
                number = self._end(said, stack, words, number)
        last = 0
        for found in WORD.finditer(after[:_FAR]):
            between = after[last : found.start()]
            stack = [mention + between for mention in stack]
            said.append(between)
            if begun:
                words[-1] = begun + found[0]
            else:
                braces = 0 if fresh and not between else len(self.habits.opening(words[-1], found[0]))
                said.append("{" * braces)
                stack += [""] * braces
                words.append(found[0])
            stack = [mention + found[0] for mention in stack]
            said.append(found[0])
            number = self._end(said, stack, words, number)
            last, begun, fresh = found.end(), "", False
        return "".join([*said, after[last:_FAR]])

    def _end(self, said: list[str], stack: list[str], words: list[str], number: int | None) -> int | None:
        """Close what is expected to end behind a word; how many mentions have been said then."""
        closing = self.habits.closing(words[-2], words[-1]) if stack else 0
        for _ in range(min(closing, len(stack))):
            types = next(iter(self._known(stack.pop())), "")
            said.append(f"|{_numbered(types, number)}")
            number = None if number is None else number + types.count(",") + 1
        return number

    def _known(self, words: str) -> list[str]:
        """Types that stood behind a mention: those of the same words first, then of the same last word, then all."""
        found = WORD.findall(words)
        keys = dict.fromkeys((" ".join(found), found[-1] if found else "", ""))
        return [types for key in keys for types, _ in self.habits.following.get(key, Counter[str]()).most_common()]


def _numbered(types: str, first: int | None) -> str:
    """Types as they stand before their closing brace, and that."""
    names = types.split(",")
    return ",".join(numbered(name, None if first is None else first + rank) for rank, name in enumerate(names)) + "}"
