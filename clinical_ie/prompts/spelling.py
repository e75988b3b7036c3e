"""How sure a mention or link of a completion is: the probability of the tokens that spell it.

A token's probability is that among the tokens that the grammar allows at its place (renormalised), so what the model cannot say does not
count. A mention is spelled by its type and its words; that a mention ends where it does has the probability of all tokens
that would end it, whatever follows. Which mention follows, and that one does, is a matter of the next one. So the confidence of a mention
is the probability that constrained decoding by chance would say it, given what was said before.

Where decoding backtracked the probability is the same: what was discarded counts as allowed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from clinical_ie.document import Fragment


class SpelledToken(NamedTuple):
    """A token of a completion.

    Attributes:
        start: Its first character.
        end: One past its last; the same for the token that ends the completion.
        log: The logarithm of its probability among the allowed ones.
        log_ends: Where it ends a mention or link: that of all tokens that would; else 0.
    """

    start: int
    end: int
    log: float
    log_ends: float


def confidence(spelled: Sequence[Fragment], tokens: Sequence[SpelledToken]) -> float | None:
    """The probability of what is spelled by these characters; None where nothing is known of them.

    Args:
        spelled: Character ranges of a completion.
        tokens: Those of the completion whose probabilities are known.
    """
    if not spelled or not tokens:
        return None
    total, known = 0.0, False
    last = max(end for _, end in spelled)
    for token in tokens:
        if any(token.start < end and start < token.end for start, end in spelled):
            total += token.log - token.log_ends  # that what was before it ends is a matter of that
            known = True
        elif token.start == last:
            total += token.log_ends
    return math.exp(min(0.0, total)) if known else None
