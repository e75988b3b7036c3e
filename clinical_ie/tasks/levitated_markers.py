"""Levitated markers: mentions of a window, marked behind its text, and which window decides what.

A window is encoded once, with two *levitated* markers for each mention behind its text. A marker takes the position of the mention's
first or last sub-word, so overlapping and nested mentions do not disturb each other or the text.

Reference: Ye et al., Packed levitated marker for entity and relation extraction (ACL 2022). We let all mentions of a window see each
other and the text see them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from clinical_ie.document import Document, Entity, Fragment
from clinical_ie.schema import Schema
from clinical_ie.segmentation.sentences import cut_points, sentences
from clinical_ie.segmentation.windows import starts_of, windows
from clinical_ie.tasks.task import Example, SubwordEncoder

MARKERS = ("head start", "head end", "tail start", "tail end")
"""Markers of one entity type. A levitated mention has the first two, whatever it is asked about."""

K = TypeVar("K")
Range = tuple[int, int]
"""First sub-word, and one past the last."""


@dataclass(frozen=True, slots=True)
class MarkedExample(Example):
    """A window with marked mentions.

    Ids below zero in `input_ids` are markers: ``-1 - (4 * rank of the entity type + rank in MARKERS)``. `marker_positions` are the
    places of each mention's start and end marker in the input.
    """

    position_ids: tuple[int, ...]
    mentions: tuple[str, ...]
    types: tuple[int, ...]
    marker_positions: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class MarkedMention:
    """A mention, the rank of its type, its sub-words and its sentence."""

    entity: Entity
    type: int
    first: int
    last: int
    sentence: int


@dataclass(frozen=True, slots=True)
class MarkedWindow:
    """Input of a window: its sub-words and markers, their positions, and the mentions that it holds whole, by place."""

    input_ids: tuple[int, ...]
    position_ids: tuple[int, ...]
    shown: tuple[int, ...]
    marker_positions: tuple[tuple[int, int], ...]


def marked_mentions(document: Document, schema: Schema, offsets: Sequence[Fragment]) -> list[MarkedMention]:
    """Mentions of the schema's types in text order; those of which the tokenizer leaves nothing are left out."""
    types = {name: rank for rank, name in enumerate(schema.entity_names)}
    ends = [end for _, end in offsets]
    starts = [start for start, _ in offsets]
    sentence_starts = [start for start, _ in sentences(document.text)]
    found = []
    for entity in document.entities:
        first = bisect_right(ends, entity.start)
        last = max(bisect_left(starts, entity.end), first + 1)
        if entity.type in types and first < len(ends):
            found.append(MarkedMention(entity, types[entity.type], first, last, bisect_right(sentence_starts, offsets[first][0])))
    return sorted(found, key=lambda mention: (mention.first, -mention.last, mention.entity.type))


def owned_windows(
    text: str, offsets: Sequence[Fragment], budget: int, overlap: int, asked: Mapping[K, Range]
) -> Iterator[tuple[int, Range, list[K]]]:
    """Number, range and questions of each window that has any; the window with most context around a question owns it.

    Args:
        text: Of the document.
        offsets: Of its sub-words.
        budget: Most sub-words of text in a window; no question spans more.
        overlap: Sub-words that a window shares with the next one.
        asked: Question -> the sub-words that it is about. Where no window holds them all, one more is made around them.
    """
    count = len(offsets)
    preferred = starts_of(cut_points(text), [start for start, _ in offsets])
    cuts = [(cut.first, cut.last) for cut in windows(count, budget, min(overlap, (budget - 1) // 2), preferred)]
    owned: dict[Range, list[K]] = {cut: [] for cut in cuts}
    added: dict[Range, None] = {}
    firsts, lasts = [cut[0] for cut in cuts], [cut[1] for cut in cuts]
    for question, (left, right) in asked.items():
        fitting = cuts[bisect_left(lasts, right) : bisect_right(firsts, left)]
        fitting += [cut for cut in added if cut[0] <= left and right <= cut[1]]
        if not fitting:
            first = max(0, min(left - (budget - (right - left)) // 2, count - budget))
            fitting = [(first, min(count, first + budget))]
            added[fitting[0]] = None
        best = max(fitting, key=lambda cut: (_margin(cut, left, right, count), -cut[0]))
        owned.setdefault(best, []).append(question)
    for number, (cut, inside) in enumerate(sorted(owned.items(), key=lambda pair: pair[0])):
        if inside:
            yield number, cut, inside


def marked_window(cut: Range, ids: Sequence[int], mentions: Sequence[MarkedMention], encoder: SubwordEncoder) -> MarkedWindow:
    """A window's text with the markers of all its mentions behind it.

    Args:
        cut: Its sub-words.
        ids: Of the document.
        mentions: Of the document, in text order.
        encoder: Gives what stands around a text.
    """
    first, last = cut
    begins = [mention.first for mention in mentions]
    begun = range(bisect_left(begins, first), bisect_left(begins, last))
    shown = tuple(place for place in begun if mentions[place].last <= last)
    shift = len(encoder.prefix) - first
    text = [*encoder.prefix, *ids[first:last], *encoder.suffix]
    positions: list[tuple[int, int]] = []
    marker_ids: list[int] = []
    marker_position_ids: list[int] = []
    for place in shown:
        mention = mentions[place]
        positions.append((len(text) + len(marker_ids), len(text) + len(marker_ids) + 1))
        marker_ids += [-1 - len(MARKERS) * mention.type, -2 - len(MARKERS) * mention.type]
        marker_position_ids += [mention.first + shift, mention.last - 1 + shift]
    return MarkedWindow((*text, *marker_ids), (*range(len(text)), *marker_position_ids), shown, tuple(positions))


def _margin(cut: Range, left: int, right: int, count: int) -> int:
    """Sub-words of context on the poorer side; an end of the note is as good as any context."""
    before = count if cut[0] == 0 else left - cut[0]
    after = count if cut[1] == count else cut[1] - right
    return min(before, after)
