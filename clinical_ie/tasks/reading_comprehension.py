"""Extraction as reading comprehension: a query and a context in, spans out.

Every type has a query, so mentions of different types may overlap, nest or cover the same words. Two ways to show
queries to an encoder: ``single``, one pass for each query before its context (the study's), and ``packed``, where the context is
encoded once and every query is one marker behind it. The marker's vector comes from the query's words, which are encoded
once for a batch; it stands at the position that follows the context, or where the head of a relation begins. Packed queries see the
context and nothing sees them, so an answer does not depend on what else is asked.

Reference: Li et al., A unified MRC framework for named entity recognition (ACL 2020).
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from clinical_ie.document import Document, Entity, Fragment, Span
from clinical_ie.errors import SettingError
from clinical_ie.schema import Schema
from clinical_ie.segmentation.sentences import cut_points
from clinical_ie.segmentation.windows import starts_of, windows
from clinical_ie.tasks.links import LinkLabel, LinkLabels, linked
from clinical_ie.tasks.task import Coverage, Example, Source, Task
from clinical_ie.tasks.units import unit_range, units_of, words_of

Encoding = Literal["packed", "single"]
QUERY_MARKER = -1
"""Stands in `input_ids` before a query, or for it; its answers are read off its vector."""

UNGROUNDED = "answers that touch no mention of a legal type"
"""The outcome under which `RelationReading` counts what it has to drop."""

SpanOutput = Sequence[tuple[int, int, int, float]]
"""Query, first unit, one past the last unit, score."""


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
class _Query:
    """What is asked, its sub-words, those of the head filled in, and the sub-word of the note where that begins."""

    key: tuple[str, ...]
    ids: tuple[int, ...]
    filled: tuple[int, ...] = ()
    anchor: int | None = None


@dataclass(frozen=True, slots=True)
class _Page:
    """A window of a note: sub-words ``[first, last)``, its words ``[left, right)``, of which ``[core_left, core_right)`` are owned."""

    first: int
    last: int
    left: int
    right: int
    core_left: int
    core_right: int


class _Reading(Task[ReadingExample]):
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

    def _text(self, name: str, definition: str) -> str:
        words = name.replace("_", " ").replace("-", " ")
        return f"{words}: {definition}" if self.definitions and definition else words

    def _pages(
        self, document: Document, ids: Sequence[int], offsets: Sequence[Fragment], budget: int
    ) -> tuple[list[_Page], list[Fragment], list[int]]:
        units, firsts, unit_of = units_of(document.text, offsets)
        preferred = starts_of(cut_points(document.text), [start for start, _ in offsets])
        pages = []
        for cut in windows(len(ids), budget, min(self.overlap, (budget - 1) // 2), preferred):
            left, right = unit_range(unit_of, firsts, cut.first, cut.last)
            if left < right:
                pages.append(_Page(cut.first, cut.last, left, right, *unit_range(unit_of, firsts, cut.core_first, cut.core_last)))
        return pages, units, firsts

    def _budget(self, source: Source, queries: Iterable[_Query]) -> int:
        longest = 1 + (max((len(query.ids + query.filled) for query in queries), default=0) if self.encoding == "single" else 0)
        budget = self.window - len(source.encoder.prefix) - 2 * len(source.encoder.suffix) - longest
        if budget < 8:
            raise SettingError(
                f"a window of {self.window} leaves {budget} sub-words of text beside a query of {longest}; give a larger one"
            )
        return budget

    def _inputs(
        self,
        name: str,
        document: Document,
        source: Source,
        page: _Page,
        ids: Sequence[int],
        units: Sequence[Fragment],
        firsts: Sequence[int],
        asked: Sequence[tuple[_Query, Sequence[tuple[int, int]]]],
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
            some = asked[start : start + size]
            if self.encoding == "packed":
                row = [*prefix, *context, *suffix]
                shift = len(prefix) - page.first
                behind = len(row)
                positions = [
                    *range(behind),
                    *(behind if query.anchor is None else min(query.anchor, page.last - 1) + shift for query, _ in some),
                ]
                places = list(range(behind, behind + len(some)))
                row += [QUERY_MARKER] * len(some)
            else:
                ((query, _),) = some
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
                tuple(query.key for query, _ in some),
                tuple(tuple((a - page.left, b - page.left) for a, b in spans) for _, spans in some),
                tuple((*prefix, *query.ids, *suffix) for query, _ in some) if self.encoding == "packed" else (),
                tuple(query.filled for query, _ in some) if self.encoding == "packed" else (),
            )


class EntityReading(_Reading):
    """Mentions as answers to one query for each type."""

    def examples(
        self, document: Document, source: Source, coverage: Coverage | None = None, *, training: bool = False
    ) -> list[ReadingExample]:
        """Windows with a query for each entity type."""
        coverage = Coverage() if coverage is None else coverage
        queries = [
            _Query((entity.name,), tuple(source.encoder.encode(self._text(entity.name, entity.definition))[0]))
            for entity in source.schema.entities
        ]
        ids, offsets = source.encoder.encode(document.text)
        pages, units, firsts = self._pages(document, ids, offsets, self._budget(source, queries))
        answers = self._answers(document, source.schema, pages, units, coverage)
        found: list[ReadingExample] = []
        for number, page in enumerate(pages):
            asked = [
                (query, [span for span in answers[query.key[0]] if page.left <= span[0] and span[1] <= page.right]) for query in queries
            ]
            name = f"{source.corpus}/{document.id}#{number}"
            found += self._inputs(name, document, source, page, ids, units, firsts, asked, training)
        return found

    def _answers(
        self, document: Document, schema: Schema, pages: Sequence[_Page], units: Sequence[Fragment], coverage: Coverage
    ) -> dict[str, list[tuple[int, int]]]:
        """Type -> spans in words; what cannot be said is counted, each mention once."""
        answers: dict[str, list[tuple[int, int]]] = {name: [] for name in schema.entity_names}
        edges = {edge for unit in units for edge in unit}
        for entity in sorted(document.entities, key=lambda entity: not {entity.start, entity.end} <= edges):  # whole words first
            if entity.type not in answers:
                continue
            coverage.gold += 1
            span = words_of(entity.span, units)
            if entity.span.discontinuous:
                coverage.unrepresentable["discontinuous"] += 1
            elif span is None:
                coverage.unrepresentable["no word in it"] += 1
            elif span in answers[entity.type]:
                coverage.unrepresentable["annotated twice"] += 1
            elif not any(page.core_left <= span[0] < page.core_right and span[1] <= page.right for page in pages):
                coverage.unrepresentable["longer than the overlap of windows"] += 1
            else:
                if (units[span[0]][0], units[span[1] - 1][1]) != (entity.start, entity.end):
                    coverage.unrepresentable["ends inside a word or in white space"] += 1  # asked for all the same, as the whole words
                answers[entity.type].append(span)
        return answers

    def annotations(
        self,
        document: Document,
        examples: Sequence[ReadingExample],
        outputs: Mapping[str, SpanOutput],
        schema: Schema,
        outcomes: Counter[str] | None = None,
    ) -> Document:
        """A document with the mentions that each window owns."""
        spans: set[tuple[str, int, int]] = set()
        for example in examples:
            for query, first, last, _ in outputs[example.id]:
                if example.owned[0] <= first < example.owned[1]:
                    spans.add((example.keys[query][0], example.units[first][0], example.units[last - 1][1]))
        ordered = sorted(spans, key=lambda mention: (mention[1], -mention[2], mention[0]))
        return Document(
            document.id, document.text, tuple(Entity(f"T{n}", kind, Span.of(a, b)) for n, (kind, a, b) in enumerate(ordered, 1))
        )


class RelationReading(_Reading):
    """The second pass: tails as answers to one query for each head and label, the head's words filled in.

    The marker of a query stands where its head begins. An answer is given to the known mention of a legal type with the same
    words, else to the one that shares most characters with it; answers that touch none are counted and dropped.
    """

    finds: ClassVar[Literal["entities", "relations"]] = "relations"
    needs_mentions: ClassVar[bool] = True

    def examples(
        self, document: Document, source: Source, coverage: Coverage | None = None, *, training: bool = False
    ) -> list[ReadingExample]:
        """Windows with the queries of the heads they own."""
        coverage = Coverage() if coverage is None else coverage
        coverage.of = "links"
        labels = LinkLabels(source.schema)
        ids, offsets = source.encoder.encode(document.text)
        ends = [end for _, end in offsets]
        asked_of = {
            entity.id: [
                self._query(document, source, entity, labels, rank, bisect_right(ends, entity.start))
                for rank in self._asked(labels, entity.type)
            ]
            for entity in document.entities
        }
        pages, units, firsts = self._pages(
            document, ids, offsets, self._budget(source, (query for found in asked_of.values() for query in found))
        )
        unit_ends = [end for _, end in units]
        words = {entity.id: words_of(entity.span, units) for entity in document.entities}
        gold = self._gold(document, labels, words, units, pages, coverage)
        found: list[ReadingExample] = []
        for number, page in enumerate(pages):
            asked = [
                (query, gold.get(query.key, []))
                for entity in document.entities
                if page.core_left <= min(bisect_right(unit_ends, entity.start), len(units) - 1) < page.core_right
                for query in asked_of[entity.id]
            ]
            name = f"{source.corpus}/{document.id}#{number}"
            found += self._inputs(name, document, source, page, ids, units, firsts, asked, training)
            coverage.candidates += len(asked)
        return found

    def _asked(self, labels: LinkLabels, head: str) -> list[int]:
        """Ranks of the labels that a head of this type may have."""
        ranks = {rank for tail in labels.schema.entity_names for rank in labels.legal(head, tail)}
        return sorted(ranks)

    def _query(self, document: Document, source: Source, head: Entity, labels: LinkLabels, rank: int, anchor: int) -> _Query:
        label = labels.labels[rank]
        meant = next(r.definition for r in source.schema.relations if r.name == label.relation)
        value = f" {label.value}" if label.value is not None else ""
        asked, _ = source.encoder.encode(f"{self._text(label.relation + value, meant)} {self._text(head.type, '')}")
        filled, _ = source.encoder.encode(document.covered(head.span))
        return _Query((head.id, str(rank)), tuple(asked), tuple(filled), anchor)

    def _gold(
        self,
        document: Document,
        labels: LinkLabels,
        words: Mapping[str, tuple[int, int] | None],
        units: Sequence[Fragment],
        pages: Sequence[_Page],
        coverage: Coverage,
    ) -> dict[tuple[str, ...], list[tuple[int, int]]]:
        """Key -> answers in words, for the window that owns the head."""
        gold: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for head, tail, rank in labels.gold(document):
            coverage.gold += 1
            at, span = words[head.id], words[tail.id]
            if rank is None:
                coverage.unrepresentable["the schema does not allow it"] += 1
            elif at is None or span is None:
                coverage.unrepresentable["no word in it"] += 1
            elif self._grounded(document, labels, head, rank, Span.of(units[span[0]][0], units[span[1] - 1][1])) != tail:
                coverage.unrepresentable["another mention has these words" if head.id != tail.id else "links a mention to itself"] += 1
            elif span in gold.get((head.id, str(rank)), []):
                coverage.unrepresentable["annotated twice"] += 1
            elif not any(p.core_left <= at[0] < p.core_right and p.left <= span[0] and span[1] <= p.right for p in pages):
                coverage.unrepresentable["no window holds both"] += 1
            else:
                gold.setdefault((head.id, str(rank)), []).append(span)
        return gold

    def annotations(
        self,
        document: Document,
        examples: Sequence[ReadingExample],
        outputs: Mapping[str, SpanOutput],
        schema: Schema,
        outcomes: Counter[str] | None = None,
    ) -> Document:
        """The document's entities with the links between them."""
        labels = LinkLabels(schema)
        by_id = {entity.id: entity for entity in document.entities}
        found: dict[tuple[str, str, LinkLabel], float] = {}
        for example in examples:
            for query, first, last, score in outputs[example.id]:
                head, rank = example.keys[query]
                answer = Span.of(example.units[first][0], example.units[last - 1][1])
                tail = self._grounded(document, labels, by_id[head], int(rank), answer)
                if outcomes is not None:
                    outcomes["answers" if tail is not None else UNGROUNDED] += 1
                if tail is not None:
                    key = head, tail.id, labels.labels[int(rank)]
                    found[key] = max(score, found.get(key, score))
        order = {entity.id: place for place, entity in enumerate(document.entities)}
        best: dict[tuple[str, str, str], tuple[float, LinkLabel]] = {}
        for (one, other, label), score in found.items():  # one value for each argument
            known = best.get((one, other, label.relation))
            if known is None or score > known[0]:
                best[one, other, label.relation] = score, label
        links = [(one, other, label, score) for (one, other, _), (score, label) in best.items()]
        return linked(document, sorted(links, key=lambda link: (order[link[0]], order[link[1]], link[2].name)), schema)

    def _grounded(self, document: Document, labels: LinkLabels, head: Entity, rank: int, answer: Span) -> Entity | None:
        """The mention that an answer means."""
        best: tuple[int, int, int] | None = None
        found = None
        for entity in document.entities:
            if entity.id == head.id or rank not in labels.legal(head.type, entity.type):
                continue
            shared = min(entity.end, answer.end) - max(entity.start, answer.start)
            if shared <= 0 or not entity.span.overlaps(answer):
                continue
            exact = (entity.start, entity.end) == (answer.start, answer.end)
            key = int(exact), shared, -(entity.end - entity.start)
            if best is None or key > best:
                best, found = key, entity
        return found
