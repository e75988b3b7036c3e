"""Guesses of what comes next where a model copies: what followed the same tokens in the question.

Reference: Saxena, Prompt lookup decoding (2023). A guess is only ever a guess: what the model would have said is said.
"""

from __future__ import annotations

from collections.abc import Sequence


class Drafts:
    """Looks up the last tokens of an answer in its question.

    Args:
        question: Tokens that may be copied.
        matched: How many last tokens must be the same.
    """

    def __init__(self, question: Sequence[int], matched: int = 2) -> None:
        self.question, self.matched = tuple(question), matched
        self._behind: dict[tuple[int, ...], list[int]] = {}
        for place in range(matched, len(question)):
            self._behind.setdefault(tuple(question[place - matched : place]), []).append(place)
        self._last = 0

    def guess(self, said: Sequence[int], most: int) -> tuple[int, ...]:
        """At most so many tokens that may come next, nothing where the last tokens do not stand in the question.

        Of several places the first behind the one before is taken, because answers follow the text.
        """
        if len(said) < self.matched or most < 1:
            return ()
        places = self._behind.get(tuple(said[-self.matched :]))
        if not places:
            return ()
        place = next((place for place in places if place > self._last), places[-1])
        self._last = place
        return self.question[place : place + most]
