"""A small generator on notes of doses and drugs: its data, its trainer, what it says and what that comes to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from clinical_ie.corpora import BratFolder
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document
from clinical_ie.modules import InstructionGenerator
from clinical_ie.tasks.instruction import Completion, Instruction

SCHEMA = {
    "entities": [{"name": "Drug", "definition": "A medication."}, {"name": "Dose", "definition": "How often."}],
    "relations": [{"name": "Starts", "heads": ["Dose"], "tails": ["Drug"]}, {"name": "Stops", "heads": ["Dose"], "tails": ["Drug"]}],
}


def data_of(notes: str, generator: str, task: Instruction, budget: int = 700) -> ExtractionDataModule:
    return ExtractionDataModule([BratFolder(notes, SCHEMA)], [task], generator, batch_budget=budget, seed=1)  # type: ignore[arg-type]


def made(data: ExtractionDataModule, generator: str, **options: Any) -> InstructionGenerator:
    pl.seed_everything(0, verbose=False)
    given = {"learning_rate": 5e-3, "adapter_learning_rate": 2e-2, "warmup_share": 0.1, **options}
    return InstructionGenerator(generator, data.schemas, **given)


def trainer_of(folder: Path, epochs: int, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, use_distributed_sampler=False, gradient_clip_val=1.0,
        **{"limit_val_batches": 0, **options},
    )  # fmt: skip


def completions(model: InstructionGenerator, data: ExtractionDataModule) -> dict[str, Completion]:
    data.setup("test")
    found = {name: answer for batch in data.test_dataloader() for name, answer in model.predict_step(batch, 0).items()}
    return found | model.remaining_outputs()


def predicted(data: ExtractionDataModule, outputs: dict[str, Completion], outcomes: Counter[str]) -> tuple[list[Document], list[Document]]:
    gold, schema = data.documents["test"]["brat_folder"], data.schema_of("brat_folder")
    (task,) = data.tasks.values()
    found, all_examples = [], data.make_examples("test")
    for document in gold:
        bare = Document(document.id, document.text, document.entities if task.needs_mentions else ())
        examples = [example for example in all_examples if example.document_id == document.id]
        found.append(task.annotations(bare, examples, outputs, schema, outcomes))
    return gold, found
