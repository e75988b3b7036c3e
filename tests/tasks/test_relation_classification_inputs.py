"""Pairs of mentions: candidates against a quadratic oracle, markers read back from the input, and pairs left out of training."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.schema import Schema
from clinical_ie.segmentation.sentences import sentences
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.relation_classification import PairExample, RelationClassification
from tests.tasks.test_links import NARROW, OPEN, SCHEMAS, Pieces, documents, links_of, source_of

sys.path.insert(0, str(Path(__file__).parent))
from relation_round_trip import tasks, there_and_back


def pairs_of(examples: list[PairExample]) -> list[tuple[str, str]]:
    return [(example.mentions[head], example.mentions[tail]) for example in examples for head, tail in example.pairs]


def extents_of(document: Document) -> dict[str, tuple[int, int]]:
    """First sub-word of a mention and one past its last."""
    _, offsets = Pieces().encode(document.text)
    found = {}
    for entity in document.entities:
        touched = [rank for rank, (a, b) in enumerate(offsets) if a < entity.end and entity.start < b]
        found[entity.id] = touched[0], touched[-1] + 1
    return found


def candidates_by_hand(
    document: Document, task: RelationClassification, schema: Schema
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """All ordered pairs within the distances, and those of them that one input can hold."""
    starts = [start for start, _ in sentences(document.text)]
    extents = extents_of(document)
    near, fitting = set(), set()
    room = task.window - 2 - (4 if task.encoding == "pair" else 0)
    for head, tail in permutations(document.entities, 2):
        if not any(r.allows(head.type, tail.type) for r in schema.relations):
            continue
        between = abs(bisect_right(starts, head.start) - bisect_right(starts, tail.start))
        apart = abs(extents[head.id][0] - extents[tail.id][0])
        if (task.sentences is not None and between > task.sentences) or (task.subwords is not None and apart > task.subwords):
            continue
        near.add((head.id, tail.id))
        both = (*extents[head.id], *extents[tail.id])
        if max(both) - min(both) <= room:
            fitting.add((head.id, tail.id))
    return near, fitting


@settings(max_examples=200)
@given(documents(), tasks(), st.sampled_from(sorted(SCHEMAS)))
def test_every_candidate_is_in_one_example(document: Document, task: RelationClassification, name: str) -> None:
    schema = SCHEMAS[name]
    near, fitting = candidates_by_hand(document, task, schema)
    _, coverage, examples = there_and_back(task, document, source_of(schema))
    found = pairs_of(examples)
    assert len(found) == len(set(found)) == coverage.candidates
    assert set(found) == fitting
    lost = near - fitting
    if task.decision == "multi_label":
        types = {entity.id: entity.type for entity in document.entities}
        links = Counter(
            {k: n for k, n in links_of(document, schema).items() if k[1:3] in lost and schema.allows(k[0], types[k[1]], types[k[2]])}
        )
        assert len(links) <= coverage.unrepresentable["no window holds both"] <= links.total()  # others are annotated twice
    extents = extents_of(document)
    for example in examples:
        assert len(example.pairs) == len(example.distances) == len(example.labels)
        assert len(example.mentions) == len(set(example.mentions)) == len(example.types) == len(example.marker_positions)
        for (head, tail), (subwords, between) in zip(example.pairs, example.distances, strict=True):
            first, second = extents[example.mentions[head]][0], extents[example.mentions[tail]][0]
            assert subwords == second - first
            assert between != 0
            assert first == second or (between > 0) == (second > first)


@settings(max_examples=150)
@given(documents(whole_words=False), tasks())
def test_mentions_that_cut_words_are_paired_once(document: Document, task: RelationClassification) -> None:
    _, coverage, examples = there_and_back(task, document, source_of(OPEN))
    found = pairs_of(examples)
    assert len(found) == len(set(found)) == coverage.candidates
    assert {(b, a) for a, b in found} == set(found)  # any two mentions may be related, both ways


def test_a_mention_that_begins_with_a_blank_is_in_the_sentence_of_its_first_word() -> None:
    spans = [(0, 5), (6, 9), (7, 12), (13, 15)]
    entities = tuple(Entity(f"T{n}", "Thing", Span.of(*span)) for n, span in enumerate(spans))
    document = Document("d", "Stop.\n\nab cd ef", entities)
    found = pairs_of(RelationClassification(sentences=0).examples(document, source_of(OPEN)))
    assert set(found) == set(permutations(["T1", "T2", "T3"], 2))


def marker(kind: str, role: int) -> int:
    return -1 - (4 * NARROW.entity_names.index(kind) + role)


def in_text(text: list[int], ids: list[int], first: int) -> bool:
    """Whether an input is a stretch of the note that begins at a sub-word, between the special ids."""
    inner = text[1:-1]
    return text[0] == 1 and text[-1] == 2 and first >= 0 and inner == ids[first : first + len(inner)] and bool(inner)


@settings(max_examples=200)
@given(documents(), tasks(encoding="shared", subwords=None))
def test_levitated_markers_stand_at_the_ends_of_their_mentions(document: Document, task: RelationClassification) -> None:
    ids, _ = Pieces().encode(document.text)
    extents = extents_of(document)
    kinds = {entity.id: entity.type for entity in document.entities}
    _, _, examples = there_and_back(task, document, source_of(OPEN))
    for example in examples:
        length = example.length - 2 * len(example.mentions)
        text = list(example.input_ids[:length])
        assert length <= task.window
        assert all(number >= 0 for number in text)
        assert all(number < 0 for number in example.input_ids[length:])
        assert example.position_ids[:length] == tuple(range(length))
        assert len(example.position_ids) == example.length
        assert 0 <= min(example.position_ids) <= max(example.position_ids) < task.window
        assert sorted(place for positions in example.marker_positions for place in positions) == list(range(length, example.length))
        begins = set()
        for name, rank, (start, end) in zip(example.mentions, example.types, example.marker_positions, strict=True):
            first, last = extents[name]
            assert rank == NARROW.entity_names.index(kinds[name])
            assert example.input_ids[start] == marker(kinds[name], 0)
            assert example.input_ids[end] == marker(kinds[name], 1)
            assert 1 <= example.position_ids[start] <= example.position_ids[end] < length - 1
            assert example.position_ids[end] - example.position_ids[start] == last - 1 - first
            begins.add(first - (example.position_ids[start] - 1))
        assert len(begins) == 1
        assert in_text(text, ids, begins.pop())
        assert {place for pair in example.pairs for place in pair} <= set(range(len(example.mentions)))


@settings(max_examples=200)
@given(documents(), tasks(encoding="pair", subwords=None))
def test_inline_markers_stand_around_their_mentions(document: Document, task: RelationClassification) -> None:
    ids, _ = Pieces().encode(document.text)
    extents = extents_of(document)
    kinds = {entity.id: entity.type for entity in document.entities}
    _, _, examples = there_and_back(task, document, source_of(OPEN))
    for example in examples:
        assert example.length <= task.window
        assert example.position_ids == tuple(range(example.length))
        assert example.pairs == ((0, 1),)
        assert len(example.mentions) == 2
        places = [place for positions in example.marker_positions for place in positions]
        assert sorted(places) == [place for place, number in enumerate(example.input_ids) if number < 0]
        assert len(set(places)) == 4
        expected = [marker(kinds[name], 2 * role + end) for role, name in enumerate(example.mentions) for end in (0, 1)]
        assert [example.input_ids[place] for place in places] == expected
        text = [number for number in example.input_ids if number >= 0]
        begins = set()
        for (start, end), name in zip(example.marker_positions, example.mentions, strict=True):
            first, last = extents[name]
            before = sum(number >= 0 for number in example.input_ids[:start])
            assert sum(number >= 0 for number in example.input_ids[start:end]) == last - first
            begins.add(first - (before - 1))
        assert len(begins) == 1
        assert in_text(text, ids, begins.pop())


@settings(max_examples=200)
@given(documents(distinct=True), tasks(encoding="pair", subwords=None))
def test_inline_markers_nest_as_mentions_do(document: Document, task: RelationClassification) -> None:
    assert_nested(document, task)


def test_inline_markers_of_the_same_words_nest() -> None:
    entities = (Entity("T1", "Trigger", Span.of(3, 5)), Entity("T2", "Thing", Span.of(3, 5)))
    assert_nested(Document("d", "ab cd ef", entities), RelationClassification("pair"))


def assert_nested(document: Document, task: RelationClassification) -> None:
    """Markers of one mention stand inside those of the one that contains it, and apart from those of one that it does not touch."""
    extents = extents_of(document)
    _, _, examples = there_and_back(task, document, source_of(OPEN))
    for example in examples:
        ((a, b), (c, d)) = example.marker_positions
        (first, last), (other, until) = (extents[name] for name in example.mentions)
        if last <= other:
            assert a < b < c < d
        elif until <= first:
            assert c < d < a < b
        elif (first, last) == (other, until):
            assert a < c < d < b or c < a < b < d
        elif first <= other and until <= last:
            assert a < c < d < b
        elif other <= first and last <= until:
            assert c < a < b < d
        else:  # crossing
            assert (a < c < b < d) if first < other else (c < a < d < b)


def test_nested_and_adjacent_markers_by_hand() -> None:
    entities = (
        Entity("T1", "Thing", Span.of(0, 5)),
        Entity("T2", "Place", Span.of(3, 5)),
        Entity("T3", "Place", Span.of(6, 8)),
        Entity("T4", "Trigger", Span.of(0, 2)),
    )
    document = Document("d", "ab cd ef", entities)
    examples = RelationClassification("pair").examples(document, source_of(NARROW))
    ab, cd, ef = Pieces().encode(document.text)[0]
    thing, place, trigger = ([marker(kind, role) for role in range(4)] for kind in ("Thing", "Place", "Trigger"))
    rows = {pair: example.input_ids for pair, example in zip(pairs_of(examples), examples, strict=True)}
    assert rows == {
        ("T1", "T2"): (1, thing[0], ab, place[2], cd, place[3], thing[1], ef, 2),
        ("T1", "T3"): (1, thing[0], ab, cd, thing[1], place[2], ef, place[3], 2),
        ("T2", "T3"): (1, ab, place[0], cd, place[1], place[2], ef, place[3], 2),
        ("T3", "T2"): (1, ab, place[2], cd, place[3], place[0], ef, place[1], 2),
        ("T4", "T1"): (1, thing[2], trigger[0], ab, trigger[1], cd, thing[3], ef, 2),
    }


@settings(max_examples=100)
@given(documents(), tasks(), st.sampled_from([0.0, 0.3, 0.7]), st.sampled_from(sorted(SCHEMAS)))
def test_training_leaves_out_unrelated_pairs_only(document: Document, task: RelationClassification, share: float, name: str) -> None:
    source = source_of(SCHEMAS[name])

    def labelled(training: bool, task: RelationClassification, coverage: Coverage | None = None) -> dict[tuple[str, str], tuple[int, ...]]:
        examples = task.examples(document, source, coverage, training=training)
        labels = [ranks for example in examples for ranks in example.labels]
        assert all(example.pairs for example in examples)
        return dict(zip(pairs_of(examples), labels, strict=True))

    before, after = Coverage(), Coverage()
    whole = labelled(True, task, before)
    task.negatives = share
    assert labelled(False, task) == whole
    some = labelled(True, task, after)
    assert before == after
    assert some.items() <= whole.items()
    assert {pair for pair, ranks in whole.items() if ranks} <= set(some)
    assert some == labelled(True, task)
    if share == 0:
        assert all(some.values())


def test_the_share_of_negatives_is_about_right_and_follows_the_seed() -> None:
    entities = tuple(Entity(f"T{n}", "Thing", Span.of(3 * n, 3 * n + 2)) for n in range(40))
    document = Document("d", "ab " * 40, entities, (Relation("R1", "Near", "T0", "T1"),))
    kept = []
    for seed in (0, 0, 1):
        task = RelationClassification(negatives=0.25, seed=seed)
        kept.append(set(pairs_of(task.examples(document, source_of(OPEN), training=True))))
    assert kept[0] == kept[1] != kept[2]
    assert all(300 < len(pairs) < 480 and ("T0", "T1") in pairs for pairs in kept)  # of 1,560


@pytest.mark.parametrize("negatives", [-0.1, 1.1])
def test_a_share_is_between_none_and_all(negatives: float) -> None:
    with pytest.raises(SettingError, match="expected a share between 0 and 1"):
        RelationClassification(negatives=negatives)
