"""Attributes by instruction: prompts, answers, grammar, and what becomes of answers that say too much."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from clinical_ie.corpora import Demo
from clinical_ie.document import Attribute, Document, Entity, Span
from clinical_ie.errors import SettingError
from clinical_ie.formats.findings import Findings
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.prompt_template import PromptTemplate
from clinical_ie.reports.gold_survival import survival
from clinical_ie.schema import Schema
from clinical_ie.tasks.attribute_instruction import AttributeInstruction
from clinical_ie.tasks.instruction import Completion
from clinical_ie.tasks.task import Source
from tests.tasks.instruction_round_trip import Characters, accepted, said, spelled, there_and_back

SCHEMA = Schema.from_dict(
    {
        "entities": ["Problem", "Drug", "Place"],
        "attributes": [
            {"name": "Assertion", "values": ["absent", "possible"], "targets": ["Problem"], "definition": "Other than present."},
            {"name": "Negated", "targets": ["Problem", "Drug"]},
        ],
    }
)
TEXT = "No fever or chills, aspirin stopped for pain at home."
WORDS = (("Problem", "fever"), ("Problem", "chills"), ("Drug", "aspirin"), ("Problem", "pain"), ("Place", "home"))
ENTITIES = tuple(
    Entity(f"T{rank}", kind, Span.of(TEXT.index(words), TEXT.index(words) + len(words))) for rank, (kind, words) in enumerate(WORDS, 1)
)
GOLD = (("Negated", "T1", None), ("Assertion", "T1", "absent"), ("Assertion", "T2", "absent"), ("Negated", "T3", None))
NOTE = Document("a", TEXT, ENTITIES, attributes=tuple(Attribute(f"A{rank}", *said) for rank, said in enumerate(GOLD, 1)))
HERE = Source("c", SCHEMA, Characters())
LINES = ("lines", "grouped", "inline", "markup")


def task_of(response: Any = "grouped", **options: Any) -> AttributeInstruction:
    return AttributeInstruction(response, **{"segment": 64, "window": 100_000, **options})


@pytest.mark.parametrize("response", LINES)
def test_there_and_back(response: str) -> None:
    predicted, coverage, (example,), outcomes = there_and_back(task_of(response), NOTE, HERE)
    assert said(example) == ">Assertion=absent\t1\t2\n>Negated\t1\t3"
    assert {(one.type, one.value, one.target) for one in predicted.attributes} == {(a.type, a.value, a.target) for a in NOTE.attributes}
    assert predicted.entities == NOTE.entities
    assert (coverage.of, coverage.gold, coverage.recall_ceiling, coverage.unrepresentable) == ("attributes", 4, 1.0, {})
    assert outcomes == {"completions": 1}
    assert accepted(example)


def test_the_prompt_says_attributes_values_and_what_may_bear_them() -> None:
    (example,) = task_of().examples(NOTE, HERE)
    prompt = spelled((*example.prefix_ids, *example.input_ids))
    assert "Assertion=absent|possible (Problem): Other than present.\nNegated (Problem|Drug)\n" in prompt
    assert "1\tProblem\tfever\n2\tProblem\tchills\n3\tDrug\taspirin\n4\tProblem\tpain\n5\tPlace\thome" in prompt
    (bare,) = task_of(definitions=False, arguments=False).examples(NOTE, HERE)
    assert "Assertion=absent|possible (*)\nNegated (*)\n" in spelled(bare.prefix_ids)


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        ("", True), (">Negated\t1", True), (">Assertion=possible\t1\t2\t4\n>Negated\t3", True),
        (">Assertion=absent\t3", False),  # of a drug
        (">Negated\t5", False), (">Negated\t6", False),  # of a place, of no mention
        (">Negated\t2\t1", False), (">Negated\t1 2", False), (">Negated\t1\n>Assertion=absent\t1", False),  # order, pairs
        (">Assertion=certain\t1", False), ("Problem\tfever", False),
    ],
)  # fmt: skip
def test_the_grammar_allows_what_the_schema_does(answer: str, allowed: bool) -> None:
    (example,) = task_of().examples(NOTE, HERE)
    assert example.grammar is not None
    automaton = automaton_of(example.grammar)
    state = automaton.step(automaton.start(), answer.encode())
    assert (state is not None and automaton.may_end(state)) == allowed


def test_what_cannot_be_kept_is_counted() -> None:
    task = task_of()
    examples = task.examples(NOTE, HERE)
    answer = ">Assertion=absent\t1\t3\n>Assertion=possible\t1\t2\t9\t2\n>Mood\t1\n>Negated\t1 2\nnothing"
    outcomes: Counter[str] = Counter()
    predicted = task.annotations(NOTE, examples, {examples[0].id: Completion(answer)}, SCHEMA, outcomes)
    assert [(one.label, one.target) for one in predicted.attributes] == [("Assertion=absent", "T1"), ("Assertion=possible", "T2")]
    assert outcomes == {
        "completions": 1, "malformed lines": 2, "links of an unknown label": 1, "links to an unknown mention": 1, "duplicate links": 1,
        "attributes that the schema does not allow": 1, "second values of a mention": 1,
    }  # fmt: skip


def test_what_no_answer_can_say_is_counted() -> None:
    text = "fever. " * 30
    entities = (Entity("T1", "Problem", Span.of(0, 5)), Entity("T2", "Problem", Span.of(0, 200)))
    document = Document("b", text, entities, attributes=(Attribute("A1", "Negated", "T1"), Attribute("A2", "Negated", "T2")))
    predicted, coverage, _, _ = there_and_back(task_of(segment=16), document, HERE)
    assert [one.target for one in predicted.attributes] == ["T1"]
    assert coverage.unrepresentable == {"the mention crosses the end of a segment": 1}
    assert (coverage.gold, coverage.recall_ceiling) == (2, 0.5)


def test_the_demo_corpus_comes_back_whole() -> None:
    demo = Demo()
    documents = [demo.view(document) for path in demo.folders()["test"] for document in demo.load(path, Findings())]
    found = survival(documents, task_of(), Source("demo", demo.schema, Characters()))
    assert found.gold == found.returned == sum(len(document.attributes) for document in documents) > 20


def test_demonstrations_are_answered_as_questions_are(tmp_path: Path) -> None:
    from clinical_ie.formats import jsonl

    jsonl.write([replace(NOTE, id="shown")], tmp_path / "shown.jsonl")
    (example,) = task_of(demonstrations=str(tmp_path / "shown.jsonl")).examples(NOTE, HERE)
    (question,) = task_of().examples(NOTE, HERE)
    assert spelled(example.prefix_ids).rstrip().endswith(f"{spelled(question.input_ids)}{said(question)}")


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for response in ("json", "bio"):
        with pytest.raises(SettingError, match="take"):
            task_of(response)
    packaged = Path(PromptTemplate.load.__func__.__code__.co_filename).parent / "templates" / "unified.yaml"  # type: ignore[attr-defined]
    words = yaml.safe_load(packaged.read_text(encoding="utf-8"))
    del words["attributes"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(words), encoding="utf-8")
    with pytest.raises(SettingError, match="has no words for attributes"):
        task_of(prompt_template=str(tmp_path / "mine.yaml"))
