"""What the tests of instructions share: a tokenizer of characters, and a note asked, answered by its gold, and read back."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from clinical_ie.document import Document, Entity, Fragment, Relation, Span
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.schema import EntityType, RelationType, Schema
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.instruction import (
    Completion,
    EntityInstruction,
    Instruction,
    InstructionExample,
    JointInstruction,
    RelationInstruction,
)
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.task import Source

TASKS: dict[str, type[Instruction]] = {"entities": EntityInstruction, "relations": RelationInstruction, "joint": JointInstruction}
WAYS = [
    *(("entities", name) for name in ("lines", "grouped", "json", "inline", "markup", "bio")),
    *((kind, name) for kind in ("relations", "joint") for name in ("lines", "grouped", "json", "inline", "markup")),
]  # fmt: skip
END = 0
Corpus = tuple[list[Document], Source]


class Characters:
    """Segments count words; everything that is said is spelled out, so that ids can be read."""

    prefix: list[int] = []  # noqa: RUF012
    suffix: list[int] = []  # noqa: RUF012

    def encode(self, text: str) -> tuple[list[int], list[Fragment]]:
        words = [word.span() for word in re.finditer(r"\w+|[^\w\s]", text)]
        return [1] * len(words), words

    def prompt_prefix(self, system: str, instruction: str) -> list[int]:
        return [*map(ord, f"{system}\n\n{instruction}")]

    def prompt_suffix(self, asked: str, answer: str) -> list[int]:
        return [*map(ord, f"{asked}\n{answer}\n")]

    def response(self, text: str) -> list[int]:
        return [*map(ord, text), END]

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(code) for code in ids if code != END)


def spelled(ids: tuple[int, ...]) -> str:
    return "".join(map(chr, ids))


def said(example: InstructionExample) -> str:
    assert example.response[-1] == END
    return spelled(example.response[:-1])


def gold_outputs(examples: list[InstructionExample], *, constrained: bool = False) -> dict[str, Completion]:
    return {example.id: Completion(said(example), False, constrained and example.grammar is not None) for example in examples}


def there_and_back(
    task: Instruction, document: Document, source: Source, *, constrained: bool = False, training: bool = False
) -> tuple[Document, Coverage, list[InstructionExample], Counter[str]]:
    coverage, outcomes = Coverage(), Counter[str]()
    examples = task.examples(document, source, coverage, training=training)
    known = document.entities if task.needs_mentions else ()
    bare = Document(document.id, document.text, known)
    predicted = task.annotations(bare, examples, gold_outputs(examples, constrained=constrained), source.schema, outcomes)
    return predicted, coverage, examples, outcomes


def entities_of(document: Document) -> Counter[Any]:
    return Counter((entity.type, entity.span) for entity in document.entities)


def links_of(document: Document, schema: Schema) -> Counter[Any]:
    """What is linked, whatever the ids; links that the schema allows."""
    return Counter(
        ((head.type, head.span), (tail.type, tail.span), rank) for head, tail, rank in LinkLabels(schema).gold(document) if rank is not None
    )


def accepted(example: InstructionExample) -> bool:
    """Whether the grammar allows for the gold answer as a whole."""
    assert example.grammar is not None
    automaton = automaton_of(example.grammar)
    state = automaton.step(automaton.start(), said(example).encode())
    return state is not None and automaton.may_end(state)


def task_of(kind: str, response: str, **options: Any) -> Any:
    return TASKS[kind](response, **{"segment": 64, "window": 100_000, **options})  # type: ignore[arg-type]


def compared(kind: str, document: Document, predicted: Document, schema: Schema) -> tuple[int, int, int]:
    """Right, gold and predicted: mentions of entity instructions, else links."""
    if kind == "entities":
        gold, found = entities_of(document), entities_of(predicted)
    else:
        gold, found = links_of(document, schema), links_of(predicted, schema)
    return (gold & found).total(), gold.total(), found.total()


def discontinuous(document: Document, span: tuple[int, int]) -> bool:
    return any(len(entity.span.fragments) > 1 for entity in document.entities if span[0] <= entity.start and entity.end <= span[1])


NEAR = Schema((EntityType("Drug", "x"), EntityType("Dose", "y")), (RelationType("Of", "z", ("Dose",), ("Drug",)),))
SHOWN = Document("s", "one aspirin", (Entity("T1", "Dose", Span.of(0, 3)), Entity("T2", "Drug", Span.of(4, 11))),
                 (Relation("R1", "Of", "T1", "T2"),))  # fmt: skip
NOTE = Document("d", "two heparin", SHOWN.entities[:1], ())
HERE = Source("c", NEAR, Characters())
