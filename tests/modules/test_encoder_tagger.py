"""The tagger learns, keeps corpora apart, and gives the same results in any batch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clinical_ie.corpora import BratFolder, Demo
from clinical_ie.data.collation import TaggingCollator
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.mixing import Equal, Mixing
from clinical_ie.errors import SettingError
from clinical_ie.modules import EncoderTagger
from clinical_ie.schema import Schema
from clinical_ie.tasks.entity_tagging import EntityTagging

sys.path.insert(0, str(Path(__file__).parent))
from tiny_training import DOSES, DRUGS, WARNINGS_OF_TRAINING, Marks, Phrase, data_of, micro_f1, predictions, trained, write_notes

SCHEMA = {"entities": [{"name": "Fruit", "layer": "a"}, {"name": "Size", "layer": "a"}, {"name": "Phrase", "layer": "b"}]}
OPTIONS: dict[str, Any] = {"learning_rate": 3e-3, "head_learning_rate": 2e-2}


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Notes about drugs by another name, learnable from the words alone; phrases embrace sizes and fruits."""

    def words(rank: int, place: int) -> tuple[str, str, str]:
        return "Started", DOSES[(rank + place) % 3], DRUGS[(rank * 3 + place) % 4]

    def marks(said: list[Phrase]) -> Marks:
        return [pair for p in said for pair in (("Size", p.dose_at), ("Fruit", p.drug_at), ("Phrase", p.at))], []

    return write_notes(tmp_path_factory.mktemp("fruit"), 40, 4, words, marks)


def tagging_of(tiny_bert: str, *corpora: object, mixing: Mixing | None = None) -> ExtractionDataModule:
    return data_of(tiny_bert, EntityTagging(64, 8), *corpora, budget=256, mixing=mixing)


@WARNINGS_OF_TRAINING
@pytest.mark.parametrize("decoder", ["crf", "softmax"])
def test_must_learn_overlapping_layers(decoder: str, tiny_bert: str, fruit: str, tmp_path: Path) -> None:
    data = tagging_of(tiny_bert, BratFolder(fruit, SCHEMA))
    model = trained(EncoderTagger, data, tiny_bert, tmp_path, 6, decoder=decoder, **OPTIONS)
    gold, predicted = predictions(model, data)
    assert micro_f1(gold, predicted, "entities") >= 0.95
    sure = [entity.confidence for document in predicted for entity in document.entities]
    assert 0 < min(sure) <= 1
    assert sum(sure) / len(sure) > 0.8, "it has learned the notes"


@WARNINGS_OF_TRAINING
def test_two_corpora_in_one_batch_have_their_own_heads(tiny_bert: str, fruit: str, tmp_path: Path) -> None:
    same = BratFolder(fruit, {"entities": ["Fruit"]}, corpus_name="other", entity_types=["Fruit"])
    data = tagging_of(tiny_bert, BratFolder(fruit, SCHEMA), same)
    model = trained(EncoderTagger, data, tiny_bert, tmp_path, 6, decoder="crf", **OPTIONS)
    mixed = [batch for batch in data.train_dataloader() if len(set(batch["corpora"])) == 2]
    assert mixed, "batches mix corpora"
    assert micro_f1(*predictions(model, data), "entities") >= 0.9
    assert micro_f1(*predictions(model, data, "other"), "entities") >= 0.9
    outputs = model.predict_step(mixed[0], 0)
    for name, corpus in zip(mixed[0]["example_ids"], mixed[0]["corpora"], strict=True):
        assert set(outputs[name].tags) == set(outputs[name].confidences) == ({"entities"} if corpus == "other" else {"a", "b"})


@WARNINGS_OF_TRAINING
def test_a_head_set_for_each_corpus_learns_its_share(tiny_bert: str, fruit: str, tmp_path: Path) -> None:
    """Three documents of one corpus have half of every epoch, ten times over."""
    few = BratFolder(fruit, {"entities": ["Fruit"]}, corpus_name="few", entity_types=["Fruit"])
    data = tagging_of(tiny_bert, BratFolder(fruit, SCHEMA), few, mixing=Equal(most_documents={"few": 3}))
    model = trained(EncoderTagger, data, tiny_bert, tmp_path, 4, decoder="softmax", **OPTIONS)
    assert len(data.documents["train"]["few"]) == 3
    assert len(set(data.sampler.plan.counts.values())) == 1
    assert micro_f1(*predictions(model, data), "entities") >= 0.9
    assert micro_f1(*predictions(model, data, "few"), "entities") >= 0.9


def test_outputs_do_not_depend_on_the_batch(tiny_bert: str) -> None:
    data = tagging_of(tiny_bert, Demo())
    data.setup("test")
    torch.manual_seed(0)
    model = EncoderTagger(tiny_bert, data.schemas)
    model.configure_model()
    model.eval()
    collate = TaggingCollator(data.encoder.pad_id, {"demo": data.schema_of("demo")})
    examples = data.make_examples("test")[:6]
    with torch.no_grad():
        together = model.forward_batch(collate(examples))
        for row, example in enumerate(examples):
            alone = model.forward_batch(collate([example]))[0]
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
        tagging_of(tiny_bert, Demo(), Demo())
