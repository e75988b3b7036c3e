"""Windows of a note with queries: the inputs of reading comprehension."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from clinical_ie.document import Document, Fragment
from clinical_ie.errors import SettingError
from clinical_ie.segmentation.sentences import cut_points
from clinical_ie.segmentation.windows import starts_of, windows
from clinical_ie.tasks.task import Example, Source, Task
from clinical_ie.tasks.units import unit_range, units_of

Encoding = Literal["packed", "single"]
QUERY_MARKER = -1
"""Stands in `input_ids` before a query, or for it; its answers are read off its vector."""


@dataclass(frozen=True, slots=True)
class ReadingExample(Example):
    """A window with queries.

    `units` are the characters of each word of the window and `positions` the sub-word that stands for it, `owned` the words whose
    answers count. `queries` are the places of the query markers, `keys` what each asks for, `spans` its gold answers in words.
    Under ``packed``, `asked` are the sub-words of each query and `filled` those of the head that is filled in.
    """

    position_ids: tuple[int, ...]
    units: tuple[Fragment, ...]
    positions: tuple[int, ...]
    owned: tuple[int, int]
    queries: tuple[int, ...]
    keys: tuple[tuple[str, ...], ...]
    spans: tuple[tuple[tuple[int, int], ...], ...]
    asked: tuple[tuple[int, ...], ...] = ()
    filled: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, its sub-words, those of the head filled in, and the sub-word of the note where that begins."""

    key: tuple[str, ...]
    ids: tuple[int, ...]
    filled: tuple[int, ...] = ()
    anchor: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A window of a note: sub-words ``[first, last)``, its words ``[left, right)``, of which ``[core_left, core_right)`` are owned."""

    first: int
    last: int
    left: int
    right: int
    core_left: int
    core_right: int


class Reading(Task[ReadingExample]):
    """What both readers share.

    Args:
        encoding: The context once with all queries, or one pass for each query.
        window: Most positions of an input: context and the longest query.
        overlap: Sub-words of context on each side of a window.
        queries_per_input: Most queries behind one context, under ``packed``.
        definitions: Ask with the definitions of the schema, not with names alone.
        negatives: Share of the queries without an answer that training sees.
        seed: Of that choice.
    """

    def __init__(
        self,
        encoding: Encoding = "packed",
        *,
        window: int = 320,
        overlap: int = 16,
        queries_per_input: int = 128,
        definitions: bool = True,
        negatives: float = 1.0,
        seed: int = 0,
    ) -> None:
        if not 0 <= negatives <= 1 or queries_per_input < 1:
            raise SettingError(f"negatives {negatives}, queries_per_input {queries_per_input}: expected a share and at least 1")
        self.encoding: Encoding = encoding
        self.window, self.overlap, self.queries_per_input = window, overlap, queries_per_input
        self.definitions, self.negatives, self.seed = definitions, negatives, seed

    def query_text(self, name: str, definition: str) -> str:
        """The words of a query."""
        words = name.replace("_", " ").replace("-", " ")
        return f"{words}: {definition}" if self.definitions and definition else words

    def pages(
        self, document: Document, ids: Sequence[int], offsets: Sequence[Fragment], budget: int
    ) -> tuple[list[Page], list[Fragment], list[int]]:
        """Windows of at most `budget` sub-words, the words of the note, and the first sub-word of each."""
        units, firsts, unit_of = units_of(document.text, offsets)
        preferred = starts_of(cut_points(document.text), [start for start, _ in offsets])
        pages = []
        for cut in windows(len(ids), budget, min(self.overlap, (budget - 1) // 2), preferred):
            left, right = unit_range(unit_of, firsts, cut.first, cut.last)
            if left < right:
                pages.append(Page(cut.first, cut.last, left, right, *unit_range(unit_of, firsts, cut.core_first, cut.core_last)))
        return pages, units, firsts

    def budget(self, source: Source, queries: Iterable[Query]) -> int:
        """Sub-words of text that a window has room for beside the longest query.

        Raises:
            SettingError: Hardly any.
        """
        longest = 1 + (max((len(query.ids + query.filled) for query in queries), default=0) if self.encoding == "single" else 0)
        budget = self.window - len(source.encoder.prefix) - 2 * len(source.encoder.suffix) - longest
        if budget < 8:
            raise SettingError(
                f"a window of {self.window} leaves {budget} sub-words of text beside a query of {longest}; give a larger one"
            )
        return budget

    def inputs(
        self,
        name: str,
        document: Document,
        source: Source,
        page: Page,
        ids: Sequence[int],
        units: Sequence[Fragment],
        firsts: Sequence[int],
        asked: Sequence[tuple[Query, Sequence[tuple[int, int]]]],
        training: bool,
    ) -> Iterator[ReadingExample]:
        """Examples of one window; gold spans are in words of the note."""
        if training and self.negatives < 1:
            draw = random.Random(f"{self.seed}/{name}")
            asked = [pair for pair in asked if pair[1] or draw.random() < self.negatives]
        size = self.queries_per_input if self.encoding == "packed" else 1
        prefix, suffix = source.encoder.prefix, source.encoder.suffix
        context = ids[page.first : page.last]
        for part, start in enumerate(range(0, len(asked), size)):
            part_asked = asked[start : start + size]
            if self.encoding == "packed":
                row = [*prefix, *context, *suffix]
                shift = len(prefix) - page.first
                behind = len(row)
                positions = [
                    *range(behind),
                    *(behind if query.anchor is None else min(query.anchor, page.last - 1) + shift for query, _ in part_asked),
                ]
                places = list(range(behind, behind + len(part_asked)))
                row += [QUERY_MARKER] * len(part_asked)
            else:
                ((query, _),) = part_asked
                row = [*prefix, QUERY_MARKER, *query.ids, *query.filled, *suffix]
                places = [len(prefix)]
                shift = len(row) - page.first
                row += [*context, *suffix]
                positions = list(range(len(row)))
                if query.anchor is not None:
                    positions[places[0]] = min(query.anchor, page.last - 1) + shift
            yield ReadingExample(
                f"{name}.{part}",
                document.id,
                source.corpus,
                tuple(row),
                tuple(positions),
                tuple(units[page.left : page.right]),
                tuple(first + shift for first in firsts[page.left : page.right]),
                (page.core_left - page.left, page.core_right - page.left),
                tuple(places),
                tuple(query.key for query, _ in part_asked),
                tuple(tuple((a - page.left, b - page.left) for a, b in spans) for _, spans in part_asked),
                tuple((*prefix, *query.ids, *suffix) for query, _ in part_asked) if self.encoding == "packed" else (),
                tuple(query.filled for query, _ in part_asked) if self.encoding == "packed" else (),
            )
