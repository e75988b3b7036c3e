"""Ceilings of recall: no output of a task exceeds them, whatever it holds, and gold outputs reach them where nothing excludes another."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinical_ie.document import Document, Entity, Event, Relation, Span
from clinical_ie.schema import EntityType, Schema
from clinical_ie.scoring.counts import MODES, Kind
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score
from clinical_ie.tasks.coverage import HULLS, Coverage, most_disjoint
from clinical_ie.tasks.entity_tagging import EntityTagging
from clinical_ie.tasks.instruction import Instruction
from clinical_ie.tasks.reading_comprehension import EntityReading, RelationReading
from clinical_ie.tasks.relation_classification import RelationClassification
from clinical_ie.tasks.task import Source
from tests.tasks.instruction_round_trip import TASKS, WAYS, Characters
from tests.tasks.test_links import OPEN, Pieces, documents

LAYERED = Schema(
    tuple(EntityType(entity.name, layer="one" if rank < 2 else "two") for rank, entity in enumerate(OPEN.entities)),
    OPEN.relations,
    OPEN.attributes,
    OPEN.events,
)
ENTITY_TASKS: dict[str, Any] = {
    "tagging": lambda: EntityTagging(window=40, overlap=8),
    "reading": lambda: EntityReading(window=40, overlap=8),
    **{response: (lambda name=response: TASKS["entities"](name, segment=12)) for kind, response in WAYS if kind == "entities"},
}
LINK_TASKS: dict[str, Any] = {
    "multi_class": lambda: RelationClassification(sentences=1, window=40),
    "multi_label": lambda: RelationClassification(decision="multi_label", sentences=None, window=40),
    "binary": lambda: RelationClassification("pair", "binary", sentences=0),
    "reading": lambda: RelationReading("single", window=70),
    **{f"relations/{name}": (lambda name=name: TASKS["relations"](name, segment=12)) for kind, name in WAYS if kind == "relations"},
    **{f"joint/{name}": (lambda name=name: TASKS["joint"](name, segment=12)) for kind, name in WAYS if kind == "joint"},
}


def answered(task: Any, annotated: Document, coverage: Coverage | None = None) -> Document:
    """What the task makes of the outputs that stand for an annotation."""
    source = Source("c", LAYERED, Characters() if isinstance(task, Instruction) else Pieces())
    examples = task.examples(annotated, source, coverage)
    outputs = {example.id: task.gold_output(example, source.encoder) for example in examples}
    known = annotated.entities if task.needs_mentions else ()
    return task.annotations(Document(annotated.id, annotated.text, known), examples, outputs, LAYERED)  # type: ignore[no-any-return]


def recalls(gold: Document, predicted: Document, kind: Kind) -> dict[str, float | None]:
    found = {}
    for rules in HULLS:
        counts = score([gold], [predicted], rule_set(rules)).micro(kind, "strict")
        found[rules] = counts.recall if counts.tp + counts.fn else None
    return found


def assert_below(coverage: Coverage, gold: Document, predicted: Document, kind: Kind) -> None:
    for rules, recall in recalls(gold, predicted, kind).items():
        ceiling = coverage.ceiling(rules)
        assert ceiling is not None
        assert recall is None or recall <= ceiling + 1e-9, (rules, recall, ceiling)


@st.composite
def annotated_twice(draw: st.DrawFn) -> tuple[Document, Document]:
    """A note, and the same text with other mentions: some of the first, their hulls, parts of them, and others."""
    gold = draw(documents(whole_words=draw(st.booleans()), most_words=12))
    words = [match.span() for match in re.finditer(r"\w+|[^\w\s]", gold.text)]
    spans = [entity.span for entity in gold.entities] + [Span.of(entity.start, entity.end) for entity in gold.entities]
    spans += [Span((fragment,)) for entity in gold.entities for fragment in entity.span.fragments]
    for _ in range(draw(st.integers(0, 5)) if words else 0):
        first = draw(st.integers(0, len(words) - 1))
        spans.append(Span.of(words[first][0], words[min(first + draw(st.integers(0, 3)), len(words) - 1)][1]))
    chosen = draw(st.lists(st.sampled_from(spans), max_size=8)) if spans else []
    entities = [Entity(f"T{rank}", draw(st.sampled_from(LAYERED.entity_names)), span) for rank, span in enumerate(chosen)]
    entities += [Entity(f"T{len(entities) + rank}", e.type, e.span) for rank, e in enumerate(gold.entities) if draw(st.booleans())]
    return gold, Document(gold.id, gold.text, tuple(entities))


@pytest.mark.parametrize("name", ENTITY_TASKS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(pair=annotated_twice())
def test_no_output_finds_more_mentions_than_the_ceiling(name: str, pair: tuple[Document, Document]) -> None:
    gold, other = pair
    task, coverage = ENTITY_TASKS[name](), Coverage()
    assert_below(coverage_of := coverage, gold, answered(task, gold, coverage), "entities")
    assert coverage_of.gold == coverage_of.countable["strict-one-to-one"] == len(gold.entities)
    assert_below(coverage, gold, answered(task, other), "entities")


@st.composite
def linked_twice(draw: st.DrawFn) -> tuple[Document, Document]:
    """A note, and its mentions with other links."""
    gold = draw(documents(whole_words=draw(st.booleans()), most_words=12))
    ids = [entity.id for entity in gold.entities]
    if not ids:
        return gold, gold
    pick = st.sampled_from(ids)
    relations = draw(st.lists(st.tuples(st.sampled_from(["In", "Near", "Of", "Status"]), pick, pick), max_size=6))
    triggers = [entity.id for entity in gold.entities if entity.type == "Trigger"]
    events = [
        Event(f"E{rank}", "Trigger", trigger, tuple(draw(st.lists(st.tuples(st.sampled_from(["Status", "Of"]), pick), max_size=3))))
        for rank, trigger in enumerate(triggers)
    ]
    made = tuple(Relation(f"R{rank}", name, head, tail) for rank, (name, head, tail) in enumerate(relations))
    return gold, Document(gold.id, gold.text, gold.entities, made, tuple(events), gold.attributes if draw(st.booleans()) else ())


@pytest.mark.parametrize("name", LINK_TASKS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(pair=linked_twice())
def test_no_output_finds_more_links_than_the_ceiling(name: str, pair: tuple[Document, Document]) -> None:
    gold, other = pair
    task, coverage = LINK_TASKS[name](), Coverage()
    assert_below(coverage, gold, answered(task, gold, coverage), "relations")
    assert_below(coverage, gold, answered(task, other), "relations")


def note(*entities: Entity) -> Document:
    return Document("d", "left or right leg", entities)


PARTED = Span(((0, 4), (14, 17)))
A, B = LAYERED.entity_names[:2]


@pytest.mark.parametrize(
    ("name", "entities", "ceilings"),
    [
        ("tagging", [("T1", A, PARTED)], (0.0, 1.0)),  # its hull can be tagged
        ("tagging", [("T1", A, PARTED), ("T2", A, Span.of(0, 17))], (0.5, 0.5)),  # one hull, one prediction
        ("tagging", [("T1", A, Span.of(0, 17)), ("T2", B, Span.of(0, 4)), ("T3", A, Span.of(8, 17))], (2 / 3, 2 / 3)),
        ("tagging", [("T1", A, Span.of(0, 4)), ("T2", A, Span.of(0, 4))], (0.5, 0.5)),
        ("tagging", [("T1", A, Span.of(1, 4)), ("T2", A, Span.of(5, 7))], (0.5, 0.5)),
        ("tagging", [("T1", A, Span(((0, 4), (5, 7))))], (1.0, 1.0)),  # white space alone parts it
        ("reading", [("T1", A, Span.of(0, 17)), ("T2", A, Span.of(0, 4)), ("T3", A, Span.of(3, 7))], (2 / 3, 2 / 3)),
        ("reading", [("T1", A, PARTED)], (0.0, 1.0)),
        ("lines", [("T1", A, PARTED), ("T2", A, Span.of(5, 7))], (1.0, 1.0)),
        ("inline", [("T1", A, PARTED)], (0.0, 1.0)),
        ("inline", [("T1", A, Span.of(0, 7)), ("T2", B, Span.of(5, 13)), ("T3", B, Span.of(14, 17))], (2 / 3, 2 / 3)),
        ("markup", [("T1", A, Span.of(0, 7)), ("T2", B, Span.of(5, 13)), ("T3", B, Span.of(14, 17))], (1.0, 1.0)),
        ("bio", [("T1", A, Span.of(0, 7)), ("T2", B, Span.of(5, 13)), ("T3", B, Span.of(14, 16))], (1 / 3, 1 / 3)),
        ("lines", [("T1", A, Span.of(0, 5)), ("T2", A, Span.of(5, 7))], (0.5, 0.5)),  # white space at its end
    ],
)
def test_ceilings_by_hand(name: str, entities: list[tuple[str, str, Span]], ceilings: tuple[float, float]) -> None:
    coverage = Coverage()
    gold = note(*(Entity(*entity) for entity in entities))
    answered(ENTITY_TASKS[name](), gold, coverage)
    assert [coverage.ceiling(rules) for rules in HULLS] == pytest.approx(ceilings)
    assert coverage.recall_ceiling == coverage.to_dict()["recall_ceiling"] == pytest.approx(ceilings[0])
    assert coverage.to_dict("n2c2-2018")["recall_ceiling"] == pytest.approx(ceilings[1])
    assert sum(coverage.unrepresentable.values()) <= coverage.gold, "one reason for each"
    assert coverage.to_dict("shac-2022")["recall_ceiling"] is None


def test_a_lenient_recall_has_no_ceiling() -> None:
    """So what is printed says strict: a part of a discontinuous mention overlaps it."""
    gold, predicted = note(Entity("T1", A, PARTED)), note(Entity("T1", A, Span.of(0, 4)))
    lenient = [score([gold], [predicted], rule_set(rules)).micro("entities", mode).recall for rules in HULLS for mode in MODES]
    assert lenient == [0.0, 1.0, 0.0, 1.0]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4)), max_size=7))
def test_most_disjoint_against_trying_all(pairs: list[tuple[int, int]]) -> None:
    ranges = [(start, start + length) for start, length in pairs]
    best = 0
    for chosen in range(1 << len(ranges)):
        some = sorted(pair for place, pair in enumerate(ranges) if chosen >> place & 1)
        if all(one[1] <= other[0] for one, other in itertools.pairwise(some)):
            best = max(best, len(some))
    assert most_disjoint(ranges) == best
