"""The n-gram draft proposer of markup: proposes tags around the words of the text that is copied."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from clinical_ie.prompts.draft_proposer import MarkupNgrams
from clinical_ie.prompts.word_pattern import WORD

_ITEM = re.compile(rf"<(?P<slash>/?)(?P<type>[^<>]*)>|(?P<word>{WORD.pattern})")
_CONTEXT_CHARACTERS = 96
"""Characters of the text before and behind that a proposal reads."""


class MarkupDraftProposer:
    """Observes one completion, adds it to the n-grams, and proposes drafts from them.

    Args:
        ngrams: Those of all completions of a run.
    """

    def __init__(self, ngrams: MarkupNgrams) -> None:
        self.ngrams = ngrams
        self._completion = ""
        self._observed = 0
        self._open: list[str] = []
        self._last_type = ""
        self._last_words = ("", "")
        self._closing, self._inside = 0, False

    def observe(self, text: str) -> None:
        """Learn from the next part of the completion, up to its last whole word."""
        self._completion += text
        end = self._completion.rfind(" ")
        if self._completion.rfind("<", 0, end) > self._completion.rfind(">", 0, end):
            return  # a blank inside a tag
        opening: list[str] = []
        for item in _ITEM.finditer(self._completion, self._observed, max(end, self._observed)):
            if item["word"] is not None:
                self._count_closing()
                self._last_words, self._closing, self._inside = (self._last_words[1], item["word"]), 0, bool(self._open)
                for ngram in (self._last_words, item["word"]):
                    self.ngrams.opened[ngram] = tuple(opening)
                opening = []
            elif item["slash"]:
                self._closing += 1
                if item["type"] in self._open:
                    self._open.remove(item["type"])
            else:
                opening.append(item["type"])
                self.ngrams.following.setdefault(self._last_type, Counter())[item["type"]] += 1
                self._last_type = item["type"]
                self._open.append(item["type"])
        if end > self._observed:
            self._count_closing()
            self._observed = end

    def _count_closing(self) -> None:
        """Learn how many tags closed behind the last word, if it stood inside a mention."""
        if self._inside:
            for ngram in (self._last_words, self._last_words[1]):
                self.ngrams.closed[ngram] = self._closing

    def propose_tag(self, tags: Sequence[str], before: str, after: str) -> str:
        """The most likely of the tags that may stand between two parts of the text."""
        words = WORD.findall(before[-_CONTEXT_CHARACTERS:])
        if (closing := [tag for tag in tags if tag.startswith("</")]) and not before.endswith(" "):
            return closing[-1]
        next_word = WORD.match(after)
        types = self.ngrams.opening(words[-1] if words else "", next_word[0]) if next_word else ()
        for name in types:
            if f"<{name}>" in tags:
                return f"<{name}>"
        return f"<{self.ngrams.next_type(self._last_type, [tag[1:-1] for tag in tags])}>"

    def propose_text(self, opened: Sequence[str], before: str, after: str, *, after_tag: bool) -> str:
        """The text with the most likely tags.

        Args:
            opened: Types of open mentions.
            before: The text before.
            after: The text behind.
            after_tag: A tag has just been opened or closed here.
        """
        stack = list(opened)
        words = ["", "", *WORD.findall(before[-_CONTEXT_CHARACTERS:])[-2:]]
        draft: list[str] = []
        partial = "" if not before or before[-1] == " " else words[-1]
        if partial and WORD.match(partial + after[:1])[0] == partial:  # type: ignore[index]
            partial = ""
            if not after_tag:
                draft += self._closing_tags(stack, words)
        last = 0
        for word in WORD.finditer(after[:_CONTEXT_CHARACTERS]):
            draft.append(after[last : word.start()])
            if partial:
                words[-1] = partial + word[0]
            else:
                types = self.ngrams.opening(words[-1], word[0])
                if after_tag and opened[-1] not in types:
                    types = ()
                for name in types:
                    if name not in stack:
                        draft.append(f"<{name}>")
                        stack.append(name)
                words.append(word[0])
            draft.append(word[0])
            draft += self._closing_tags(stack, words)
            last, partial, after_tag = word.end(), "", False
        return "".join([*draft, after[last:_CONTEXT_CHARACTERS]])

    def _closing_tags(self, stack: list[str], words: list[str]) -> list[str]:
        number = self.ngrams.closing(words[-2], words[-1]) if stack else 0
        return [f"</{stack.pop()}>" for _ in range(min(number, len(stack)))]
