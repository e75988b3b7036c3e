"""The reader learns mentions that overlap in every way, and links; packed or one query at a time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clinical_ie.corpora import BratFolder, Demo
from clinical_ie.data.collation import ReadingCollator
from clinical_ie.modules import EncoderReader
from clinical_ie.scoring.rules import StrictOneToOne
from clinical_ie.scoring.score import score
from clinical_ie.tasks import EntityReading, RelationReading
from clinical_ie.tasks.task import Task

sys.path.insert(0, str(Path(__file__).parent))
from tiny_training import DOSES, DRUGS, WARNINGS_OF_TRAINING, Marks, Phrase, data_of, micro_f1, predictions, trained, write_notes

pytestmark = WARNINGS_OF_TRAINING

SCHEMA = {
    "entities": [
        {"name": "Size", "definition": "how often a medication is taken"},
        {"name": "Fruit", "definition": "a medication"},
        {"name": "Phrase", "definition": "a medication and how often it is taken"},
        {"name": "Order", "definition": "a medication that is not taken daily"},
    ],
    "relations": [{"name": "Often", "heads": ["Size"], "tails": ["Fruit"]}, {"name": "Seldom", "heads": ["Size"], "tails": ["Fruit"]}],
}
OPTIONS: dict[str, Any] = {
    "clip": 1.0, "learning_rate": 2e-3, "head_learning_rate": 5e-3, "backbone_dropout": 0.0, "dropout": 0.0, "width": 64,
    "max_answer_length": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Phrases embrace a size and a fruit; those without "daily" are orders too, on the very same characters."""

    def words(rank: int, place: int) -> tuple[str, str, str]:
        return "Started", DOSES[(rank + place) % 3], DRUGS[(rank // 3 + place * rank) % 4]

    def marks(said: list[Phrase]) -> Marks:
        found: list[tuple[str, tuple[int, int]]] = []
        links: list[tuple[str, int, int]] = []
        for phrase in said:
            links.append(("Often" if phrase.dose == "daily" else "Seldom", len(found) + 1, len(found) + 2))
            found += [("Size", phrase.dose_at), ("Fruit", phrase.drug_at), ("Phrase", phrase.at)]
            found += [("Order", phrase.at)] if phrase.dose != "daily" else []
        return found, links

    return write_notes(tmp_path_factory.mktemp("fruit"), 60, 3, words, marks)


@pytest.mark.parametrize(("encoding", "epochs", "budget"), [("packed", 40, 256), ("single", 16, 512)])
def test_must_learn_mentions_that_overlap(encoding: Any, epochs: int, budget: int, tiny_bert: str, fruit: str, tmp_path: Path) -> None:
    data = data_of(tiny_bert, EntityReading(encoding, window=80, overlap=8), BratFolder(fruit, SCHEMA), budget=budget)
    gold, predicted = predictions(trained(EncoderReader, data, tiny_bert, tmp_path, epochs, **OPTIONS), data)
    result = score(gold, predicted, StrictOneToOne())
    assert result.micro("entities", "strict").f1 >= 0.9
    rows = result.types("entities", "strict")
    assert set(rows) == {"Size", "Fruit", "Phrase", "Order"}
    assert all(counts.f1 >= 0.7 for counts in rows.values()), "those on the same characters too"
    assert all(0.125 < entity.confidence <= 1 for document in predicted for entity in document.entities)


@pytest.mark.parametrize(("encoding", "epochs", "budget"), [("packed", 40, 256), ("single", 24, 512)])
def test_must_learn_links(encoding: Any, epochs: int, budget: int, tiny_bert: str, fruit: str, tmp_path: Path) -> None:
    data = data_of(tiny_bert, RelationReading(encoding, window=80, overlap=8), BratFolder(fruit, SCHEMA), budget=budget)
    gold, predicted = predictions(trained(EncoderReader, data, tiny_bert, tmp_path, epochs, **OPTIONS), data)
    assert micro_f1(gold, predicted, "relations") >= 0.9
    assert all(0.125 < relation.confidence <= 1 for document in predicted for relation in document.relations)


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
    lengths = sorted(data.make_examples("test"), key=lambda example: example.length)
    examples = lengths[:3] + lengths[-2:]
    with torch.no_grad():
        _, starts, ends, _ = model.forward_batch(collate(examples))
        for row, example in enumerate(examples):
            _, one, other, _ = model.forward_batch(collate([example]))
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
