"""Corpora x tasks: what a part has examples of, whose documents are read once."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.corpora import BratFolder, Demo, HashSplit
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.streaming import Key
from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import SettingError
from clinical_ie.formats import brat, jsonl
from clinical_ie.tasks import EntityInstruction, RelationInstruction
from tests.conftest import MakeOnce, write_demo_notes

FIND, LINK = "entity_instruction", "relation_instruction"


@pytest.fixture(scope="module")
def demo(made_once: MakeOnce) -> str:
    return made_once("small_corpus", lambda folder: write_demo_notes(folder, train=24, dev=6, test=6))


@pytest.fixture
def of(demo: str, tiny_llama: str, tmp_path: Path) -> Any:
    """Two tasks of the demo notes, and of a ward whose schema has no relations."""
    brat.write([Document(f"n{rank}", "Aspirin daily.", (Entity("T1", "Drug", Span.of(0, 7)),)) for rank in range(9)], tmp_path / "ward")

    def make(**options: Any) -> ExtractionDataModule:
        corpora = [Demo(demo), BratFolder(str(tmp_path / "ward"), {"entities": ["Drug"]}, corpus_name="ward")]
        tasks = [EntityInstruction("lines", segment=64, window=8192), RelationInstruction("lines", segment=64, window=8192)]
        return ExtractionDataModule(corpora, tasks, tiny_llama, seed=1, **{"split": HashSplit(test_share=0.3), **options})  # type: ignore[arg-type]

    return make


def test_what_a_run_learns_from(of: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()
    load = Demo.load

    def counted(self: Demo, path: Path, findings: Any) -> list[Document]:
        read[path.name] += 1
        return load(self, path, findings)

    monkeypatch.setattr(Demo, "load", counted)
    data = of()
    with caplog.at_level(logging.INFO):
        data.setup("fit")
    assert [*map(str, data.sources)] == [f"demo/{FIND}", f"demo/{LINK}", f"ward/{FIND}"]
    assert data.sources_left_out == {("ward", LINK): "its schema declares no relations"}
    assert list(data.corpora) == ["demo", "ward"]
    assert f"ward is left out of {LINK}: its schema declares no relations" in caplog.text
    assert set(read.values()) == {1}, "each file once"
    assert data.inputs["train"]["demo", FIND] is data.inputs["train"]["demo", LINK]
    examples = list(data.examples["train"])
    assert {(example.corpus, example.task) for example in examples} == set(data.sources)
    assert len({example.id for example in examples}) == len(examples)
    assert data.examples["train"].sources == [example.source for example in examples]
    for source in data.sources:
        of_source = [example for example in examples if example.source == source]
        assert data.coverage["train"][source].of == ("links" if source.task == LINK else "mentions")
        for place, document in enumerate(data.inputs["train"][source]):
            made = data.tasks[source.task].examples(document, data._source(source.corpus), training=True)
            assert made == [example for example in of_source if example.document_id == document.id]
            if place == 2:
                break


@pytest.mark.parametrize("packing", [True, False])
def test_batches_of_an_epoch_are_of_all_tasks(packing: bool, of: Any) -> None:
    """Packed rows share an opening, which is that of a task; padded ones are together by length."""
    data = of(packing=packing, batch_budget=8192)
    data.setup("fit")
    batches = [batch["example_ids"] for batch in data.train_dataloader()]
    assert Counter(name for names in batches for name in names) == Counter(example.id for example in data.examples["train"])
    tasks_of_batches = [{name.split("/")[1] for name in names} for names in batches]
    assert set().union(*tasks_of_batches) == {FIND, LINK}
    assert any(len(tasks) == 2 for tasks in tasks_of_batches) == (not packing)
    stream = data.stream("dev")
    assert set(stream.keys) == {Key(*source, place) for source, found in data.inputs["dev"].items() for place in range(len(found))}
    seen = Counter(example.id for batch, _ in stream for example in batch)
    assert seen == Counter(example.id for example in data.examples["dev"])


def test_mentions_decide_which_tasks_are_asked(of: Any, demo: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    jsonl.write([Document(document.id, document.text) for document in jsonl.read(f"{demo}/test.jsonl")], tmp_path / "found" / "demo.jsonl")
    found = str(tmp_path / "found")
    with caplog.at_level(logging.INFO):
        for mentions, part, asked in (
            (None, "test", [f"demo/{FIND}", f"demo/{LINK}", f"ward/{FIND}"]),
            (None, "predict", [f"demo/{FIND}", f"ward/{FIND}"]),
            (found, "test", [f"demo/{LINK}"]),
            (found, "predict", [f"demo/{LINK}"]),
        ):
            data = of(mentions=mentions)
            data.setup(part)
            assert [*map(str, data.inputs[part])] == [*map(str, data.sources_of(part))] == asked
            assert set(data.documents[part]) == {name.split("/")[0] for name in asked}
            if mentions:
                assert not any(document.entities for document in data.inputs[part]["demo", LINK]), "those that were found"
    assert f"predict: {LINK} needs --data.mentions and is left out" in caplog.text
    assert f"test: {FIND} starts from text alone and is left out" in caplog.text


def test_tasks_of_one_name_are_refused(demo: str, tiny_llama: str) -> None:
    with pytest.raises(SettingError, match=r"data\.tasks has entity_instruction, entity_instruction; expected one or more with different"):
        ExtractionDataModule([Demo(demo)], [EntityInstruction(), EntityInstruction("lines")], tiny_llama)
    with pytest.raises(SettingError, match=r"data\.tasks has no tasks"):
        ExtractionDataModule([Demo(demo)], [], tiny_llama)


def test_a_task_of_one_corpus_is_held_out(of: Any) -> None:
    data = of(split=HashSplit(test_share=0.3, held_out=f"demo/{LINK}"))
    data.split.check(data.corpora, data.corpora_left_out, data.tasks)
    assert [*map(str, data.sources_of("train"))] == [*map(str, data.sources_of("dev"))] == [f"demo/{FIND}", f"ward/{FIND}"]
    assert f"demo/{LINK}" in map(str, data.sources_of("test"))
