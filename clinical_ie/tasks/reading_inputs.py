"""Inputs of machine reading comprehension (MRC): context windows of a note with queries."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clinical_ie.document import Document, Fragment
from clinical_ie.errors import SettingError
from clinical_ie.segmentation.sentences import cut_points
from clinical_ie.segmentation.windows import starts_of, windows
from clinical_ie.tasks.task import Example, Source, SubwordEncoder, Task
from clinical_ie.tasks.units import unit_range, units_of

Encoding = Literal["packed", "single"]
QUERY_MARKER = -1
"""Stands in `input_ids` before a query, or for it; the heads read its hidden state."""
SpanOutput = Sequence[tuple[int, int, int, float, float | None]]
"""Query, first unit, one past the last unit, score, probability."""


@dataclass(frozen=True, slots=True)
class ReadingExample(Example):
    """A window with queries.

    `units` are the offsets of each word of the window and `positions` its first sub-word, `owned` the words whose answers count.
    `queries` are the places of the query markers, `keys` what each queries (a type, or a head and a label), `spans` its gold answers in
    words. Under ``packed``, `query_ids` are the sub-words of each query and `slot_ids` those of the head that fills its slot.
    """

    position_ids: tuple[int, ...]
    units: tuple[Fragment, ...]
    positions: tuple[int, ...]
    owned: tuple[int, int]
    queries: tuple[int, ...]
    keys: tuple[tuple[str, ...], ...]
    spans: tuple[tuple[tuple[int, int], ...], ...]
    query_ids: tuple[tuple[int, ...], ...] = ()
    slot_ids: tuple[tuple[int, ...], ...] = ()

    @property
    def targets(self) -> int:
        """Words, each for every query."""
        return len(self.positions) * len(self.queries)


@dataclass(frozen=True, slots=True)
class Query:
    """A query: its key, its sub-words, those of the head that fills its slot, and the sub-word of the note where that begins."""

    key: tuple[str, ...]
    ids: tuple[int, ...]
    slot_ids: tuple[int, ...] = ()
    anchor: int | None = None


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """A window of a note: sub-words ``[first, last)``, its words ``[left, right)``, of which ``[core_left, core_right)`` are owned."""

    first: int
    last: int
    left: int
    right: int
    core_left: int
    core_right: int


class ContextWindows(Sequence[ContextWindow]):
    """The windows of a note, whose owned words follow each other."""

    def __init__(self, windows: Sequence[ContextWindow]) -> None:
        self._windows = tuple(windows)
        self._cores = [window.core_left for window in windows]
        self._lefts = [window.left for window in windows]
        self._rights = [window.right for window in windows]

    def __getitem__(self, number: Any) -> Any:
        return self._windows[number]

    def __len__(self) -> int:
        return len(self._windows)

    def owner_number(self, word: int) -> int:
        """The number of the window that owns a word; -1 where none does."""
        number = bisect_right(self._cores, word) - 1
        return number if number >= 0 and word < self._windows[number].core_right else -1

    def owner(self, word: int) -> ContextWindow | None:
        """The window that owns a word; None where none does."""
        number = self.owner_number(word)
        return None if number < 0 else self._windows[number]

    def around(self, first: int, last: int) -> range:
        """The numbers of the windows that hold all words of ``[first, last)``."""
        return range(bisect_left(self._rights, last), bisect_right(self._lefts, first))


class Reading(Task[ReadingExample]):
    """The base of reading-comprehension tasks.

    Args:
        encoding: ``packed`` encodes a context once with all its queries, ``single`` once for each query.
        window: Most positions of an input: context and longest query.
        overlap: Sub-words of context on each side of a window.
        queries_per_input: Most queries behind one context, under ``packed``.
        definitions: Queries hold the definitions of the schema, not names alone.
        negatives: Share of the queries without an answer that are kept in training.
        seed: Of that choice; by default the run's (``seed_everything``).
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
        seed: int | None = None,
    ) -> None:
        if not 0 <= negatives <= 1 or queries_per_input < 1:
            raise SettingError(f"negatives {negatives}, queries_per_input {queries_per_input}: expected a share and at least 1")
        self.encoding: Encoding = encoding
        self.window, self.overlap, self.queries_per_input = window, overlap, queries_per_input
        self.definitions, self.negatives, self.seed = definitions, negatives, seed

    def gold_output(self, example: ReadingExample, encoder: SubwordEncoder) -> SpanOutput:
        """The gold answers of each query, all of the same score."""
        return [(query, first, last, 1.0, None) for query, spans in enumerate(example.spans) for first, last in spans]

    def query_text(self, name: str, definition: str) -> str:
        """The words of a query."""
        words = name.replace("_", " ").replace("-", " ")
        return f"{words}: {definition}" if self.definitions and definition else words

    def context_windows(
        self, document: Document, ids: Sequence[int], offsets: Sequence[Fragment], budget: int
    ) -> tuple[ContextWindows, list[Fragment], list[int]]:
        """Windows of at most `budget` sub-words, the words of the note, and the first sub-word of each."""
        units, firsts, unit_of = units_of(document.text, offsets)
        preferred = starts_of(cut_points(document.text), [start for start, _ in offsets])
        context_windows = []
        for cut in windows(len(ids), budget, min(self.overlap, (budget - 1) // 2), preferred):
            left, right = unit_range(unit_of, firsts, cut.first, cut.last)
            if left < right:
                context_windows.append(
                    ContextWindow(cut.first, cut.last, left, right, *unit_range(unit_of, firsts, cut.core_first, cut.core_last))
                )
        return ContextWindows(context_windows), units, firsts

    def budget(self, source: Source, queries: Iterable[Query]) -> int:
        """Sub-words of text in a window beside the longest query.

        Raises:
            SettingError: Fewer than 8.
        """
        longest = 1 + (max((len(query.ids + query.slot_ids) for query in queries), default=0) if self.encoding == "single" else 0)
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
        context: ContextWindow,
        ids: Sequence[int],
        units: Sequence[Fragment],
        firsts: Sequence[int],
        queries: Sequence[tuple[Query, Sequence[tuple[int, int]]]],
        training: bool,
    ) -> Iterator[ReadingExample]:
        """Examples of one window; gold spans are in words of the note."""
        if training and self.negatives < 1:
            draw = self.draw(name)
            queries = [pair for pair in queries if pair[1] or draw.random() < self.negatives]
        size = self.queries_per_input if self.encoding == "packed" else 1
        prefix, suffix = source.encoder.prefix, source.encoder.suffix
        context_ids = ids[context.first : context.last]
        for part, start in enumerate(range(0, len(queries), size)):
            part_queries = queries[start : start + size]
            if self.encoding == "packed":
                row = [*prefix, *context_ids, *suffix]
                shift = len(prefix) - context.first
                behind = len(row)
                positions = [
                    *range(behind),
                    *(behind if query.anchor is None else min(query.anchor, context.last - 1) + shift for query, _ in part_queries),
                ]
                places = list(range(behind, behind + len(part_queries)))
                row += [QUERY_MARKER] * len(part_queries)
            else:
                ((query, _),) = part_queries
                row = [*prefix, QUERY_MARKER, *query.ids, *query.slot_ids, *suffix]
                places = [len(prefix)]
                shift = len(row) - context.first
                row += [*context_ids, *suffix]
                positions = list(range(len(row)))
                if query.anchor is not None:
                    positions[places[0]] = min(query.anchor, context.last - 1) + shift
            yield ReadingExample(
                f"{name}.{part}",
                document.id,
                source.corpus,
                self.name,
                tuple(row),
                tuple(positions),
                tuple(units[context.left : context.right]),
                tuple(first + shift for first in firsts[context.left : context.right]),
                (context.core_left - context.left, context.core_right - context.left),
                tuple(places),
                tuple(query.key for query, _ in part_queries),
                tuple(tuple((a - context.left, b - context.left) for a, b in spans) for _, spans in part_queries),
                tuple((*prefix, *query.ids, *suffix) for query, _ in part_queries) if self.encoding == "packed" else (),
                tuple(query.slot_ids for query, _ in part_queries) if self.encoding == "packed" else (),
            )
