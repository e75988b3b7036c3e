"""Cells of the matrix of decoders: a family x a task x a way of tuning x a precision, trained for two steps and asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from peft import LoraConfig, PeftConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

from clinical_ie.corpora import BratFolder
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.padding import Batch
from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.errors import ClinicalIEError
from clinical_ie.formats import brat
from clinical_ie.modules import InstructionGenerator
from clinical_ie.tasks.instruction import EntityInstruction, Instruction, JointInstruction, RelationInstruction

SCHEMA: dict[str, Any] = {
    "entities": [{"name": "Drug", "definition": "A medication."}, {"name": "Dose", "definition": "How often."}],
    "relations": [{"name": "DoseOf", "heads": ["Dose"], "tails": ["Drug"]}],
}
KINDS: dict[str, tuple[type[Instruction], str]] = {
    "entities": (EntityInstruction, "inline"), "relations": (RelationInstruction, "lines"), "joint": (JointInstruction, "lines"),
}  # fmt: skip
TUNINGS: dict[str, PeftConfig | None] = {
    "full": None,
    "LoRA": LoraConfig(r=2, target_modules="all-linear"),
    "prompt": PromptTuningConfig(num_virtual_tokens=4),
    "p-tuning": PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=16),
    "prefix": PrefixTuningConfig(num_virtual_tokens=4),
}
PRECISIONS: tuple[Any, ...] = ("32-true", "bf16-mixed", "bf16-true")


def save_notes(folder: Path) -> str:
    """Six invented notes of one sentence."""
    documents = []
    for rank, (dose, drug) in enumerate([("daily", "aspirin"), ("weekly", "heparin"), ("twice", "morphine")] * 2):
        text = f"Started {dose} {drug} for pain."
        middle = 8 + len(dose)
        entities = Entity("T1", "Dose", Span.of(8, middle)), Entity("T2", "Drug", Span.of(middle + 1, middle + 1 + len(drug)))
        documents.append(Document(f"note{rank}", text, entities, (Relation("R1", "DoseOf", "T1", "T2"),)))
    brat.write(documents, folder)
    return str(folder)


class _Watched(InstructionGenerator):
    """Notes the losses of its steps, and what was answered."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.losses: list[float] = []
        self.answered: set[str] = set()

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        self.losses.append(float(loss.detach()))
        return loss

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        answers = super().test_step(batch, batch_idx)
        self.answered |= answers.keys()
        return answers


def outcome(folder: str, notes: str, task: str, tuning: str, precision: Any, *, packing: bool, root: Path) -> str:
    """``yes`` where a cell trains two steps and answers every note, ``no: ...`` where it is refused before training, else what failed."""
    kind, response = KINDS[task]
    pl.seed_everything(0, verbose=False)
    instruction = kind(response, window=500, segment=64, definitions=False)  # type: ignore[arg-type]
    data = ExtractionDataModule([BratFolder(notes, SCHEMA)], [instruction], folder, batch_budget=200, packing=packing)
    model = _Watched(folder, data.schemas, peft=TUNINGS[tuning], learning_rate=1e-3, max_new_tokens_base=4, max_new_tokens_ratio=0.0)
    trainer = pl.Trainer(
        max_steps=2, precision=precision, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=root, use_distributed_sampler=False, limit_val_batches=0,
    )  # fmt: skip
    try:
        trainer.fit(model, data)
        trainer.test(model, data, verbose=False)
    except ClinicalIEError as error:
        return f"no: {str(error).replace(folder, '')}" if not model.losses else f"refused only after a step: {error}"
    except Exception as error:  # whatever a cell may die of is its outcome
        return f"{type(error).__name__} {'after a step' if model.losses else 'before training'}: {str(error).partition(chr(10))[0][:200]}"
    if len(model.losses) != 2 or not all(map(math.isfinite, model.losses)):
        return f"losses {model.losses}"
    return "yes" if model.answered == {example.id for example in data.make_examples("test")} else "not all answered"
