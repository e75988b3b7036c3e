"""What the tests of instructions share: a tokenizer of characters, and a note asked, answered by its gold, and read back."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from clinical_ie.document import Document, Fragment
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.schema import Schema
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
