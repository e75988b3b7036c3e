"""N-gram draft proposers of speculative decoding for completions that copy their text: what every proposer is, and what it learns.

Notes of one kind repeat themselves. How earlier completions of a run marked up a word, behind the word before it, proposes how the next
completion marks it up. The model verifies every draft token, so proposals change the speed of generation and never its output. The
statistics end with the pass over the notes: they would hold the words of patients.

Reference: Leviathan et al., Fast inference from transformers via speculative decoding (ICML 2023); n-gram speculation as in vLLM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

Ngram = str | tuple[str, str]
"""A word, or two words."""


@dataclass(slots=True)
class MarkupNgrams:
    """What the last completion did at a word, and at a word behind another one; and how often a type followed another."""

    opened: dict[Ngram, tuple[str, ...]] = field(default_factory=dict)
    closed: dict[Ngram, int] = field(default_factory=dict)
    following: dict[str, Counter[str]] = field(default_factory=dict)

    def forget_beyond(self, most: int) -> None:
        """Begin anew where more than so many n-grams are known, so that a pass over many notes takes no more memory."""
        if max(len(self.opened), len(self.closed), len(self.following)) > most:
            for known in (self.opened, self.closed, self.following):
                known.clear()

    def opening(self, previous: str, word: str) -> tuple[str, ...]:
        """Types whose tags open in front of a word; the longer n-gram decides (back-off)."""
        return self.opened.get((previous, word), self.opened.get(word, ()))

    def closing(self, previous: str, word: str) -> int:
        """How many tags close behind a word inside a mention; one where the word is unknown."""
        return self.closed.get((previous, word), self.closed.get(word, 1))

    def next_type(self, last: str, types: Sequence[str]) -> str:
        """The most frequent of some types behind another one."""
        counts = self.following.get(last, Counter()) | Counter()
        return max(types, key=counts.__getitem__)


class DraftProposer(Protocol):
    """Proposes how one completion continues; which proposals there are is up to its grammar."""

    def observe(self, text: str) -> None:
        """Learn from the next part of the completion."""
