"""Extraction as machine reading comprehension (MRC, extractive question answering): a query and a context in, spans out.

Every type has a query, so mentions of different types may overlap, nest or cover the same words. Two ways to show
queries to an encoder: ``single``, one pass for each query before its context (the study's), and ``packed``, where the context is
encoded once and every query is one marker behind it. The marker's vector comes from the query's words, which are encoded
once for a batch; it stands at the position that follows the context, or where the head of a relation begins. Packed queries attend to
the context and are not attended to (directed attention), so an answer does not depend on other queries.

Reference: Li et al., A unified MRC framework for named entity recognition (ACL 2020).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from clinical_ie.document import Document, Entity, Fragment, Span
from clinical_ie.schema import Schema
from clinical_ie.scoring.matching import overlapping
from clinical_ie.tasks.coverage import Coverage, count_links, count_mentions
from clinical_ie.tasks.links import LinkLabel, LinkLabels, linked
from clinical_ie.tasks.reading_inputs import ContextWindows, Query, Reading, ReadingExample, SpanOutput
from clinical_ie.tasks.task import DIRECTED_ATTENTION, SHARED_POSITIONS, Finds, Source
from clinical_ie.tasks.units import inexact, words_of

UNGROUNDED = "answers that touch no mention of a legal type"
"""The outcome of `RelationReading` for answers that it drops."""


class EntityReading(Reading):
    """Entities as answers to one query for each type."""

    name: ClassVar[str] = "entity_reading"

    @property
    def needs(self) -> Mapping[str, str]:
        """Under ``packed``, queries that stand behind one context and do not see each other."""
        remedy = "set data.tasks.init_args.encoding to single (-c task/entity_reading_single)"
        return dict.fromkeys((SHARED_POSITIONS, DIRECTED_ATTENTION), remedy) if self.encoding == "packed" else {}

    def examples(
        self, document: Document, source: Source, coverage: Coverage | None = None, *, training: bool = False
    ) -> list[ReadingExample]:
        """Windows with a query for each entity type."""
        coverage = Coverage() if coverage is None else coverage
        document = document.joined()
        queries = [
            Query((entity.name,), tuple(source.encoder.encode(self.query_text(entity.name, entity.definition))[0]))
            for entity in source.schema.entities
        ]
        ids, offsets = source.encoder.encode(document.text)
        context_windows, units, firsts = self.context_windows(document, ids, offsets, self.budget(source, queries))
        answers = self._answers(document, source.schema, context_windows, units, coverage)
        inside = {name: _by_window(spans, context_windows) for name, spans in answers.items()}
        found: list[ReadingExample] = []
        for number, context in enumerate(context_windows):
            queries_with_spans = [(query, inside[query.key[0]][number]) for query in queries]
            name = self.id_of(document, source, number)
            found += self.inputs(name, document, source, context, ids, units, firsts, queries_with_spans, training)
        return found

    def _answers(
        self, document: Document, schema: Schema, context_windows: ContextWindows, units: Sequence[Fragment], coverage: Coverage
    ) -> dict[str, dict[tuple[int, int], None]]:
        """Type -> spans in words; what cannot be expressed is counted, each mention once."""
        answers: dict[str, dict[tuple[int, int], None]] = {name: {} for name in schema.entity_names}
        starts, ends = {start for start, _ in units}, {end for _, end in units}
        mentions = [entity for entity in document.entities if entity.type in answers]
        coverage.gold += len(mentions)
        for entity in sorted(mentions, key=lambda entity: entity.start not in starts or entity.end not in ends):  # whole words first
            span = words_of(entity.span, units)
            reason = "discontinuous" if entity.span.discontinuous else None
            if reason is None and span is None:
                reason = "no word in it"
            elif reason is None and span is not None:
                reason = inexact(document.text, entity.span, units[span[0]], units[span[1] - 1])
                if not _in_a_window(span, context_windows):
                    reason = reason or "longer than the overlap of windows"
                elif span not in answers[entity.type]:
                    answers[entity.type][span] = None  # trained as its whole words where it is not exact
                else:
                    reason = reason or "annotated twice"
            if reason is not None:
                coverage.unrepresentable[reason] += 1
        count_mentions(coverage, mentions, lambda targets: sum(self._exact(span, context_windows, units) for _, span in targets))
        return answers

    @staticmethod
    def _exact(span: Span, context_windows: ContextWindows, units: Sequence[Fragment]) -> bool:
        """Whether an answer can have a span: whole words inside the window that owns the first."""
        found = words_of(span, units)
        if span.discontinuous or found is None or not _in_a_window(found, context_windows):
            return False
        return (units[found[0]][0], units[found[1] - 1][1]) == (span.start, span.end)

    def annotations(
        self,
        document: Document,
        examples: Sequence[ReadingExample],
        outputs: Mapping[str, SpanOutput],
        schema: Schema,
        outcomes: Counter[str] | None = None,
    ) -> Document:
        """A document with the mentions that each window owns, with the confidence of that window."""
        spans: dict[tuple[str, int, int], float | None] = {}
        for example in examples:
            for query, first, last, _, confidence in outputs[example.id]:
                if example.owned[0] <= first < example.owned[1]:
                    spans[example.keys[query][0], example.units[first][0], example.units[last - 1][1]] = confidence
        ordered = sorted(spans, key=lambda mention: (mention[1], -mention[2], mention[0]))
        entities = [Entity(f"T{n}", kind, Span.of(a, b), spans[kind, a, b]) for n, (kind, a, b) in enumerate(ordered, 1)]
        return Document(document.id, document.text, tuple(entities))


def _in_a_window(span: tuple[int, int], context_windows: ContextWindows) -> bool:
    owner = context_windows.owner(span[0])
    return owner is not None and span[1] <= owner.right


def _by_window(spans: Iterable[tuple[int, int]], context_windows: ContextWindows) -> list[list[tuple[int, int]]]:
    """For each window the spans that lie inside it, in their order."""
    found: list[list[tuple[int, int]]] = [[] for _ in context_windows]
    for span in spans:
        for number in context_windows.around(*span):
            found[number].append(span)
    return found


class RelationReading(Reading):
    """Relations as answers to one query for each head and label, whose slot the head's words fill (multi-turn question answering).

    The marker of a query has the position of its head. An answer is grounded to the known mention of a legal type with the same
    words, else to the one that shares most characters with it; answers that touch none are counted and dropped.
    """

    name: ClassVar[str] = "relation_reading"
    finds: ClassVar[Finds] = "relations"
    needs_mentions: ClassVar[bool] = True

    @property
    def needs(self) -> Mapping[str, str]:
        """Queries that stand where their heads do, and under ``packed`` do not see each other."""
        directed = (DIRECTED_ATTENTION,) if self.encoding == "packed" else ()
        return dict.fromkeys((SHARED_POSITIONS, *directed), "take -c task/relation_classification_pair")

    def examples(
        self, document: Document, source: Source, coverage: Coverage | None = None, *, training: bool = False
    ) -> list[ReadingExample]:
        """Windows with the queries of the heads they own."""
        coverage = Coverage() if coverage is None else coverage
        coverage.of = "links"
        document, labels = document.joined(), LinkLabels(source.schema)
        ids, offsets = source.encoder.encode(document.text)
        ends = [end for _, end in offsets]
        asked = {name: self._questions(source, labels, name) for name in {entity.type for entity in document.entities}}
        queries_of = {
            entity.id: [
                Query((entity.id, str(rank)), ids_of_query, slot_ids, bisect_right(ends, entity.start))
                for slot_ids in (tuple(source.encoder.encode(document.covered(entity.span))[0]),)
                for rank, ids_of_query in asked[entity.type]
            ]
            for entity in document.entities
        }
        context_windows, units, firsts = self.context_windows(
            document, ids, offsets, self.budget(source, (query for found in queries_of.values() for query in found))
        )
        unit_ends = [end for _, end in units]
        words = {entity.id: words_of(entity.span, units) for entity in document.entities}
        gold = self._gold(document, labels, words, units, context_windows, coverage)
        owned: dict[int, list[Entity]] = {}
        for entity in document.entities if units else ():
            owned.setdefault(context_windows.owner_number(min(bisect_right(unit_ends, entity.start), len(units) - 1)), []).append(entity)
        found: list[ReadingExample] = []
        for number, context in enumerate(context_windows):
            queries_with_spans = [(query, gold.get(query.key, [])) for entity in owned.get(number, ()) for query in queries_of[entity.id]]
            name = self.id_of(document, source, number)
            found += self.inputs(name, document, source, context, ids, units, firsts, queries_with_spans, training)
            coverage.candidates += len(queries_with_spans)
        return found

    def _questions(self, source: Source, labels: LinkLabels, head: str) -> list[tuple[int, tuple[int, ...]]]:
        """Rank and sub-words of each label that a head of this type may have."""
        found = []
        for rank in sorted({rank for tail in labels.schema.entity_names for rank in labels.legal(head, tail)}):
            label = labels.labels[rank]
            definition = next(r.definition for r in source.schema.relations if r.name == label.relation)
            value = f" {label.value}" if label.value is not None else ""
            text = f"{self.query_text(label.relation + value, definition)} {self.query_text(head, '')}"
            found.append((rank, tuple(source.encoder.encode(text)[0])))
        return found

    def _gold(
        self,
        document: Document,
        labels: LinkLabels,
        words: Mapping[str, tuple[int, int] | None],
        units: Sequence[Fragment],
        context_windows: ContextWindows,
        coverage: Coverage,
    ) -> dict[tuple[str, ...], list[tuple[int, int]]]:
        """Key -> answers in words, for the window that owns the head."""
        gold: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        links = list(labels.gold(document))
        answers = [(head, -1 if rank is None else rank, _hull(words[tail.id], units) or tail.span) for head, tail, rank in links]
        for (head, tail, rank), meant in zip(links, grounded(document, labels, answers), strict=True):
            coverage.gold += 1
            at, span = words[head.id], words[tail.id]
            if rank is None:
                coverage.unrepresentable["the schema does not allow it"] += 1
            elif at is None or span is None:
                coverage.unrepresentable["no word in it"] += 1
            elif meant != tail:
                coverage.unrepresentable["another mention has these words" if head.id != tail.id else "links a mention to itself"] += 1
            elif span in gold.get((head.id, str(rank)), []):
                coverage.unrepresentable["annotated twice"] += 1
            elif (owner := context_windows.owner(at[0])) is None or not (owner.left <= span[0] and span[1] <= owner.right):
                coverage.unrepresentable["no window holds both"] += 1
            else:
                gold.setdefault((head.id, str(rank)), []).append(span)
        first: dict[tuple[str, int, int], str] = {}
        for entity in document.entities:
            if not entity.span.discontinuous:
                first.setdefault((entity.type, entity.start, entity.end), entity.id)

        def possible(head: Entity, tail: Entity, name: str) -> bool:
            """Whether a word of the tail can be an answer, and not always that of an equal mention."""
            if head.id == tail.id or not labels.allows(name, head.type, tail.type):
                return False
            twin = first.get((tail.type, tail.start, tail.end), tail.id)
            head_unit = min(bisect_right(ends, head.start), len(units) - 1)
            context = context_windows.owner(head_unit)
            if twin not in (tail.id, head.id) or context is None:
                return False
            return bisect_left(starts, tail.end) > context.left and bisect_right(ends, tail.start) < context.right

        starts, ends = [start for start, _ in units], [end for _, end in units]
        count_links(coverage, document, possible)
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
        labels, given = LinkLabels(schema), document
        document = document.joined()
        by_id = {entity.id: entity for entity in document.entities}
        answers: list[tuple[Entity, int, Span]] = []
        scores: list[tuple[float, float | None]] = []
        for example in examples:
            for query, first, last, score, confidence in outputs[example.id]:
                name, rank = example.keys[query]
                answers.append((by_id[name], int(rank), Span.of(example.units[first][0], example.units[last - 1][1])))
                scores.append((score, confidence))
        found: dict[tuple[str, str, LinkLabel], tuple[float, float | None]] = {}
        for (head, number, _), said, tail in zip(answers, scores, grounded(document, labels, answers), strict=True):
            if outcomes is not None:
                outcomes["answers" if tail is not None else UNGROUNDED] += 1
            if tail is not None:
                key = head.id, tail.id, labels.labels[number]
                if key not in found or said[0] > found[key][0]:
                    found[key] = said
        order = {entity.id: place for place, entity in enumerate(document.entities)}
        best: dict[tuple[str, str, str], tuple[tuple[float, float | None], LinkLabel]] = {}
        for (one, other, label), said in found.items():  # one value for each argument
            known = best.get((one, other, label.relation))
            if known is None or said[0] > known[0][0]:
                best[one, other, label.relation] = said, label
        links = [(one, other, label, *said) for (one, other, _), (said, label) in best.items()]
        return linked(given, sorted(links, key=lambda link: (order[link[0]], order[link[1]], link[2].name)), schema)


def _hull(words: tuple[int, int] | None, units: Sequence[Fragment]) -> Span | None:
    """The characters of some words."""
    return None if words is None else Span.of(units[words[0]][0], units[words[1] - 1][1])


def grounded(document: Document, labels: LinkLabels, answers: Sequence[tuple[Entity, int, Span]]) -> list[Entity | None]:
    """The mention that each answer is grounded to; None where it touches none that may be the tail.

    Args:
        document: Its mentions, joined.
        labels: Say which types a head and a label allow.
        answers: Head, rank of the label, characters.
    """
    mentions = document.entities
    rows = overlapping([(answer.start, answer.end) for *_, answer in answers], [(entity.start, entity.end) for entity in mentions])
    found: list[Entity | None] = []
    for (head, rank, answer), row in zip(answers, rows, strict=True):
        best: tuple[tuple[bool, int, int], Entity] | None = None
        for entity in map(mentions.__getitem__, row):
            if entity.id == head.id or rank not in labels.legal(head.type, entity.type) or not entity.span.overlaps(answer):
                continue
            shared = min(entity.end, answer.end) - max(entity.start, answer.start)
            key = (entity.start, entity.end) == (answer.start, answer.end), shared, entity.start - entity.end
            if best is None or key > best[0]:
                best = key, entity
        found.append(best and best[1])
    return found
