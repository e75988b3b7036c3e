"""The tagger learns, keeps corpora apart, and packs nothing into its results that batches decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from clinical_ie.corpora import BratFolder, Demo
from clinical_ie.data.collation import TaggingCollator
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import SettingError
from clinical_ie.formats import brat
from clinical_ie.modules import EncoderTagger
from clinical_ie.schema import Schema
from clinical_ie.scoring.rules import StrictOneToOne
from clinical_ie.scoring.score import score
from clinical_ie.tasks.entity_tagging import EntityTagging

SCHEMA = {"entities": [{"name": "Fruit", "layer": "a"}, {"name": "Size", "layer": "a"}, {"name": "Phrase", "layer": "b"}]}


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Notes about drugs by another name, learnable from the words alone; phrases embrace sizes and fruits."""
    folder = tmp_path_factory.mktemp("fruit")
    sizes, fruits = ["twice", "daily", "weekly"], ["aspirin", "heparin", "morphine", "warfarin"]
    documents = []
    for rank in range(40):
        text, entities = "", []
        for place in range(4):
            size, name = sizes[(rank + place) % 3], fruits[(rank * 3 + place) % 4]
            start = len(text) + len("Started ")
            middle, end = start + len(size), start + len(size) + 1 + len(name)
            entities += [("Size", start, middle), ("Fruit", middle + 1, end), ("Phrase", start, end)]
            text += f"Started {size} {name} for pain. "
        found = tuple(Entity(f"T{k}", kind, Span.of(a, b)) for k, (kind, a, b) in enumerate(entities, 1))
        documents.append(Document(f"note{rank:02d}", text, found))
    brat.write(documents, folder)
    return str(folder)


def data_of(tiny_bert: str, *corpora: object) -> ExtractionDataModule:
    return ExtractionDataModule(list(corpora), EntityTagging(64, 8), tiny_bert, batch_budget=256, seed=1)  # type: ignore[arg-type]


def trained(data: ExtractionDataModule, tiny_bert: str, folder: Path, decoder: str, epochs: int = 6) -> EncoderTagger:
    pl.seed_everything(0, verbose=False)
    model = EncoderTagger(tiny_bert, data.schemas, decoder=decoder, learning_rate=3e-3, head_learning_rate=2e-2)  # type: ignore[arg-type]
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, use_distributed_sampler=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(model, data)
    return model.eval()


def f1(model: EncoderTagger, data: ExtractionDataModule, name: str) -> float:
    data.setup("test")
    outputs: dict[str, object] = {}
    with torch.no_grad():
        for batch in data.test_dataloader():
            outputs |= model.predict_step(batch, 0)
    gold, schema = data.documents["test"][name], data.schema_of(name)
    predicted = [
        data.task.annotations(
            document, [e for e in data.examples["test"] if (e.corpus, e.document_id) == (name, document.id)], outputs, schema
        )
        for document in gold
    ]
    return score(gold, predicted, StrictOneToOne()).micro("entities", "strict").f1


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers", "ignore:The number of training batches")
@pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode")
@pytest.mark.parametrize("decoder", ["crf", "softmax"])
def test_must_learn_overlapping_layers(decoder: str, tiny_bert: str, fruit: str, tmp_path: Path) -> None:
    data = data_of(tiny_bert, BratFolder(fruit, SCHEMA))
    assert f1(trained(data, tiny_bert, tmp_path, decoder), data, "brat_folder") >= 0.95


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers", "ignore:The number of training batches")
@pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode")
def test_two_corpora_in_one_batch_have_their_own_heads(tiny_bert: str, fruit: str, tmp_path: Path) -> None:
    same = BratFolder(fruit, {"entities": ["Fruit"]}, corpus_name="other", entity_types=["Fruit"])
    data = data_of(tiny_bert, BratFolder(fruit, SCHEMA), same)
    model = trained(data, tiny_bert, tmp_path, "crf")
    mixed = [batch for batch in data.train_dataloader() if len(set(batch["corpora"])) == 2]
    assert mixed, "batches mix corpora"
    assert f1(model, data, "brat_folder") >= 0.9
    assert f1(model, data, "other") >= 0.9
    outputs = model.predict_step(mixed[0], 0)
    for name, corpus in zip(mixed[0]["example_ids"], mixed[0]["corpora"], strict=True):
        assert set(outputs[name]) == ({"entities"} if corpus == "other" else {"a", "b"})


def test_outputs_do_not_depend_on_the_batch(tiny_bert: str) -> None:
    data = data_of(tiny_bert, Demo())
    data.setup("test")
    torch.manual_seed(0)
    model = EncoderTagger(tiny_bert, data.schemas)
    model.configure_model()
    model.eval()
    collate = TaggingCollator(data.encoder.pad_id, {"demo": data.schema_of("demo")})
    examples = data.examples["test"][:6]
    with torch.no_grad():
        together = model.units(collate(examples))
        for row, example in enumerate(examples):
            alone = model.units(collate([example]))[0]
            torch.testing.assert_close(together[row, : len(example.units)], alone, atol=1e-5, rtol=1e-4)


def test_the_checkpoint_names_its_labels(tiny_bert: str) -> None:
    model = EncoderTagger(tiny_bert, {"demo": Demo().schema.to_dict()})
    model.configure_model()
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    again = EncoderTagger(tiny_bert, checkpoint["schemas"])
    again.configure_model()
    again.on_load_checkpoint(checkpoint)
    again.load_state_dict(checkpoint["state_dict"])
    assert again.schemas["demo"] == Demo().schema
    assert "B-Drug" in again.heads.head("demo", "concepts").labels


def test_a_checkpoint_for_other_types_is_refused(tiny_bert: str) -> None:
    model = EncoderTagger(tiny_bert, {"demo": Demo().schema.to_dict()})
    model.configure_model()
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    turned = Schema(tuple(reversed(Demo().schema.entities)))
    other = EncoderTagger(tiny_bert, {"demo": turned.to_dict()})
    other.configure_model()
    with pytest.raises(SettingError, match="trained for"):
        other.on_load_checkpoint(checkpoint)


def test_names_of_corpora_must_differ(tiny_bert: str) -> None:
    with pytest.raises(SettingError, match="different names"):
        data_of(tiny_bert, Demo(), Demo())
