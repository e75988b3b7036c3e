"""The n-gram draft proposer of inline responses: proposes braces and types around the words of the text that is copied."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from clinical_ie.prompts.draft_proposer import MarkupNgrams
from clinical_ie.prompts.responses.inline import numbered
from clinical_ie.prompts.word_pattern import WORD

_ITEM = re.compile(rf"\\(?P<escaped>[\\{{|}}])|(?P<opening>\{{)|\|(?P<types>[^\\{{|}}]*)\}}|(?P<bar>\|)|(?P<word>{WORD.pattern})")
_CONTEXT_CHARACTERS = 96
"""Characters of the text before and behind that a proposal reads."""


class InlineDraftProposer:
    """Observes one completion, adds it to the n-grams, and proposes drafts from them.

    Args:
        ngrams: Those of all completions of a run. Types are learned by the words of their mentions.
    """

    def __init__(self, ngrams: MarkupNgrams) -> None:
        self.ngrams = ngrams
        self._completion = ""
        self._observed = 0
        self._open: list[list[str]] = []
        self._braces = self._closing = 0
        self._last_words = ("", "")
        self._inside = False

    @property
    def just_closed(self) -> bool:
        """Whether the completion ends with a closing brace."""
        return self._completion.endswith("}") and not self._completion.endswith("\\}")

    def observe(self, text: str) -> None:
        """Learn from the next part of the completion, up to its last whole word."""
        self._completion += text
        end = self._completion.rfind(" ") + 1
        while self._observed < end:
            item = _ITEM.search(self._completion, self._observed)
            if item is None or item.start() >= end:
                self._count_closing()
                self._observed = end
                return
            if item["bar"]:
                return  # types that are not complete yet
            self._observed = item.end()
            if item["opening"]:
                self._count_closing()
                self._braces += 1
            elif item["types"] is not None:
                self._close(item["types"])
            else:
                self._word(item["word"] or item["escaped"])

    def _word(self, word: str) -> None:
        self._count_closing()
        self._last_words = self._last_words[1], word
        for ngram in (self._last_words, word):
            self.ngrams.opened[ngram] = ("",) * self._braces
        self._open += [[] for _ in range(self._braces)]
        for words in self._open:
            words.append(word)
        self._braces, self._closing, self._inside = 0, 0, bool(self._open)

    def _close(self, types: str) -> None:
        self._closing += 1
        # numbers of mentions are never the same again
        types = re.sub(r":\d+", "", types)
        words = self._open.pop() if self._open else []
        for ngram in (" ".join(words), words[-1] if words else ""):
            self.ngrams.following.setdefault(ngram, Counter())[types] += 1
        self.ngrams.following.setdefault("", Counter())[types] += 1

    def _count_closing(self) -> None:
        """Learn how many braces closed behind the last word, if it stood inside a mention."""
        if self._inside:
            for ngram in (self._last_words, self._last_words[1]):
                self.ngrams.closed[ngram] = self._closing
            self._inside = False

    def propose_types(self, words: str, options: Sequence[str], number: int | None) -> str:
        """The rest of the types of a mention and its closing brace.

        Args:
            words: The words of the mention.
            options: What the grammar allows next.
            number: How many mentions there are so far, where mentions are numbered.
        """
        begun = self._completion[self._completion.rfind("|") + 1 :]
        first = None if number is None else number - begun.count(",")
        for types in self._types_of(words):
            whole = _closing(types, first)
            if whole.startswith(begun) and any(whole[len(begun) :].startswith(option) for option in options):
                return whole[len(begun) :]
        return options[0]

    def propose_text(self, opened: Sequence[str], before: str, after: str, *, after_brace: bool, number: int | None) -> str:
        """The text with the most likely braces and types.

        Args:
            opened: The words of open mentions so far, outermost first.
            before: The text before.
            after: The text behind.
            after_brace: A brace has just been opened or closed here.
            number: How many mentions there are so far, where mentions are numbered.
        """
        stack = list(opened)
        words = ["", "", *WORD.findall(before[-_CONTEXT_CHARACTERS:])[-2:]]
        partial = "" if not before or before[-1] == " " else words[-1]
        draft: list[str] = []
        if partial and WORD.match(partial + after[:1])[0] == partial:  # type: ignore[index]
            partial = ""
            if not after_brace:
                number = self._close_mentions(draft, stack, words, number)
        last = 0
        for word in WORD.finditer(after[:_CONTEXT_CHARACTERS]):
            between = after[last : word.start()]
            stack = [mention + between for mention in stack]
            draft.append(between)
            if partial:
                words[-1] = partial + word[0]
            else:
                braces = 0 if after_brace and not between else len(self.ngrams.opening(words[-1], word[0]))
                draft.append("{" * braces)
                stack += [""] * braces
                words.append(word[0])
            stack = [mention + word[0] for mention in stack]
            draft.append(word[0])
            number = self._close_mentions(draft, stack, words, number)
            last, partial, after_brace = word.end(), "", False
        return "".join([*draft, after[last:_CONTEXT_CHARACTERS]])

    def _close_mentions(self, draft: list[str], stack: list[str], words: list[str], number: int | None) -> int | None:
        """Close the mentions that likely end behind a word; how many mentions there are then."""
        closing = self.ngrams.closing(words[-2], words[-1]) if stack else 0
        for _ in range(min(closing, len(stack))):
            types = next(iter(self._types_of(stack.pop())), "")
            draft.append(f"|{_closing(types, number)}")
            number = None if number is None else number + types.count(",") + 1
        return number

    def _types_of(self, words: str) -> list[str]:
        """Types of earlier mentions: those of the same words first, then of the same last word, then all (back-off)."""
        found = WORD.findall(words)
        ngrams = dict.fromkeys((" ".join(found), found[-1] if found else "", ""))
        return [types for ngram in ngrams for types, _ in self.ngrams.following.get(ngram, Counter[str]()).most_common()]


def _closing(types: str, first: int | None) -> str:
    """Types, numbered from `first`, with their closing brace."""
    names = types.split(",")
    return ",".join(numbered(name, None if first is None else first + rank) for rank, name in enumerate(names)) + "}"
