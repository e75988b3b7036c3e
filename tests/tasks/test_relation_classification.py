"""Pairs of mentions: candidates against a quadratic oracle, markers read back from the input, and gold labels there and back."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.corpora import Demo, Maccrobat, UWSocialHistory
from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.schema import RelationType, Schema
from clinical_ie.scoring.score import score
from clinical_ie.scoring.shac import Shac2022
from clinical_ie.segmentation.sentences import sentences
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.relation_classification import PairExample, RelationClassification
from clinical_ie.tasks.task import Coverage, Source
from tests.conftest import corpora_folder
from tests.tasks.test_links import NARROW, OPEN, SCHEMAS, Pieces, assert_gives_back, documents, links_of, source_of

ENCODINGS = ("shared", "pair")
DECISIONS = ("multi_class", "multi_label", "binary")
encodings = st.sampled_from(ENCODINGS)


@st.composite
def tasks(draw: st.DrawFn, **fixed: Any) -> RelationClassification:
    """Short windows, so that notes have several, and any distance."""
    options = {
        "encoding": draw(encodings),
        "decision": draw(st.sampled_from(DECISIONS[:2])),
        "sentences": draw(st.sampled_from([None, 0, 1, 2])),
        "subwords": draw(st.sampled_from([None, None, 0, 5, 20])),
        "window": draw(st.integers(12, 50)),
        "overlap": draw(st.integers(0, 20)),
    }
    return RelationClassification(**options | fixed)


def gold_outputs(examples: list[PairExample]) -> dict[str, dict[int, list[tuple[int, float]]]]:
    return {
        example.id: {place: [(rank, 1.0) for rank in ranks] for place, ranks in enumerate(example.labels) if ranks} for example in examples
    }


def there_and_back(task: RelationClassification, document: Document, source: Source) -> tuple[Document, Coverage, list[PairExample]]:
    coverage = Coverage()
    examples = task.examples(document, source, coverage)
    assert len({example.id for example in examples}) == len(examples)
    bare = Document(document.id, document.text, document.entities)
    return task.annotations(bare, examples, gold_outputs(examples), source.schema), coverage, examples


def pairs_of(examples: list[PairExample]) -> list[tuple[str, str]]:
    return [(example.mentions[head], example.mentions[tail]) for example in examples for head, tail in example.pairs]


@settings(max_examples=200)
@given(documents(), tasks(), st.sampled_from(sorted(SCHEMAS)))
def test_gold_labels_give_gold_links(document: Document, task: RelationClassification, name: str) -> None:
    predicted, coverage, _ = there_and_back(task, document, source_of(SCHEMAS[name]))
    assert_gives_back(document, predicted, coverage, SCHEMAS[name])


@settings(max_examples=150)
@given(documents(whole_words=False), tasks(), st.sampled_from(sorted(SCHEMAS)))
def test_gold_labels_give_gold_links_of_mentions_that_cut_words(document: Document, task: RelationClassification, name: str) -> None:
    predicted, coverage, _ = there_and_back(task, document, source_of(SCHEMAS[name]))
    assert_gives_back(document, predicted, coverage, SCHEMAS[name])


def assert_gives_back_related(document: Document, predicted: Document, coverage: Coverage, schema: Schema) -> None:
    """Under ``binary`` a link that its types do not imply comes back as the one that they imply; all else is as ever."""
    gold, found = links_of(document, schema), links_of(predicted, schema)
    labels = LinkLabels(schema)
    types = {entity.id: entity.type for entity in document.entities}
    assert predicted.entities == document.entities
    assert (gold & found).total() == coverage.gold - sum(coverage.unrepresentable.values()), dict(coverage.unrepresentable)
    related = {(h, t) for name, h, t, _ in gold if schema.allows(name, types[h], types[t])}
    for name, head, tail, value in found - gold:
        assert (head, tail) in related
        implied = labels.labels[labels.legal(types[head], types[tail])[0]]
        assert (name, value) == (implied.relation, implied.value)
    assert max(found.values(), default=1) == 1


@settings(max_examples=150)
@given(documents(), tasks(decision="binary"), st.sampled_from(sorted(SCHEMAS)))
def test_related_or_not_gives_back_what_types_imply(document: Document, task: RelationClassification, name: str) -> None:
    predicted, coverage, _ = there_and_back(task, document, source_of(SCHEMAS[name]))
    assert_gives_back_related(document, predicted, coverage, SCHEMAS[name])


TWO_WORDS = (Entity("T1", "Trigger", Span.of(0, 2)), Entity("T2", "Thing", Span.of(3, 5)), Entity("T3", "Place", Span.of(38, 40)))


@pytest.mark.parametrize("order", [("Of", "Near"), ("Near", "Of")])
def test_the_implied_label_counts_as_expressed_in_any_order(order: tuple[str, str]) -> None:
    """The types of T1, T2 imply Of: that one is given back, wherever Near stands in the file."""
    relations = tuple(Relation(f"R{n}", name, "T1", "T2") for n, name in enumerate(order, 1))
    document = Document("d", "ab cd", TWO_WORDS[:2], relations)
    predicted, coverage, _ = there_and_back(RelationClassification(decision="binary"), document, source_of(OPEN))
    assert links_of(predicted, OPEN) == Counter({("Of", "T1", "T2", None): 1})
    assert sum(coverage.unrepresentable.values()) == 1


def test_a_link_is_lost_for_one_reason_only() -> None:
    """A link that its types do not imply and that no window holds either."""
    document = Document("d", "ab cd " + "word " * 6 + "  ef", TWO_WORDS, (Relation("R1", "Near", "T1", "T3"),))
    task = RelationClassification(decision="binary", window=10, sentences=None)
    schema = Schema(OPEN.entities, (RelationType("In", "", ("Trigger",), ("Place",)), *OPEN.relations), OPEN.attributes, OPEN.events)
    _, coverage, _ = there_and_back(task, document, source_of(schema))
    assert coverage.gold == sum(coverage.unrepresentable.values()) == 1


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
        assert len(example.mentions) == len(set(example.mentions)) == len(example.types) == len(example.marks)
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
        assert sorted(place for marks in example.marks for place in marks) == list(range(length, example.length))
        begins = set()
        for name, rank, (start, end) in zip(example.mentions, example.types, example.marks, strict=True):
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
        places = [place for marks in example.marks for place in marks]
        assert sorted(places) == [place for place, number in enumerate(example.input_ids) if number < 0]
        assert len(set(places)) == 4
        expected = [marker(kinds[name], 2 * role + end) for role, name in enumerate(example.mentions) for end in (0, 1)]
        assert [example.input_ids[place] for place in places] == expected
        text = [number for number in example.input_ids if number >= 0]
        begins = set()
        for (start, end), name in zip(example.marks, example.mentions, strict=True):
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
        ((a, b), (c, d)) = example.marks
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


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (Document("d", "ab cd", TWO_WORDS[:2], (Relation("R1", "In", "T1", "T2"),)), "the schema does not allow it"),
        (Document("d", "ab cd", TWO_WORDS[:2], (Relation("R1", "Near", "T1", "T1"),)), "links a mention to itself"),
        (Document("d", "ab cd", TWO_WORDS[:2], (), (Event("E1", "Trigger", "T1", (("Of", "T2"), ("Of2", "T2"))),)), "annotated twice"),
        (
            Document("d", "ab cd", TWO_WORDS[:2], (Relation("R1", "Near", "T1", "T2"),), (Event("E1", "Trigger", "T1", (("Of", "T2"),)),)),
            "second label of its pair",
        ),
        (Document("d", "ab cd.  " + "Stop. " * 6, (TWO_WORDS[0], TWO_WORDS[2]), (Relation("R1", "Near", "T1", "T3"),)), "farther apart"),
    ],
)
def test_what_pairs_cannot_say_is_counted(encoding: Any, document: Document, reason: str) -> None:
    predicted, coverage, _ = there_and_back(RelationClassification(encoding), document, source_of(OPEN))
    ((found, count),) = coverage.unrepresentable.items()
    assert found.startswith(reason)
    assert count == 1
    assert_gives_back(document, predicted, coverage, OPEN)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("document", [Document("d", ""), Document("d", " \n "), Document("d", "ab cd", TWO_WORDS[:1])])
def test_notes_without_pairs_give_their_mentions(encoding: Any, document: Document) -> None:
    predicted, coverage, examples = there_and_back(RelationClassification(encoding), document, source_of(NARROW))
    assert examples == []
    assert coverage.to_dict() == {"of": "links", "gold": 0, "unrepresentable": {}, "recall_ceiling": 1.0}
    assert predicted.entities == document.entities
    assert [event.trigger for event in predicted.events] == [entity.id for entity in document.entities]


def test_a_mention_in_white_space_only_is_counted_with_its_links() -> None:
    entities = (Entity("T1", "Trigger", Span.of(0, 2)), Entity("T2", "Thing", Span.of(5, 7)))
    document = Document("d", "ab cd   ", entities, (Relation("R1", "Near", "T1", "T2"), Relation("R2", "Near", "T2", "T1")))
    predicted, coverage, _ = there_and_back(RelationClassification(), document, source_of(OPEN))
    assert_gives_back(document, predicted, coverage, OPEN)


def test_values_that_the_schema_does_not_declare_are_counted() -> None:
    entities = (Entity("T1", "Trigger", Span.of(0, 2)), Entity("T2", "Status", Span.of(3, 5)))
    event = Event("E1", "Trigger", "T1", (("Status", "T2"),))
    document = Document("d", "ab cd", entities, (), (event,), (Attribute("A1", "Value", "T2", "broken"),))
    predicted, coverage, _ = there_and_back(RelationClassification(), document, source_of(NARROW))
    assert predicted.attributes == document.attributes or sum(coverage.unrepresentable.values()) == 1


# the open corpora


def corpus_of(kind: Any, split: str, folder: str | None = None) -> tuple[list[Document], Source]:
    if folder is not None and not (corpora_folder() / folder).exists():
        pytest.skip(f"{folder} is not here")
    corpus = kind(str(corpora_folder() / folder)) if folder else kind()
    return corpus.read(split), Source(corpus.name, corpus.schema, Pieces())


def losses_by_hand(document: Document, schema: Schema, reach: int, decision: str) -> Counter[str]:
    """Links that cannot come back, by reason, where windows are long enough for everything."""
    found: Counter[str] = Counter()
    starts = [start for start, _ in sentences(document.text)]
    anchors = document.anchors()
    pairs: dict[tuple[str, str], set[tuple[str, str | None]]] = {}
    for (name, head, tail, value), count in links_of(document, schema).items():
        one, other = anchors[head], anchors[tail]
        between = abs(sum(s <= one.start for s in starts) - sum(s <= other.start for s in starts))
        if not schema.allows(name, one.type, other.type):
            found["the schema does not allow it"] += count
        elif one.id == other.id:
            found["links a mention to itself"] += count
        elif between > reach:
            found["farther apart than the distance"] += count
        else:
            pairs.setdefault((one.id, other.id), set()).add((name, value))
            found["annotated twice"] += count - 1
    if decision == "multi_class":
        found["second label of its pair"] += sum(len(names) - 1 for names in pairs.values())
    return +found


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("kind", "split", "folder"), [(UWSocialHistory, "dev", "uw_social_history_mtsamples"), (Demo, "test", None)])
def test_open_corpora_come_back_but_for_what_is_counted(kind: Any, split: str, folder: str | None, encoding: Any) -> None:
    gold, source = corpus_of(kind, split, folder)
    whole, links = 0, 0
    for document in gold:
        for reach in (0, 1):
            task = RelationClassification(encoding, "multi_label", sentences=reach, window=512)
            predicted, coverage, _ = there_and_back(task, document, source)
            assert_gives_back(document, predicted, coverage, source.schema)
            expected = losses_by_hand(document, source.schema, reach, "multi_label")
            counted = +coverage.unrepresentable
            assert counted == expected
            links += coverage.gold
        triggers = Counter((event.type, event.trigger) for event in document.events)
        if not counted and max(triggers.values(), default=1) == 1:
            whole += 1
            counts = score([document], [predicted], Shac2022()).events_overall()
            assert (counts.fp, counts.fn) == (0, 0)
    assert whole > 0.5 * len(gold)
    assert links > 100


def test_maccrobat_losses_are_those_counted_by_hand() -> None:
    gold, source = corpus_of(Maccrobat, "dev", "maccrobat2020")
    assert len(gold) > 5
    for decision in ("multi_class", "multi_label"):
        total, lost = 0, 0
        for document in gold:
            task = RelationClassification("shared", decision, sentences=0, window=1024)  # type: ignore[arg-type]
            predicted, coverage, _ = there_and_back(task, document, source)
            assert_gives_back(document, predicted, coverage, source.schema)
            assert +coverage.unrepresentable == losses_by_hand(document, source.schema, 0, decision)
            total += coverage.gold
            lost += coverage.unrepresentable["farther apart than the distance"]
        assert 0.05 < lost / total < 0.25  # notes taken with other tools say 13 % over all documents


def test_no_window_is_too_long_on_real_notes() -> None:
    gold, source = corpus_of(Maccrobat, "dev", "maccrobat2020")
    for encoding in ENCODINGS:
        for document in gold[:3]:
            task = RelationClassification(encoding, window=96, overlap=24, sentences=0)  # type: ignore[arg-type]
            predicted, coverage, examples = there_and_back(task, document, source)
            assert all(sum(number >= 0 for number in example.input_ids) <= 96 for example in examples)
            assert all(max(example.position_ids) < 96 for example in examples)
            assert_gives_back(document, predicted, coverage, source.schema)
