"""Links among mentions that the prompt gives, whoever found those."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.schema import EntityType, RelationType, Schema
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.instruction import Completion, RelationInstruction
from clinical_ie.tasks.task import Source
from tests.tasks.instruction_round_trip import HERE, NEAR, SHOWN, Characters, Corpus, said, spelled, task_of


@pytest.mark.parametrize("response", ["lines", "grouped", "json", "inline", "markup"])
def test_predicted_mentions_are_given_by_their_numbers(response: str) -> None:
    """Mentions of another model, in no order and with ids of its own."""
    entities = (Entity("T9", "Drug", Span.of(20, 27)), Entity("X", "Dose", Span.of(0, 3)), Entity("T4", "Drug", Span.of(4, 11)),
                Entity("T1", "Dose", Span.of(16, 19)))  # fmt: skip
    document = Document("d", "one aspirin and two heparin", entities)
    task = task_of("relations", response)
    (example,) = task.examples(document, HERE)
    assert example.given == ("X", "T4", "T1", "T9")
    asked = spelled(example.input_ids)
    assert "1\tDose\tone\n2\tDrug\taspirin\n3\tDose\ttwo\n4\tDrug\theparin\n" in asked
    answer = '{"links":[["Of",3,4],["Of",1,2],["Of",2,1],["Of",1,5]]}' if response == "json" else ">Of\t3 4\t1 2\t2 1\t1 5"
    outcomes = Counter[str]()
    found = task.annotations(document, [example], {example.id: Completion(answer)}, NEAR, outcomes)
    assert found.entities == entities
    assert {(link.head, link.tail) for link in found.relations} == {("T1", "T9"), ("X", "T4")}
    assert outcomes["links that the schema does not allow"] == 1
    assert outcomes["links to an unknown mention"] == 1


def test_mentions_of_another_model_on_demo_notes(demo: Corpus) -> None:
    """Some missing, some moved: links among those that are right come back, as far as the model would say them."""
    documents, source = demo
    task = task_of("relations", "grouped")
    draw = random.Random(1)
    for document in documents[:10]:
        known = [entity for entity in document.entities if draw.random() < 0.7]
        bare = Document(document.id, document.text, tuple(reversed(known)))
        coverage = Coverage()
        examples = task.examples(bare, source, coverage)
        assert coverage.gold == 0
        assert sorted(name for example in examples for name in example.given) == sorted(
            entity.id for entity in known if any(a <= entity.start and entity.end <= b for a, b in (e.segment for e in examples))
        )
        outputs = {example.id: Completion("") for example in examples}
        predicted = task.annotations(bare, examples, outputs, source.schema)
        assert predicted.entities == bare.entities
        assert not predicted.relations


def test_one_task_for_corpora_of_one_name_and_other_types() -> None:
    """Such as a task object that is used for two data modules."""
    task = RelationInstruction("lines")
    task.examples(SHOWN, HERE)
    other = Schema((EntityType("Dose", "y"), EntityType("Drug", "x")), (RelationType("For", "z", ("Dose",), ("Drug",)),))
    document = Document("s", SHOWN.text, SHOWN.entities, (Relation("R1", "For", "T1", "T2"),))
    (example,) = task.examples(document, Source("c", other, Characters()))
    assert said(example) == ">For\t1 2"


@pytest.mark.parametrize("kind", ["relations", "joint"])
def test_bio_says_no_links(kind: str) -> None:
    with pytest.raises(SettingError, match="has no links"):
        task_of(kind, "bio")
