"""What the tests of modules share: invented notes of medications, a tiny model trained on them, and what it then predicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import lightning.pytorch as pl
import pytest
import torch

from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.mixing import Mixing
from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.formats import brat
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.scoring.rules import StrictOneToOne
from clinical_ie.scoring.score import score
from clinical_ie.tasks.task import Task

Module = TypeVar("Module", bound=EncoderModule)

DOSES = ("twice", "daily", "weekly")
DRUGS = ("aspirin", "heparin", "morphine", "warfarin")

WARNINGS_OF_TRAINING = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:The number of training batches",
    "ignore:Found .* module.s. in eval mode",
)


class Phrase(NamedTuple):
    """A verb, and a dose and a drug with the characters on which they stand."""

    verb: str
    dose: str
    dose_at: tuple[int, int]
    drug_at: tuple[int, int]

    @property
    def at(self) -> tuple[int, int]:
        """Dose and drug together."""
        return self.dose_at[0], self.drug_at[1]


Marks = tuple[list[tuple[str, tuple[int, int]]], list[tuple[str, int, int]]]
"""Mentions as types and characters; links as types and places in the list of mentions, from 1."""


def write_notes(
    folder: Path, count: int, phrases: int, words: Callable[[int, int], tuple[str, str, str]], marks: Callable[[list[Phrase]], Marks],
    between: str = ". ",
) -> str:  # fmt: skip
    """Notes such as "Started daily aspirin for pain.": `words` says verb, dose and drug of a note's phrase, `marks` what is annotated."""
    documents = []
    for rank in range(count):
        text = ""
        said: list[Phrase] = []
        for place in range(phrases):
            verb, dose, drug = words(rank, place)
            start = len(text) + len(verb) + 1
            middle = start + len(dose)
            said.append(Phrase(verb, dose, (start, middle), (middle + 1, middle + 1 + len(drug))))
            text += f"{verb} {dose} {drug} for pain{between if place < phrases - 1 else '. '}"
        mentions, links = marks(said)
        entities = tuple(Entity(f"T{k}", kind, Span.of(*at)) for k, (kind, at) in enumerate(mentions, 1))
        relations = tuple(Relation(f"R{k}", kind, f"T{head}", f"T{tail}") for k, (kind, head, tail) in enumerate(links, 1))
        documents.append(Document(f"note{rank:02d}", text, entities, relations))
    brat.write(documents, folder)
    return str(folder)


def data_of(tiny_bert: str, task: Task[Any], *corpora: object, budget: int = 160, mixing: Mixing | None = None) -> ExtractionDataModule:
    return ExtractionDataModule(list(corpora), [task], tiny_bert, batch_budget=budget, seed=1, mixing=mixing)  # type: ignore[arg-type]


def trained(
    kind: type[Module], data: ExtractionDataModule, tiny_bert: str, folder: Path, epochs: int, clip: float | None = None, **options: Any
) -> Module:
    pl.seed_everything(0, verbose=False)
    model = kind(tiny_bert, data.schemas, **options)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, use_distributed_sampler=False, limit_val_batches=0, gradient_clip_val=clip,
    )  # fmt: skip
    trainer.fit(model, data)
    return model.eval()


def predictions(model: EncoderModule, data: ExtractionDataModule, name: str = "brat_folder") -> tuple[list[Document], list[Document]]:
    """Gold and predicted notes of the test split of one corpus."""
    data.setup("test")
    outputs: dict[str, Any] = {}
    with torch.no_grad():
        for batch in data.test_dataloader():
            outputs |= model.predict_step(batch, 0)
    (task,) = data.tasks.values()
    gold, schema, examples = data.documents["test"][name], data.schema_of(name), data.make_examples("test")
    predicted = [
        task.annotations(
            Document(document.id, document.text, document.entities if task.needs_mentions else ()),
            [example for example in examples if (example.corpus, example.document_id) == (name, document.id)],
            outputs,
            schema,
        )
        for document in gold
    ]
    return gold, predicted


def micro_f1(gold: list[Document], predicted: list[Document], of: str) -> float:
    return score(gold, predicted, StrictOneToOne()).micro(of, "strict").f1
