"""The event rules of 2022 n2c2 Track 2 (SHAC).

Events are aligned by their triggers; arguments are compared inside aligned events only. A trigger and an argument are
known by the type of their entity (BRAT's ``T`` line). What the event calls them, its type and its roles, is not looked at.

Reference: Lybarger, Yetisgen, Uzuner, The 2022 n2c2/UW shared task on extracting social determinants of health,
    JAMIA 30(8), 2023; the task's scorer, brat_scoring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from clinical_ie.document import Document
from clinical_ie.schema import Schema
from clinical_ie.scoring.counts import DocumentCounts, Kind
from clinical_ie.scoring.english_tokens import english_tokenizer
from clinical_ie.scoring.matching import Interval, overlapping
from clinical_ie.scoring.rule_set import RuleSet

TriggerMatch = Literal["overlap", "exact", "min_dist"]
SpanMatch = Literal["exact", "overlap", "partial"]
LabelMatch = Literal["label", "exact", "overlap"]
LABELLED = ("StatusTime", "StatusEmploy", "TypeLiving")
"""Types of arguments that are compared by value; all others are compared by span."""
NO_SUBTYPE = "N/A"
TRIGGER = "Trigger"


@dataclass(slots=True)
class _Mention:
    """A trigger or an argument: type, first start and last end, value (of the ``A`` line), and text without the gaps."""

    type: str
    span: Interval
    value: str | None
    text: str


@dataclass(slots=True)
class _Event:
    trigger: _Mention
    arguments: list[_Mention]


class Shac2022(RuleSet):
    """Counts per (event, argument, subtype); the subtype is a mention's value.

    Args:
        triggers: Triggers of one type are equal if they overlap (the primary criterion), if both ends are equal, or
            greedily by ascending distance of their midpoints.
        span_only: Arguments outside of `LABELLED`: both ends equal (primary), overlap, or counted by tokens (partial):
            every overlapping pair adds the tokens of its longest common run, as the official program counts, so that
            true positives may exceed the gold tokens. Values are ignored.
        labelled: Arguments of the types in `LABELLED`: equal values (primary; none equals none), or their spans too.
        tokens: Splits the text of an argument for `partial`; the official program's tokenizer when left out.

    Raises:
        SettingError: `partial` without `tokens` where spaCy is not installed.
    """

    name = "shac-2022"
    files = "equal"
    macro = "rows"

    def __init__(
        self,
        triggers: TriggerMatch = "overlap",
        span_only: SpanMatch = "exact",
        labelled: LabelMatch = "label",
        tokens: Callable[[str], list[str]] | None = None,
    ) -> None:
        self.triggers, self.span_only, self.labelled = triggers, span_only, labelled
        self.tokens = tokens or (english_tokenizer() if span_only == "partial" else str.split)

    @classmethod
    def unfit(cls, schema: Schema, finds: Kind) -> str:
        """Why these rules count nothing: nobody finds events."""
        if finds != "relations":
            return f"the task finds {'mentions' if finds == 'entities' else finds}, and these rules count events"
        return "" if schema.events else "its schema has no events"

    def count(self, gold: Document, predicted: Document) -> DocumentCounts:
        """The counts of one document."""
        ours, theirs = _events(gold), _events(predicted)
        rows: dict[tuple[str, str, str], list[int]] = {}

        def add(event: _Event, argument: str, value: str | None, column: int, number: int = 1) -> None:
            rows.setdefault((event.trigger.type, argument, value or NO_SUBTYPE), [0, 0, 0])[column] += number

        for column, events in enumerate((ours, theirs)):
            for event in events:
                add(event, TRIGGER, event.trigger.value, column)
                for argument in event.arguments:
                    add(event, argument.type, argument.value, column, self._size(argument))
        for first, second in self._aligned([event.trigger for event in ours], [event.trigger for event in theirs]):
            event = ours[first]
            add(event, TRIGGER, event.trigger.value, 2)
            free = list(theirs[second].arguments)
            for argument in event.arguments:
                if self._by_tokens(argument):
                    for other in theirs[second].arguments:
                        if other.type == argument.type and _overlap(other, argument):
                            add(event, argument.type, argument.value, 2, self._common_tokens(argument, other))
                elif (place := self._partner(argument, free)) is not None:
                    del free[place]
                    add(event, argument.type, argument.value, 2)
        return DocumentCounts(gold.id, events={key: (a, b, c) for key, (a, b, c) in sorted(rows.items())})

    def _aligned(self, gold: Sequence[_Mention], predicted: Sequence[_Mention]) -> list[tuple[int, int]]:
        """Pairs of equal triggers, one to one, greedily: in order of the gold events and then the predicted ones, or of distance."""
        if self.triggers == "min_dist":
            distances = [
                (abs(sum(first.span) - sum(second.span)), i, j)  # twice the distance of the midpoints
                for i, first in enumerate(gold)
                for j, second in enumerate(predicted)
                if first.type == second.type
            ]
            pairs = [(i, j) for _, i, j in sorted(distances)]
        else:
            near = overlapping([one.span for one in gold], [one.span for one in predicted])
            pairs = [
                (i, j)
                for i, options in enumerate(near)
                for j in options
                if gold[i].type == predicted[j].type and (self.triggers == "overlap" or gold[i].span == predicted[j].span)
            ]
        used_gold: set[int] = set()
        used_predicted: set[int] = set()
        found = []
        for i, j in pairs:
            if i not in used_gold and j not in used_predicted:
                used_gold.add(i)
                used_predicted.add(j)
                found.append((i, j))
        return found

    def _partner(self, argument: _Mention, free: Sequence[_Mention]) -> int | None:
        """The place of the first free argument that equals this one."""
        labelled = argument.type in LABELLED
        criterion = self.labelled if labelled else self.span_only
        for place, other in enumerate(free):
            if other.type != argument.type or (labelled and other.value != argument.value):
                continue
            if criterion == "label" or (other.span == argument.span if criterion == "exact" else _overlap(other, argument)):
                return place
        return None

    def _by_tokens(self, argument: _Mention) -> bool:
        return self.span_only == "partial" and argument.type not in LABELLED

    def _size(self, argument: _Mention) -> int:
        return len(self.tokens(argument.text)) if self._by_tokens(argument) else 1

    def _common_tokens(self, first: _Mention, second: _Mention) -> int:
        """The length of the longest run of tokens in both."""
        left, right = self.tokens(first.text), self.tokens(second.text)
        return SequenceMatcher(None, left, right).find_longest_match().size


def _overlap(first: _Mention, second: _Mention) -> bool:
    return first.span[0] < second.span[1] and second.span[0] < first.span[1]


def _events(document: Document) -> list[_Event]:
    """Events with their entities' types, hulls and values.

    The official program stops at a mention with two different values. Here the attribute that is named after the
    mention's type counts (``StatusTimeVal`` of a StatusTime), or else the last one.
    """
    anchors, values = document.anchors(), document.values()

    def mention(target: str) -> _Mention:
        entity = anchors[target]
        options = sorted(values.get(entity.id, {}).items(), key=lambda option: entity.type in option[0])
        value = options[-1][1] if options else None
        return _Mention(entity.type, (entity.start, entity.end), value, " ".join(document.covered(entity.span).split()))

    return [_Event(mention(event.trigger), [mention(target) for _, target in event.arguments]) for event in document.events]
