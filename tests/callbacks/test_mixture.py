"""What was planned of each source is what was trained, in one part or in several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clinical_ie.callbacks.mixture import Mixture
from clinical_ie.callbacks.random_state import RandomState
from clinical_ie.corpora import BratFolder, Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.mixing import Equal, Mixing, Taught
from clinical_ie.formats import brat, jsonl
from clinical_ie.modules import EncoderTagger
from clinical_ie.tasks import EntityInstruction, EntityTagging, RelationInstruction
from tests.conftest import write_demo_notes
from tests.modules.tiny_training import WARNINGS_OF_TRAINING

SOURCES = ("demo/entity_tagging", "other/entity_tagging")
pytestmark = [
    WARNINGS_OF_TRAINING,
    pytest.mark.filterwarnings(
        "ignore:You're resuming from a checkpoint that ended before the epoch ended", "ignore:The dirpath has changed"
    ),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two corpora, of 12 and 4 notes."""
    demo, other = (tmp_path_factory.mktemp(name) for name in ("demo", "other"))
    write_demo_notes(demo, train=12, dev=1, test=1)
    brat.write(jsonl.read(demo / "train.jsonl")[:4], other)
    return str(demo), str(other)


def train(
    folder: Path, folders: tuple[str, str], backbone: str, mixing: Mixing, checkpoint: Path | None = None, **options: Any
) -> pl.Trainer:
    drugs = BratFolder(folders[1], {"entities": ["Drug"]}, corpus_name="other", entity_types=["Drug"])
    data = ExtractionDataModule([Demo(folders[0]), drugs], [EntityTagging(48, 8)], backbone, batch_budget=200, seed=1, mixing=mixing)
    pl.seed_everything(0, verbose=False)
    steps = ModelCheckpoint(folder / "steps", "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = pl.Trainer(
        accelerator="cpu", accumulate_grad_batches=2, logger=TensorBoardLogger(str(folder), "", ""), enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, limit_val_batches=0, default_root_dir=folder,
        callbacks=[Mixture(), RandomState(), steps], **options,
    )  # fmt: skip
    trainer.fit(EncoderTagger(backbone, data.schemas), data, ckpt_path=checkpoint, weights_only=True)
    return trainer


def recorded(trainer: pl.Trainer) -> dict[str, dict[str, int]]:
    (mixture,) = (callback for callback in trainer.callbacks if isinstance(callback, Mixture))  # type: ignore[attr-defined]
    return mixture.record(trainer)


def check_equal(record: dict[str, dict[str, int]]) -> None:
    for counts in record.values():
        assert counts["planned_examples"] == counts["trained_examples"]
        assert counts["planned_targets"] == counts["trained_targets"]


def test_what_was_planned_is_trained_in_one_part_and_in_two(folders: tuple[str, str], tiny_bert: str, tmp_path: Path) -> None:
    """Two epochs of equal shares; then the same from a checkpoint in the middle of the second."""
    whole = train(tmp_path / "whole", folders, tiny_bert, Equal(examples=40), max_epochs=2)
    record = recorded(whole)
    check_equal(record)
    assert {source: counts["trained_examples"] for source, counts in record.items()} == dict.fromkeys(SOURCES, 40)
    assert all(counts["trained_targets"] > 40 for counts in record.values())

    middle = whole.global_step // 2 + 1
    again = train(
        tmp_path / "again", folders, tiny_bert, Equal(examples=40), tmp_path / "whole" / "steps" / f"step={middle}.ckpt", max_epochs=2
    )
    assert again.global_step == whole.global_step
    assert recorded(again) == record

    events = EventAccumulator(str(tmp_path / "again"))
    events.Reload()
    for source, counts in record.items():
        for name, count in counts.items():
            assert events.Scalars(f"mixing/{source}/{name}")[-1].value == count


def test_packed_rows_of_several_tasks(folders: tuple[str, str], tiny_llama: str) -> None:
    """A row has one prefix, and so one corpus and task; an epoch has equally many examples of each, counted by response tokens."""
    drugs = BratFolder(folders[1], {"entities": ["Drug"]}, corpus_name="other", entity_types=["Drug"])
    tasks = [EntityInstruction("grouped"), RelationInstruction()]
    data = ExtractionDataModule([Demo(folders[0]), drugs], tasks, tiny_llama, batch_budget=1500, seed=1, mixing=Equal(examples=60))
    data.setup("fit")
    trained = Taught()
    loader = data.train_dataloader()
    for epoch in range(3):
        data.sampler.set_epoch(epoch)
        for batch in loader:
            trained.update(batch["taught"])
            assert len({source for source, _ in batch["taught"]}) == 1
            assert sum(count for (_, kind), count in batch["taught"].items() if kind == "targets") == len(batch["targets"])
        assert data.sampler.planned() == trained
    names = ("demo/entity_instruction", "demo/relation_instruction", "other/entity_instruction")
    assert {source: count for (source, kind), count in trained.items() if kind == "examples"} == dict.fromkeys(names, 60)


@pytest.mark.parametrize("options", [{"max_steps": 4, "max_epochs": -1}, {"max_epochs": 2, "limit_train_batches": 3}])
def test_what_was_planned_of_a_part_of_an_epoch(options: dict[str, int], folders: tuple[str, str], tiny_bert: str, tmp_path: Path) -> None:
    record = recorded(train(tmp_path, folders, tiny_bert, Mixing(corpus_weights={"other": 2}), **options))
    check_equal(record)
    assert 0 < sum(counts["trained_examples"] for counts in record.values()) != 80
