"""The reader learns mentions that overlap in every way, and links; packed or one query at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from clinical_ie.corpora import BratFolder, Demo
from clinical_ie.data.collation import ReadingCollator
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.formats import brat
from clinical_ie.modules import EncoderReader
from clinical_ie.scoring.rules import StrictOneToOne
from clinical_ie.scoring.score import score
from clinical_ie.tasks import EntityReading, RelationReading
from clinical_ie.tasks.task import Task

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode"),
]

SCHEMA = {
    "entities": [
        {"name": "Size", "definition": "how often a medication is taken"},
        {"name": "Fruit", "definition": "a medication"},
        {"name": "Phrase", "definition": "a medication and how often it is taken"},
        {"name": "Order", "definition": "a medication that is not taken daily"},
    ],
    "relations": [{"name": "Often", "heads": ["Size"], "tails": ["Fruit"]}, {"name": "Seldom", "heads": ["Size"], "tails": ["Fruit"]}],
}


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Phrases embrace a size and a fruit; those without "daily" are orders too, on the very same characters."""
    folder = tmp_path_factory.mktemp("fruit")
    sizes, fruits = ["twice", "daily", "weekly"], ["aspirin", "heparin", "morphine", "warfarin"]
    documents = []
    for rank in range(60):
        text = ""
        found: list[tuple[str, int, int]] = []
        links: list[tuple[str, int, int]] = []
        for place in range(3):
            size, name = sizes[(rank + place) % 3], fruits[(rank // 3 + place * rank) % 4]
            start = len(text) + len("Started ")
            middle, end = start + len(size), start + len(size) + 1 + len(name)
            links.append(("Often" if size == "daily" else "Seldom", len(found) + 1, len(found) + 2))
            found += [("Size", start, middle), ("Fruit", middle + 1, end), ("Phrase", start, end)]
            found += [("Order", start, end)] if size != "daily" else []
            text += f"Started {size} {name} for pain. "
        entities = tuple(Entity(f"T{k}", kind, Span.of(a, b)) for k, (kind, a, b) in enumerate(found, 1))
        relations = tuple(Relation(f"R{k}", kind, f"T{a}", f"T{b}") for k, (kind, a, b) in enumerate(links, 1))
        documents.append(Document(f"note{rank:02d}", text, entities, relations))
    brat.write(documents, folder)
    return str(folder)


def data_of(tiny_bert: str, task: Task[Any], *corpora: object, budget: int = 160) -> ExtractionDataModule:
    return ExtractionDataModule(list(corpora), task, tiny_bert, batch_budget=budget, seed=1)  # type: ignore[arg-type]


def trained(data: ExtractionDataModule, tiny_bert: str, folder: Path, epochs: int) -> EncoderReader:
    pl.seed_everything(0, verbose=False)
    model = EncoderReader(
        tiny_bert, data.schemas, learning_rate=2e-3, head_learning_rate=5e-3, backbone_dropout=0.0, dropout=0.0, width=64, longest=6
    )
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, use_distributed_sampler=False, limit_val_batches=0, gradient_clip_val=1.0,
    )  # fmt: skip
    trainer.fit(model, data)
    return model.eval()


def predictions(model: EncoderReader, data: ExtractionDataModule) -> tuple[list[Document], list[Document]]:
    data.setup("test")
    outputs: dict[str, Any] = {}
    with torch.no_grad():
        for batch in data.test_dataloader():
            outputs |= model.predict_step(batch, 0)
    gold, schema = data.documents["test"]["brat_folder"], data.schema_of("brat_folder")
    start = [Document(d.id, d.text, d.entities if data.task.needs_mentions else ()) for d in gold]
    examples = data.examples["test"]
    return gold, [data.task.annotations(d, [e for e in examples if e.document_id == d.id], outputs, schema) for d in start]


@pytest.mark.parametrize(("encoding", "epochs", "budget"), [("packed", 40, 256), ("single", 16, 512)])
def test_must_learn_mentions_that_overlap(encoding: Any, epochs: int, budget: int, tiny_bert: str, fruit: str, tmp_path: Path) -> None:
    data = data_of(tiny_bert, EntityReading(encoding, window=80, overlap=8), BratFolder(fruit, SCHEMA), budget=budget)
    gold, predicted = predictions(trained(data, tiny_bert, tmp_path, epochs), data)
    result = score(gold, predicted, StrictOneToOne())
    assert result.micro("entities", "strict").f1 >= 0.9
    rows = result.types("entities", "strict")
    assert set(rows) == {"Size", "Fruit", "Phrase", "Order"}
    assert all(counts.f1 >= 0.7 for counts in rows.values()), "those on the same characters too"


@pytest.mark.parametrize(("encoding", "epochs", "budget"), [("packed", 40, 256), ("single", 24, 512)])
def test_must_learn_links(encoding: Any, epochs: int, budget: int, tiny_bert: str, fruit: str, tmp_path: Path) -> None:
    data = data_of(tiny_bert, RelationReading(encoding, window=80, overlap=8), BratFolder(fruit, SCHEMA), budget=budget)
    gold, predicted = predictions(trained(data, tiny_bert, tmp_path, epochs), data)
    assert score(gold, predicted, StrictOneToOne()).micro("relations", "strict").f1 >= 0.9


@pytest.mark.parametrize(
    "task", [EntityReading("packed", window=96), EntityReading("single", window=96), RelationReading("packed", window=96)]
)
def test_scores_do_not_depend_on_the_batch(task: Task[Any], tiny_bert: str) -> None:
    """Nor on the other queries of the batch, which are encoded with it."""
    data = data_of(tiny_bert, task, Demo())
    data.setup("test")
    torch.manual_seed(0)
    model = EncoderReader(tiny_bert, data.schemas, width=32)
    model.configure_model()
    model.eval()
    for parameter in model.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    collate = ReadingCollator(data.encoder.pad_id)
    lengths = sorted(data.examples["test"], key=lambda example: example.length)
    examples = lengths[:3] + lengths[-2:]
    with torch.no_grad():
        _, starts, ends, _ = model._read(collate(examples))
        for row, example in enumerate(examples):
            _, one, other, _ = model._read(collate([example]))
            queries, words = len(example.queries), len(example.units)
            torch.testing.assert_close(starts[row, :queries, :words], one[0], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(ends[row, :queries, :words], other[0], atol=1e-4, rtol=1e-4)


def test_the_text_may_be_read_with_any_queries(tiny_bert: str, fruit: str) -> None:
    """Weights belong to no schema: a checkpoint for other types loads."""
    model = EncoderReader(tiny_bert, {"c": SCHEMA})
    model.configure_model()
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    other = EncoderReader(tiny_bert, {"other": {"entities": ["A", "B"]}})
    other.configure_model()
    other.on_load_checkpoint(checkpoint)
    other.load_state_dict(checkpoint["state_dict"])
