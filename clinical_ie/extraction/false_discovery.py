"""Thresholds under which the share of wrong annotations of a type stays below a bound, with a probability that is chosen beforehand.

For a type and a threshold, a note has ``k`` annotations that are kept, of which ``w`` are wrong. Their share over all notes is at most
``a`` where the mean of ``z = w - a k`` over notes is at most 0. That it is not is tested by betting against it: a bet of the
share ``l`` multiplies its capital by ``1 - l z`` at each note, and capital that is above ``1 / d`` refutes it at level ``d``. We
take the mean capital of several fixed shares, so that the order of notes does not matter. Notes are drawn independently; what
one note's annotations have to do with each other does not matter, because whole notes are counted.

Thresholds are tested in a fixed sequence, from a strict one down, until one fails; the lowest that passed is chosen. A strict start
may have too few annotations to prove anything, so there are five starts, each tested at a fifth of the level (Bonferroni).

What is promised: for each type by itself, with probability `CERTAINTY` over the notes of calibration, the share of wrong annotations
among those kept of notes from the same source is at most the bound in expectation. It is not that all types hold at once, nor that each
note does. It assumes that notes are independent and from one source, and that none has more than twice as many wrong annotations above a
threshold as the worst note of calibration.

References: Angelopoulos et al., Learn then test (2021), for risk control by tests in a fixed sequence; Bates et al.,
Distribution-free, risk-controlling prediction sets (J. ACM 2021); Waudby-Smith & Ramdas, Estimating means of bounded random variables
by betting (JRSS B 2024), for the tests.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.extraction.thresholds import NOTHING, Thresholds
from clinical_ie.scoring.judged import Judged, judged

CERTAINTY = 0.9
_STARTS = (0.97, 0.9, 0.8, 0.7, 0.5)
_STEP = 0.01
_SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 0.95)
"""Bets, relative to the largest that no note can ruin."""


@dataclass(frozen=True, slots=True)
class TypeThreshold:
    """What was chosen for a type.

    Attributes:
        type: Of mentions, relations, arguments or attributes.
        threshold: The lowest confidence that is kept; None where no threshold could be proven.
        found: Annotations of it in the notes of calibration.
        wrong: How many of them are wrong.
        kept: How many are kept.
        kept_wrong: How many of those are wrong.
    """

    type: str
    threshold: float | None
    found: int
    wrong: int
    kept: int
    kept_wrong: int

    def __str__(self) -> str:
        seen = f"{self.found:,} in the calibration notes, {self.wrong:,} wrong"
        if self.threshold is None:
            return f"{self.type}: no threshold can be proven ({seen}); all go to review"
        return f"{self.type}: {self.threshold:.2f} ({seen}; {self.kept:,} are kept, {self.kept_wrong:,} wrong)"


def controlled(pairs: Iterable[tuple[Document, Document]], bound: float, *, types: Iterable[str] = ()) -> list[TypeThreshold]:
    """A threshold for each type, chosen on annotated notes.

    Args:
        pairs: Gold and predicted, of notes that the model has neither learned from nor been chosen by.
        bound: The largest share of wrong annotations.
        types: Those that the model can find; none of one in the notes is said too.

    Raises:
        SettingError: A bound that is no share, no note, or annotations without confidences.
    """
    if not 0 < bound < 1:
        raise SettingError(f"--max-false-discovery is {bound}; expected a share between 0 and 1, such as 0.05")
    notes = [judged(gold, predicted) for gold, predicted in pairs]
    if not notes:
        raise SettingError("no note to calibrate on; give annotated notes with --calibration")
    if any(one.confidence is None for note in notes for one in note):
        raise SettingError("the model gives no confidence to some of its annotations (see docs/confidence.md), so none can be chosen by it")
    names = sorted({*types, *(one.type for note in notes for one in note)})
    return [_chosen(name, [[one for one in note if one.type == name] for note in notes], bound) for name in names]


def as_thresholds(chosen: Iterable[TypeThreshold]) -> Thresholds:
    """Thresholds that keep nothing of a type for which none could be proven."""
    return Thresholds(NOTHING, {one.type: NOTHING if one.threshold is None else one.threshold for one in chosen})


def _chosen(name: str, notes: Sequence[Sequence[Judged]], bound: float) -> TypeThreshold:
    threshold = lowest_threshold([[(one.confidence or 0.0, one.right) for one in note] for note in notes], bound)
    every = [one for note in notes for one in note]
    kept = [one for one in every if threshold is not None and (one.confidence or 0.0) >= threshold]
    return TypeThreshold(name, threshold, len(every), _wrong(every), len(kept), _wrong(kept))


def _wrong(annotations: Iterable[Judged]) -> int:
    return sum(not one.right for one in annotations)


def lowest_threshold(notes: Sequence[Sequence[tuple[float, bool]]], bound: float, certainty: float = CERTAINTY) -> float | None:
    """The lowest threshold that passes, or None.

    Args:
        notes: Of each, confidence and rightness of the annotations of a type.
        bound: The largest share of wrong ones.
        certainty: Of the promise.
    """
    needed = len(_STARTS) / (1 - certainty)
    passed = [step for start in _STARTS for step in _passed(notes, round(start / _STEP), bound, needed)]
    return min(passed) * _STEP if passed else None


def _passed(notes: Sequence[Sequence[tuple[float, bool]]], start: int, bound: float, needed: float) -> Iterator[int]:
    """Thresholds, in steps, that pass from a start down to the first that does not."""
    ordered = sorted(((sure, number, right) for number, note in enumerate(notes) for sure, right in note), reverse=True)
    kept_of, wrong_of = [0] * len(notes), [0] * len(notes)
    alike = Counter({(0, 0): len(notes)})  # notes by how many of their annotations are kept, and how many of those are wrong
    place = 0
    for step in range(start, -1, -1):
        while place < len(ordered) and ordered[place][0] >= step * _STEP:
            _, number, right = ordered[place]
            alike[kept_of[number], wrong_of[number]] -= 1
            kept_of[number], wrong_of[number] = kept_of[number] + 1, wrong_of[number] + (not right)
            alike[kept_of[number], wrong_of[number]] += 1
            place += 1
        most = max(1, 2 * max(wrong_of, default=0))
        outcomes = [(wrong - bound * kept, number) for (kept, wrong), number in alike.items() if number]
        if _capital(outcomes, 1 / ((1 - bound) * most)) < needed:
            return
        yield step


def capital(outcomes: Iterable[float], largest: float) -> float:
    """What betting against a mean above 0 has made of 1, as the mean over several shares of the largest bet.

    Its expectation is at most 1 where the mean is 0 or more and no outcome is above ``1 / largest``, so that it is above 40 with a
    probability of 1 in 40 at most (Ville).

    Example:
        >>> capital([], 1.0)
        1.0
    """
    return _capital([(value, 1) for value in outcomes], largest)


def _capital(counted: Sequence[tuple[float, int]], largest: float) -> float:
    """The same of outcomes with how often each came."""
    logs = []
    for share in _SHARES:
        factors = [(1 - share * largest * value, number) for value, number in counted]
        logs.append(
            -math.inf if any(factor <= 0 for factor, _ in factors) else sum(number * math.log(factor) for factor, number in factors)
        )
    return sum(math.exp(min(log, 700.0)) for log in logs) / len(logs)
