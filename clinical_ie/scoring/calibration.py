"""Calibration: how far confidences are shares of what is right, and one temperature that brings them nearer.

A temperature divides the log-odds of the confidence that an annotation is right. It changes no order (but that what is within a millionth
of 0 or 1 is equally sure then), so that whatever is chosen by a threshold stays the same choice, and it needs nothing but confidences
and what was right: taggers, readers, classifiers and decoders are calibrated alike.

References: Guo et al., On calibration of modern neural networks (ICML 2017), for temperature scaling and the expected calibration
error (ECE); Kuleshov & Liang, Calibrated structured prediction (NIPS 2015), for recalibrating the probability of a part of an output;
Nguyen & O'Connor, Posterior calibration and exploratory analysis for natural language processing models (EMNLP 2015), for bins of
equal mass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from clinical_ie.document import Document

FEWEST = 100
"""Predicted annotations from which a temperature is learned."""
FEWEST_OF_EACH = 5
"""Of them, right ones and wrong ones."""
BINS = 15
_EDGE = 1e-6
_HOTTEST = 20.0

Pair = tuple[float, bool]
"""A confidence, and whether the annotation is right."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Annotations of about the same confidence."""

    number: int
    confidence: float
    right: float


def bins(pairs: Iterable[Pair], most: int = BINS) -> list[Bin]:
    """Mean confidence and share of right ones in bins of equal mass, from the least sure to the surest."""
    ordered = sorted(pairs)
    edges = [len(ordered) * rank // most for rank in range(most + 1)]
    found = []
    for first, last in pairwise(edges):
        if number := last - first:
            inside = ordered[first:last]
            found.append(Bin(number, math.fsum(sure for sure, _ in inside) / number, sum(right for _, right in inside) / number))
    return found


def expected_calibration_error(pairs: Iterable[Pair], most: int = BINS) -> float:
    """The mean over annotations of how far confidence and share of right ones are apart in their bin; 0 of none.

    Example:
        >>> expected_calibration_error([(0.75, True), (0.75, False)], most=1)
        0.25
    """
    found = bins(pairs, most)
    total = sum(one.number for one in found)
    return math.fsum(one.number * abs(one.confidence - one.right) for one in found) / total if total else 0.0


def tempered(confidence: float, temperature: float) -> float:
    """A confidence whose log-odds are divided by a temperature.

    Confidences within a millionth of 0 or 1 count as that far from it, as they did when the temperature was learned: a softmax that is
    rounded to 1 is not sure beyond all doubt.

    Example:
        >>> tempered(0.9, 1.0), tempered(0.5, 3.0), round(tempered(0.9, 2.0), 4), round(tempered(1.0, 2.0), 4)
        (0.9, 0.5, 0.75, 0.999)
    """
    return confidence if temperature == 1 else _probability(_log_odds(_inner(confidence)) / temperature)


def untempered(confidence: float, temperature: float) -> float:
    """What `tempered` has made a confidence of, but for what it takes for equally sure.

    Example:
        >>> round(untempered(tempered(0.9, 2.0), 2.0), 6), round(untempered(tempered(1.0, 0.5), 0.5), 6)
        (0.9, 0.999999)
    """
    if temperature == 1:
        return confidence
    if confidence in (0.0, 1.0):  # what was sharpened beyond what a number holds
        return _inner(confidence)
    return _inner(_probability(_log_odds(confidence) * temperature))


def _inner(confidence: float) -> float:
    return min(max(confidence, _EDGE), 1 - _EDGE)


def _log_odds(confidence: float) -> float:
    return math.log(confidence) - math.log1p(-confidence)


def _probability(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))


def fitted_temperature(pairs: Sequence[Pair]) -> float:
    """The temperature under which what is right is likeliest (the log loss is least), from 1/20 to 20.

    Confidences within a millionth of 0 or 1 count as that far from it: one that is sure and wrong does not decide alone.
    """
    odds = [_log_odds(_inner(sure)) * (1 if right else -1) for sure, right in pairs]

    def loss(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        return math.fsum(math.log1p(math.exp(-odd * scale)) if odd * scale > -30 else -odd * scale for odd in odds)

    # The loss is convex in 1 / temperature, so it has one valley in its logarithm too: a golden-section search finds it.
    low, high = -math.log(_HOTTEST), math.log(_HOTTEST)
    golden = (math.sqrt(5) - 1) / 2
    while high - low > 1e-6:
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return math.exp((low + high) / 2)


@dataclass(frozen=True, slots=True)
class Temperature:
    """The temperature of a kind of annotation.

    Attributes:
        value: It; 1 where none was learned.
        annotations: How many it was learned from, or could have been.
        reason: Why none was learned; empty where one was.
    """

    value: float
    annotations: int
    reason: str = ""

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Temperature:
        """Learned from predicted annotations, if they are enough."""
        right = sum(one for _, one in pairs)
        if len(pairs) < FEWEST or min(right, len(pairs) - right) < FEWEST_OF_EACH:
            found = f"{len(pairs)} predicted annotations, {len(pairs) - right} of them wrong"
            return cls(1.0, len(pairs), f"{found}; needs {FEWEST}, {FEWEST_OF_EACH} right and {FEWEST_OF_EACH} wrong")
        return cls(fitted_temperature(pairs), len(pairs))


Temperatures = Mapping[str, Mapping[str, Any]]
"""Kind of annotation -> what `Temperature` holds, as plain data: as a checkpoint has it for a corpus and a task."""


def to_plain(temperatures: Mapping[str, Temperature]) -> dict[str, dict[str, Any]]:
    """As a checkpoint has them."""
    return {
        kind: {"temperature": one.value, "annotations": one.annotations, **({"reason": one.reason} if one.reason else {})}
        for kind, one in temperatures.items()
    }


def calibrated(document: Document, temperatures: Temperatures | None) -> Document:
    """A predicted document with calibrated confidences; the same one where no temperature was learned."""
    values = {kind: float(one["temperature"]) for kind, one in (temperatures or {}).items()}
    if all(value == 1 for value in values.values()):
        return document
    mentions, links, attributes = (values.get(kind, 1.0) for kind in ("entities", "relations", "attributes"))

    def of(confidence: float | None, temperature: float) -> float | None:
        return None if confidence is None else tempered(confidence, temperature)

    return replace(
        document,
        entities=tuple([replace(one, confidence=of(one.confidence, mentions)) for one in document.entities]),
        relations=tuple([replace(one, confidence=of(one.confidence, links)) for one in document.relations]),
        events=tuple(
            [
                replace(
                    one,
                    confidence=of(one.confidence, mentions),
                    argument_confidences=tuple([of(value, links) for value in one.argument_confidences]),
                )
                for one in document.events
            ]
        ),
        attributes=tuple([replace(one, confidence=of(one.confidence, attributes)) for one in document.attributes]),
    )


def described(pairs: Sequence[Pair], temperature: float) -> dict[str, Any]:
    """Expected calibration error before and after a temperature, and the bins after it, as ``results.json`` has them.

    Args:
        pairs: Calibrated confidences, and what is right.
        temperature: With which they were calibrated.
    """
    before = [(untempered(sure, temperature), right) for sure, right in pairs]
    return {
        "annotations": len(pairs),
        "temperature": temperature,
        "ece_before": expected_calibration_error(before),
        "ece": expected_calibration_error(pairs),
        "bins_before": [[one.number, one.confidence, one.right] for one in bins(before)],
        "bins": [[one.number, one.confidence, one.right] for one in bins(pairs)],
    }
