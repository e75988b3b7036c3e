"""A run is loaded without its data, and what it finds is what `predict` would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig

import clinical_ie
from clinical_ie import load
from clinical_ie.cli import main
from clinical_ie.corpora import Demo
from clinical_ie.data.collation import PromptCollator, TaggingCollator
from clinical_ie.data.tokenization import Subwords
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.extraction.inputs import Note
from clinical_ie.extraction.loading import identity
from clinical_ie.modules import InstructionGenerator
from clinical_ie.tasks.task import Source
from tests.extraction import runs
from tests.models.tiny_decoders import tiny_generator


def test_the_package_imports_nothing_heavy() -> None:
    code = "import clinical_ie, sys; assert not {'torch', 'lightning', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert clinical_ie.load is load
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = clinical_ie.lode  # type: ignore[attr-defined]


def test_a_tagger_finds_what_its_module_says_example_by_example(tagger_run: str) -> None:
    extractor = load(tagger_run, precision="32", batch_budget=200)
    stage = extractor.stages[0]
    documents = [Document(f"n{number}", runs.note(number, 150)) for number in range(7)]
    found = list(extractor.stream([(document.id, document.text) for document in documents]))

    # the oracle: each window alone, through the module, and its tags through the task
    source = Source("demo", Demo().schema, Subwords(stage.model.backbone_name))
    collate = TaggingCollator(0, {"demo": Demo().schema})
    for document, ours in zip(documents, found, strict=True):
        examples = stage.task.examples(document, source)
        assert len(examples) > 2
        with torch.inference_mode():
            outputs = {example.id: stage.model.predict_step(collate([example]), 0)[example.id] for example in examples}
        assert ours == stage.task.annotations(document, examples, outputs, source.schema)
        assert ours.entities


def test_texts_ids_with_texts_and_notes_are_taken(tagger_run: str) -> None:
    extractor = load(tagger_run)
    text = runs.note(1)
    alone = extractor(text)
    streamed = list(extractor.stream([text, ("ward/7", text), Note("n3", text), ""]))
    assert [document.id for document in streamed] == ["note1", "ward/7", "n3", "note4"]
    assert (alone.id, alone.text) == ("note", text)
    assert streamed[0].entities == streamed[1].entities == streamed[2].entities == alone.entities
    assert streamed[3].entities == ()


def test_notes_of_one_id_get_their_own_mentions(pipeline_run: str) -> None:
    """The outputs of the last one were read as those of all, with its mentions wherever they fell in the others' texts."""
    extractor = load(pipeline_run, precision="32")
    texts = [runs.note(number, 30 + 50 * (number % 2)) for number in range(4)]
    found = list(extractor.stream([("same", text) for text in texts]))
    expected = list(extractor.stream([(f"own{number}", text) for number, text in enumerate(texts)]))
    assert [(one.id, one.text) for one in found] == [("same", text) for text in texts]
    assert [(one.entities, one.relations, one.events) for one in found] == [(one.entities, one.relations, one.events) for one in expected]
    assert len({one.entities for one in found}) == len(texts)


def test_notes_are_read_as_they_are_wanted(tagger_run: str) -> None:
    extractor = load(tagger_run, batch_budget=64)
    read: list[int] = []

    def notes() -> object:
        for number in range(10_000):
            read.append(number)
            yield runs.note(number)

    stream = extractor.stream(notes())  # type: ignore[arg-type]
    next(stream)
    assert len(read) < 100  # a look-ahead of 16 batches of 64 sub-words


def test_a_pipeline_links_the_mentions_that_its_first_run_finds(pipeline_run: str, tagger_run: str) -> None:
    texts = [runs.note(number) for number in range(4)]
    both = list(load(pipeline_run, precision="32").stream(texts))
    two = list(load(f"{pipeline_run}/entities", f"{pipeline_run}/relations", precision="32").stream(texts))
    mentions = list(load(f"{pipeline_run}/entities", precision="32").stream(texts))
    assert both == two
    assert [document.entities for document in both] == [document.entities for document in mentions]
    assert any(list(document.links()) for document in both)
    assert not any(list(document.links()) for document in mentions)


def test_a_pipeline_of_three_keeps_links_beside_attributes(pipeline_run: str, tmp_path: Path, tiny_bert: str) -> None:
    runs.write_attributes(tmp_path / "attributes", tiny_bert)
    stages = {name: f"{pipeline_run}/{name}" for name in ("entities", "relations")} | {"attributes": "attributes"}
    (tmp_path / "config.yaml").write_text("".join(f"{name}: {folder}\n" for name, folder in stages.items()))
    texts = [runs.note(number) for number in range(4)]
    three, two = (list(load(folder, precision="32").stream(texts)) for folder in (tmp_path, pipeline_run))
    assert [list(document.links()) for document in three] == [list(document.links()) for document in two]
    more = 0
    for whole, linked in zip(three, two, strict=True):
        assert whole.attributes[: len(linked.attributes)] == linked.attributes, "what came with links stays"
        types = {entity.id: entity.type for entity in whole.entities}
        added = whole.attributes[len(linked.attributes) :]
        assert all((one.type, types[one.target]) in (("Assertion", "Problem"), ("StatusValue", "Status")) for one in added)
        assert all(one.confidence is not None and 0 < one.confidence <= 1 for one in added)
        more += len(added)
    assert more
    alone = list(load(stages["entities"], tmp_path / "attributes", precision="32").stream(texts))
    assert any(document.attributes for document in alone)
    assert not any(list(document.links()) for document in alone)
    with pytest.raises(SettingError, match=r"finds attributes of mentions .*--relations"):
        load(tmp_path / "attributes")


