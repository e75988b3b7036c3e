"""The event rules of 2022 n2c2 Track 2 (SHAC).

Events are aligned by their triggers, arguments compared inside aligned events only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clinical_ie.document import Document, Entity, bare_role
from clinical_ie.scoring.counts import DocumentCounts
from clinical_ie.scoring.rules import RuleSet

TriggerMatch = Literal["overlap", "exact", "min_dist"]
SpanMatch = Literal["exact", "overlap", "partial"]
LabelMatch = Literal["label", "exact", "overlap"]
NO_SUBTYPE = "N/A"
TRIGGER = "Trigger"


@dataclass(slots=True)
class _Argument:
    role: str
    entity: Entity
    value: str | None


@dataclass(slots=True)
class _Event:
    type: str
    trigger: Entity
    arguments: list[_Argument]


class Shac2022(RuleSet):
    """Counts per (event, argument, subtype).

    Args:
        triggers: Triggers are equal if they overlap (the primary criterion), if both ends are equal, or
            greedily by ascending distance of their midpoints.
        span_only: Arguments without a value: both ends equal (primary), overlap, or counted by
            white-space tokens (partial).
        labelled: Arguments with a value: role and value equal (primary), or their spans too.
    """

    name = "shac-2022"
    files = "equal"
    macro = "rows"

    def __init__(self, triggers: TriggerMatch = "overlap", span_only: SpanMatch = "exact", labelled: LabelMatch = "label") -> None:
        self.triggers, self.span_only, self.labelled = triggers, span_only, labelled

    def count(self, gold: Document, predicted: Document) -> DocumentCounts:
        """The counts of one document."""
        ours, theirs = _events(gold), _events(predicted)
        rows: dict[tuple[str, str, str], list[int]] = {}

        def row(event: str, argument: str, subtype: str | None) -> list[int]:
            return rows.setdefault((event, argument, subtype or NO_SUBTYPE), [0, 0, 0])

        for side, (document, events) in enumerate(((gold, ours), (predicted, theirs))):
            for event in events:
                row(event.type, TRIGGER, None)[side] += 1
                for argument in event.arguments:
                    row(event.type, argument.role, argument.value)[side] += self._size(document, argument)
        for first, second in self._aligned(ours, theirs):
            row(ours[first].type, TRIGGER, None)[2] += 1
            free = list(theirs[second].arguments)
            for argument in ours[first].arguments:
                found = self._partner(gold, argument, free)
                if found is not None:
                    row(ours[first].type, argument.role, argument.value)[2] += self._shared(gold, argument, free.pop(found))
        return DocumentCounts(gold.id, events={key: (a, b, c) for key, (a, b, c) in sorted(rows.items())})

    def _aligned(self, gold: Sequence[_Event], predicted: Sequence[_Event]) -> list[tuple[int, int]]:
        """Pairs of events, one to one, in order of the gold events or of distance."""
        pairs = []
        for i, first in enumerate(gold):
            for j, second in enumerate(predicted):
                if first.type == second.type and self._same_trigger(first.trigger, second.trigger):
                    distance = abs(first.trigger.start + first.trigger.end - second.trigger.start - second.trigger.end)
                    pairs.append((distance if self.triggers == "min_dist" else 0, i, j))
        used_gold: set[int] = set()
        used_predicted: set[int] = set()
        found = []
        for _, i, j in sorted(pairs):
            if i not in used_gold and j not in used_predicted:
                used_gold.add(i)
                used_predicted.add(j)
                found.append((i, j))
        return found

    def _same_trigger(self, first: Entity, second: Entity) -> bool:
        if self.triggers == "min_dist":
            return True
        return first.span == second.span if self.triggers == "exact" else first.span.overlaps(second.span)

    def _partner(self, document: Document, argument: _Argument, free: Sequence[_Argument]) -> int | None:
        """The first free argument that equals this one; by tokens, the one that shares most."""
        best, best_shared = None, 0
        for index, other in enumerate(free):
            if other.role != argument.role or other.value != argument.value:
                continue
            span, theirs = argument.entity.span, other.entity.span
            if argument.value is not None:
                same = self.labelled == "label" or (span == theirs if self.labelled == "exact" else span.overlaps(theirs))
            elif self.span_only == "partial":
                if (shared := self._shared(document, argument, other)) > best_shared:
                    best, best_shared = index, shared
                continue
            else:
                same = span == theirs if self.span_only == "exact" else span.overlaps(theirs)
            if same:
                return index
        return best

    def _size(self, document: Document, argument: _Argument) -> int:
        by_tokens = self.span_only == "partial" and argument.value is None
        return len(_tokens(document, argument.entity)) if by_tokens else 1

    def _shared(self, document: Document, first: _Argument, second: _Argument) -> int:
        if self.span_only == "partial" and first.value is None:
            return len(_tokens(document, first.entity) & _tokens(document, second.entity))
        return 1


def _events(document: Document) -> list[_Event]:
    anchors, values = document.anchors(), document.values()
    events = []
    for event in document.events:
        arguments = []
        for role, target in event.arguments:
            entity = anchors[target]
            labels = values.get(entity.id, {})
            arguments.append(_Argument(bare_role(role), entity, next(iter(labels.values()), None)))
        events.append(_Event(event.type, anchors[event.trigger], arguments))
    return events


def _tokens(document: Document, entity: Entity) -> set[int]:
    """Starts of the white-space tokens that a mention covers."""
    starts = set()
    for start, end in entity.span.fragments:
        position = start
        for word in document.text[start:end].split():
            position = document.text.index(word, position)
            starts.add(position)
            position += len(word)
    return starts
