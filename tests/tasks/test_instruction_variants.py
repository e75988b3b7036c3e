"""Instructions vary, types do not."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from clinical_ie.corpora.views import keep
from clinical_ie.errors import SettingError
from clinical_ie.tasks.instruction_variants import InstructionAugmentation, instruction_variant
from tests.tasks.instruction_round_trip import Corpus, accepted, discontinuous, entities_of, links_of, task_of, there_and_back

VARIATIONS = {
    "shuffled": InstructionAugmentation(variants=4),
    "subsets": InstructionAugmentation(variants=4, types=0.5),
    "masked": InstructionAugmentation(variants=4, masked=1.0),
    "paraphrased": InstructionAugmentation(variants=6, shuffle=False, paraphrase=True),
    "everything": InstructionAugmentation(variants=5, types=0.6, masked=0.5, paraphrase=True),
}


@pytest.mark.parametrize("name", VARIATIONS)
@pytest.mark.parametrize(
    ("kind", "response"), [("entities", "grouped"), ("entities", "json"), ("relations", "lines"), ("joint", "grouped")]
)
def test_varied_questions_give_back_the_schemas_types(name: str, kind: str, response: str, demo: Corpus) -> None:
    """All annotations of the types that were asked for, under their own names."""
    documents, source = demo
    task = task_of(kind, response, augmentation=VARIATIONS[name])
    count = len(source.schema.entity_names)
    prefixes = set()
    for document in documents:
        predicted, _, examples, _ = there_and_back(task, document, source, training=True)
        mentions, links = Counter[Any](), Counter[Any]()
        for example in examples:
            prefixes.add(example.prefix_ids)
            asked = {kind for _, kind in example.types}
            assert asked <= set(source.schema.entity_names)
            assert len(asked) == (count if VARIATIONS[name].types == 1 else max(1, round(VARIATIONS[name].types * count)))
            if name == "masked":
                assert {shown for shown, _ in example.types} == {f"TYPE{number}" for number in range(1, len(asked) + 1)}
            first, last = example.segment
            part = keep(document, [e for e in document.entities if e.type in asked and first <= e.start and e.end <= last])
            mentions += entities_of(part)
            links += links_of(part, source.schema)
            if kind != "entities":
                assert {rank for _, _, rank in links_of(part, source.schema)} <= {rank for _, rank in example.labels}
            if example.grammar is not None:
                assert accepted(example) or discontinuous(part, example.segment)
        if kind != "relations":
            assert entities_of(predicted) == mentions
        if kind != "entities":
            assert links_of(predicted, source.schema) == links
    variants = VARIATIONS[name].variants
    assert 1 < len(prefixes) <= variants or (name == "paraphrased" and kind == "relations")


def test_variants_are_for_training_only_and_always_the_same(demo: Corpus) -> None:
    documents, source = demo
    plain, varied = task_of("entities", "grouped"), task_of("entities", "grouped", augmentation=VARIATIONS["everything"])
    again = task_of("entities", "grouped", augmentation=VARIATIONS["everything"])
    other = task_of("entities", "grouped", augmentation=VARIATIONS["everything"], seed=1)
    one, two, three = ([e for d in documents for e in task.examples(d, source, training=True)] for task in (varied, again, other))
    assert one == two
    assert [e.prefix_ids for e in one] != [e.prefix_ids for e in three]
    random.Random(3).shuffle(documents := list(documents))
    assert {e.id: e for d in documents for e in again.examples(d, source, training=True)} == {e.id: e for e in one}
    for document in documents:
        assert plain.examples(document, source) == varied.examples(document, source)


def test_masked_types_have_definitions_even_where_others_have_none(demo: Corpus) -> None:
    _, source = demo
    variant = instruction_variant(source.schema, "entities", task_of("entities", "lines").response, False, VARIATIONS["masked"], 0, 0)
    assert all(row.definition for row in variant.spec.types)
    definitions = {kind.name: kind.definition for kind in source.schema.entities}
    assert [row.definition for row in variant.spec.types] == [definitions[name] for name in variant.types]


def test_links_of_masked_types_do_not_tell_their_names(demo: Corpus) -> None:
    _, source = demo
    variant = instruction_variant(source.schema, "joint", task_of("joint", "lines").response, True, VARIATIONS["masked"], 0, 0)
    names = {row.name for row in variant.spec.types}
    assert {name for label in variant.spec.labels for name in (*label.heads, *label.tails)} <= names


@pytest.mark.parametrize("wrong", [{"variants": 0}, {"types": 0.0}, {"types": 1.1}, {"masked": -0.1}, {"masked": 2}])
def test_variations_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        InstructionAugmentation(**wrong)
