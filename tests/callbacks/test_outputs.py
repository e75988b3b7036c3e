"""Documents are put together from outputs in any order, each once."""

from __future__ import annotations

import random
import re
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from clinical_ie.callbacks.outputs import OutputCallback, OutputCollector
from clinical_ie.data.streaming import DocumentStream, Key, made_examples
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.schema import EntityType, Schema
from clinical_ie.tasks import EntityTagging
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.entity_tagging import TagOutput
from clinical_ie.tasks.task import Source, SourceName
from tests.tasks.test_links import Pieces

SCHEMA = Schema((EntityType("Thing"),))
TEXTS = ["", *(f"word{number} " * (10 * number) for number in range(6)), " \n"]
DOCUMENTS = [Document(f"n{place}", text) for place, text in enumerate(TEXTS)]
TASK = EntityTagging(window=24, overlap=4)
WARD = SourceName("ward", TASK.name)
Encoder = type("Encoder", (Pieces,), {"unknown_id": None})


def data() -> Any:
    tasks = {TASK.name: TASK}
    made = partial(made_examples, tasks, {"ward": Source("ward", SCHEMA, Encoder())}, {WARD: DOCUMENTS})
    return SimpleNamespace(tasks=tasks, inputs={"test": {WARD: DOCUMENTS}}, schema_of=lambda _: SCHEMA, made=made)


def tagged(examples: Any) -> dict[str, Any]:
    """The first word of each window is a thing."""
    return {e.id: TagOutput({"Thing": ["B-Thing", *["O"] * (len(e.positions) - 1)], "default": ["O"] * len(e.positions)}) for e in examples}


def expected() -> dict[Key, Document]:
    found = {}
    for place, document in enumerate(DOCUMENTS):
        key = Key(*WARD, place)
        examples = data().made(key, Coverage())
        found[key] = TASK.annotations(document, examples, tagged(examples), SCHEMA, Counter())
    return found


@pytest.mark.parametrize("seed", range(5))
def test_outputs_in_any_order_and_some_of_them_twice(seed: int) -> None:
    dice = random.Random(seed)
    source = data()
    collector = OutputCollector(source, "test")
    stream = DocumentStream({WARD: len(DOCUMENTS)}, source.made, 60)
    waiting: dict[str, Any] = {}
    for batch, chunk in stream:
        collector.expect(chunk)
        waiting |= tagged(batch)
        for name in dice.sample(sorted(waiting), dice.randrange(len(waiting) + 1)):
            collector.take({name: waiting[name], "": None})
            if dice.random() < 0.7:
                del waiting[name]  # what stays comes again
    collector.take(waiting)
    assert collector.finish(stream) is None
    assert len(collector.decoded) == len(DOCUMENTS)
    assert {key: document for key, document, _ in collector.decoded} == expected()
    assert any(document.entities for document in expected().values())


def test_no_document_is_left_half_annotated() -> None:
    source = data()
    stream = DocumentStream({WARD: len(DOCUMENTS)}, source.made, 60)
    for taken in (0, 1, 3):
        collector = OutputCollector(source, "test")
        for _, (batch, chunk) in zip(range(taken), stream, strict=False):
            collector.expect(chunk)
            collector.take(tagged(batch))
        missing = collector.finish(stream)
        assert missing is not None
        assert re.fullmatch(r"ward/entity_tagging/n\d#\d", missing)


class Kept(OutputCallback):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[Key, Document] = {}
        self.ended = 0

    def take(self, trainer: Any, stage: Any, key: Key, predicted: Document, examples: Any) -> None:
        self.documents[key] = predicted

    def end(self, trainer: Any, pl_module: Any, stage: Any, outcomes: Any) -> None:
        self.ended += 1


@pytest.mark.parametrize("theirs", [None, "ward/entity_tagging/n9#0"])
def test_what_another_rank_lacks_every_rank_refuses(theirs: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank that has all of its outputs would go on and wait for the one that stopped."""
    source = data()
    stream = DocumentStream({WARD: len(DOCUMENTS)}, source.made, 60)
    source.stream, source.record_coverage = (lambda _: stream), (lambda *_: None)
    kept, other = Kept(), Kept()
    trainer: Any = SimpleNamespace(
        callbacks=[kept, other],
        datamodule=source,
        testing=True,
        sanity_checking=False,
        fast_dev_run=False,
        world_size=2,
        state=SimpleNamespace(fn="test"),
    )
    module: Any = SimpleNamespace(remaining_outputs=lambda: {}, calibration={})
    monkeypatch.setattr("clinical_ie.callbacks.outputs.gathered", lambda _, mine: [mine, (theirs, *mine[1:])])
    for callback in (kept, other):
        callback.on_test_start(trainer, module)
    for batch, chunk in stream:
        for callback in (kept, other):
            callback.on_test_batch_end(trainer, module, tagged(batch), {"chunk": chunk}, 0)
    if theirs is None:
        kept.on_test_epoch_end(trainer, module)
        assert kept.ended == other.ended == 1
        assert kept.documents == other.documents == expected()
        return
    with pytest.raises(
        SettingError, match=r"no output for ward/entity_tagging/n9#0; limit_\*_batches would leave documents half annotated"
    ):
        kept.on_test_epoch_end(trainer, module)
    assert kept.ended == 0


def test_documents_without_examples_come_out_unannotated() -> None:
    source = data()
    source.inputs["test"][WARD] = [Document("a", ""), Document("b", " \n")]
    source.made.args[2][WARD] = source.inputs["test"][WARD]
    collector = OutputCollector(source, "test")
    stream = DocumentStream({WARD: 2}, source.made, 60)
    assert list(stream) == []
    assert collector.finish(stream) is None
    assert [document for _, document, _ in collector.decoded] == [Document("a", ""), Document("b", " \n")]
