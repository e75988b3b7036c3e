"""Documents to windows and back; the property is that nothing is cut off or lost without a count."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.document import Document, Entity, Fragment, Span
from clinical_ie.schema import EntityType, Schema
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.entity_tagging import EntityTagging, TagOutput
from clinical_ie.tasks.task import Source

SCHEMA = Schema((EntityType("A", layer="one"), EntityType("B", layer="one"), EntityType("C", layer="two")))


class Pieces:
    """A stand-in tokenizer: words in pieces of at most three characters, one special id on each side."""

    prefix: list[int] = [1]  # noqa: RUF012 (a stand-in for a property)
    suffix: list[int] = [2]  # noqa: RUF012

    def encode(self, text: str) -> tuple[list[int], list[Fragment]]:
        offsets = [match.span() for match in re.finditer(r"\w{1,3}|[^\w\s]", text)]
        return [3 + len(text[a:b]) for a, b in offsets], offsets


SOURCE = Source("corpus", SCHEMA, Pieces())


def there_and_back(task: EntityTagging, document: Document) -> tuple[set[tuple[str, int, int]], Coverage, list[int]]:
    coverage = Coverage()
    examples = task.examples(document, SOURCE, coverage)
    predicted = task.annotations(document, examples, {example.id: TagOutput(example.tags) for example in examples}, SCHEMA)
    return {(e.type, e.start, e.end) for e in predicted.entities}, coverage, [example.length for example in examples]


def flat_words(words: list[str]) -> tuple[str, list[tuple[int, int]]]:
    text, spans = "", []
    for word in words:
        spans.append((len(text), len(text) + len(word)))
        text += word + " "
    return text, spans


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from(["ab", "abcdef", "x", "longerwordhere", "é", "😀", "5mg", "q.d.", "end.\n\n"]), min_size=1, max_size=60),
    st.data(),
)
def test_gold_tags_give_gold_mentions_in_any_window(words: list[str], data: st.DataObject) -> None:
    text, spans = flat_words(words)
    entities: list[Entity] = []
    for layer in (("A", "B"), ("C",)):
        at = 0
        while at < len(spans):
            width = data.draw(st.integers(1, 2))
            if data.draw(st.booleans()) and at + width <= len(spans):
                start, end = spans[at][0], spans[at + width - 1][1]
                end = start + len(text[start:end].rstrip())
                if end > start:
                    entities.append(Entity(f"T{len(entities)}", data.draw(st.sampled_from(layer)), Span.of(start, end)))
                at += width
            at += 1
    document = Document("d", text, tuple(entities))
    task = EntityTagging(window=data.draw(st.integers(29, 60)), overlap=13)
    found, coverage, lengths = there_and_back(task, document)
    assert max(lengths, default=0) <= task.window
    assert coverage.gold == len(entities)
    gold = {(e.type, e.start, e.end) for e in entities}
    # two words of at most 14 characters are at most 10 pieces, below the overlap: everything must come back
    expected = {key for key in gold if "😀" not in text[key[1] : key[2]]}
    assert expected <= found
    assert len(gold - found) <= sum(coverage.unrepresentable.values())


def test_every_subword_is_seen_and_units_are_owned_once() -> None:
    text = "word " * 500
    examples = EntityTagging(window=40, overlap=8).examples(Document("d", text), SOURCE)
    owned = [example.units[place] for example in examples for place in range(*example.owned)]
    assert owned == [match.span() for match in re.finditer("word", text)]


@pytest.mark.parametrize(
    ("entities", "reason", "found"),
    [
        ((Entity("T1", "A", Span(((0, 2), (5, 7)))),), "discontinuous", set()),
        ((Entity("T1", "A", Span.of(0, 7)), Entity("T2", "B", Span.of(5, 7))), "overlaps another in its layer", {("A", 0, 7)}),
        ((Entity("T1", "A", Span.of(0, 1)),), "ends inside a word", {("A", 0, 4)}),
        ((Entity("T1", "A", Span.of(4, 5)),), "no word in it", set()),
    ],
)
def test_what_tags_cannot_say_is_counted(entities: tuple[Entity, ...], reason: str, found: set[tuple[str, int, int]]) -> None:
    document = Document("d", "abcd ef gh", entities)
    got, coverage, _ = there_and_back(EntityTagging(), document)
    assert coverage.unrepresentable == {reason: 1}
    assert coverage.recall_ceiling == pytest.approx(1 - 1 / len(entities))
    assert got == found


def test_layers_overlap_freely() -> None:
    document = Document("d", "abcd ef", (Entity("T1", "A", Span.of(0, 7)), Entity("T2", "C", Span.of(5, 7))))
    found, coverage, _ = there_and_back(EntityTagging(), document)
    assert found == {("A", 0, 7), ("C", 5, 7)}
    assert not coverage.unrepresentable


def test_a_mention_longer_than_the_overlap_is_counted_when_it_is_cut() -> None:
    text = "word " * 200
    document = Document("d", text.rstrip(), (Entity("T1", "A", Span.of(0, 999)),))
    _, coverage, _ = there_and_back(EntityTagging(window=40, overlap=8), document)
    assert coverage.unrepresentable == {"longer than the overlap of windows": 1}


def test_digits_and_letters_are_different_units() -> None:
    class Whole(Pieces):
        def encode(self, text: str) -> tuple[list[int], list[Fragment]]:
            offsets = [match.span() for match in re.finditer(r"\d+|[a-z]+", text)]
            return [3] * len(offsets), offsets

    document = Document("d", "take 50mg", (Entity("T1", "A", Span.of(5, 7)), Entity("T2", "B", Span.of(7, 9))))
    examples = EntityTagging().examples(document, Source("c", SCHEMA, Whole()))
    assert examples[0].units == ((0, 4), (5, 7), (7, 9))
    assert examples[0].tags["one"] == ["O", "B-A", "B-B"]


@pytest.mark.parametrize("text", ["", "   \n ", "\n" * 300])
def test_empty_notes_give_empty_documents(text: str) -> None:
    task = EntityTagging(window=40, overlap=8)
    document = Document("d", text)
    assert task.annotations(document, task.examples(document, SOURCE), {}, SCHEMA) == document


@settings(max_examples=150)
@given(st.lists(st.sampled_from(["ab", "abcdefgh", "x", "5mg", "end.\n"]), min_size=20, max_size=80), st.integers(0, 10_000))
def test_what_is_lost_is_exactly_what_is_counted(words: list[str], seed: int) -> None:
    """Mentions of any length, longer than the overlap too."""
    import random

    dice = random.Random(seed)
    text, spans = flat_words(words)
    entities, at = [], 0
    while at < len(spans):
        last = min(at + dice.randint(0, 14), len(spans) - 1)
        if dice.random() < 0.6:
            entities.append(Entity(f"T{len(entities)}", "A", Span.of(spans[at][0], len(text[: spans[last][1]].rstrip()))))
        at = last + 1
    document = Document("d", text, tuple(entities))
    found, coverage, _ = there_and_back(EntityTagging(window=32, overlap=6), document)
    gold = {(e.type, e.start, e.end) for e in entities}
    assert len(gold - found) == sum(coverage.unrepresentable.values())


def test_a_layer_stays_flat_at_a_seam() -> None:
    document = Document("d", "word " * 100)
    task = EntityTagging(window=40, overlap=8)
    examples = task.examples(document, SOURCE)
    assert len(examples) > 2
    everything = {example.id: {"one": ["B-A"] + ["I-A"] * (len(example.units) - 1)} for example in examples}
    # the second window sees everything as one mention that begins before its core; make it begin inside instead
    second = examples[1]
    first_owned = second.owned[0]
    everything[second.id]["one"][first_owned] = "B-A"
    outputs = {name: TagOutput(rows) for name, rows in everything.items()}
    spans = [(e.start, e.end) for e in task.annotations(document, examples, outputs, SCHEMA).entities]
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