def test_what_cannot_be_asked_alone_is_refused_with_the_remedy(pipeline_run: str, tagger_run: str, tmp_path: Path, tiny_bert: str) -> None:
    with pytest.raises(SettingError, match="--relations"):
        load(f"{pipeline_run}/relations")
    with pytest.raises(SettingError, match="links no mentions"):
        load(tagger_run, f"{pipeline_run}/entities")
    with pytest.raises(SettingError, match="links mentions already"):
        load(pipeline_run, f"{pipeline_run}/relations")
    with pytest.raises(SettingError, match="no finished run"):
        load(tmp_path)
    with pytest.raises(SettingError, match=r"no such folder.*did you mean 'entities'"):
        load(f"{pipeline_run}/entites")
    with pytest.raises(SettingError, match="no corpus ward"):
        load(tagger_run, corpus="ward")
    runs.write_tagger(tmp_path / "run", tiny_bert, ("ward", "clinic"))
    with pytest.raises(SettingError, match=r"ward, clinic; choose one with --corpus"):
        load(tmp_path / "run")
    assert load(tmp_path / "run", corpus="clinic").stages[0].source.corpus == "clinic"


def test_the_identity_of_a_model_is_that_of_its_run_task_and_corpus(pipeline_run: str, tagger_run: str) -> None:
    assert identity(tagger_run) == identity(tagger_run, corpus="demo")
    assert len(identity(pipeline_run)) == 2
    assert identity(tagger_run) != identity(f"{pipeline_run}/entities")  # its fingerprint is another


def test_a_generator_is_asked_as_in_prediction(tmp_path: Path) -> None:
    backbone = tiny_generator(tmp_path / "backbone", turns=True)
    torch.manual_seed(0)
    module = InstructionGenerator(
        backbone, {"demo": Demo().schema.to_dict()}, batch_size=3, max_new_tokens_base=6, max_new_tokens_ratio=0.2
    )
    settings = {"backbone": backbone, "batch_size": 3, "max_new_tokens_base": 6, "max_new_tokens_ratio": 0.2}
    runs.write_run(tmp_path / "run", module, settings, "EntityInstruction", response="lines", segment=48)
    extractor = load(tmp_path / "run", precision="32", batch_budget=120)
    stage = extractor.stages[0]
    documents = [Document(f"n{number}", runs.note(number, 60)) for number in range(6)]
    found = list(extractor.annotate(documents))
    assert [document.id for document in found] == [document.id for document in documents]
    assert extractor.outcomes["completions"] > len(documents)

    # the oracle: one example after the other, in a queue that is new each time
    stage.model.keeps_queue = False
    stage.model.remaining_outputs()
    for document, ours in zip(documents, found, strict=True):
        examples = stage.task.examples(document, stage.source)
        outputs = {}
        for example in examples:
            outputs |= stage.model.predict_step(PromptCollator()([example]), 0) | stage.model.remaining_outputs()
        assert ours == stage.task.annotations(document, examples, outputs, stage.source.schema)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
@pytest.mark.parametrize("merge", [False, True])
def test_an_exported_generator_finds_what_its_run_finds(tmp_path: Path, merge: bool) -> None:
    backbone = tiny_generator(tmp_path / "backbone", turns=True)
    torch.manual_seed(0)
    lengths = {"max_new_tokens_base": 12, "max_new_tokens_ratio": 0.2}
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    module = InstructionGenerator(backbone, {"demo": Demo().schema.to_dict()}, peft=lora, **lengths)  # type: ignore[arg-type]
    peft = {"class_path": "peft.LoraConfig", "init_args": {"r": 4, "target_modules": "all-linear", "init_lora_weights": False}}
    runs.write_run(
        tmp_path / "run", module, {"backbone": backbone, "peft": peft, **lengths}, "EntityInstruction", response="lines", segment=48
    )
    assert main(["export", str(tmp_path / "run"), "--output", str(tmp_path / "out"), *["--merge"] * merge]) == 0
    texts = [runs.note(number, 60) for number in range(4)]
    exported = load(tmp_path / "out", precision="32")
    assert list(exported.stream(texts)) == list(load(tmp_path / "run", precision="32").stream(texts))
    assert exported.outcomes["completions"]
    plain = dict(exported.stages[0].model.named_parameters())
    assert any("lora" in name for name in plain) is not merge
    assert identity(tmp_path / "out") != identity(tmp_path / "run")
