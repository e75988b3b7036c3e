"""Trains a tiny model of any kind and holds the gradient of every optimizer step against that of the plain mean over all its targets.

The oracle knows nothing of batches, accumulation and ranks: each example goes through the model alone, its loss is a sum over targets that
are counted here, and the mean is over all targets of all examples that any rank saw in the step.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from clinical_ie.corpora import BratFolder, HashSplit
from clinical_ie.data.collation import PromptCollator, collator_for
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.formats import brat
from clinical_ie.modules import EncoderReader, EncoderRelationClassifier, EncoderTagger, InstructionGenerator
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.tasks import EntityInstruction, EntityReading, EntityTagging, RelationClassification

KINDS = ("tagger", "relations", "reader", "generator")
_LAYERS = {"Drug": "a", "Dose": "b", "Order": "c"}
_SCHEMA = {
    "entities": [{"name": name, "layer": layer, "definition": f"a {name}"} for name, layer in _LAYERS.items()],
    "relations": [{"name": "Of", "heads": ["Dose"], "tails": ["Drug"]}],
}
_SMALL = {"entities": ["Drug", "Dose"], "relations": [{"name": "Of", "heads": ["Dose"], "tails": ["Drug"]}]}


def write_notes(folder: Path) -> None:
    """Notes of very unequal length, with several links or none."""
    documents = []
    for number in range(18):
        text, entities, relations = "", [], []
        for place in range(1 + 3 * (number % 4)):
            start = len(text) + len("takes ")
            text += "takes daily " + ("aspirin", "heparin")[place % 2] + " again. "
            if (place + number) % 2 == 0:
                dose, drug = Span.of(start, start + 5), Span.of(start + 6, start + 13)
                rank = len(entities)
                entities += [Entity(f"T{rank + 1}", "Dose", dose), Entity(f"T{rank + 2}", "Drug", drug)]
                relations.append(Relation(f"R{len(relations) + 1}", "Of", f"T{rank + 1}", f"T{rank + 2}"))
        documents.append(Document(f"n{number:02d}", text, tuple(entities), tuple(relations)))
    brat.write(documents, folder)


def made(kind: str, notes: str, encoder: str, decoder: str, dev_share: float = 0.0) -> tuple[ExtractionDataModule, type[TunedModule], str]:
    """Data of two corpora, the kind of model, and its backbone."""
    tasks: dict[str, tuple[Any, Any, int]] = {
        "tagger": (EntityTagging(48, 8), EncoderTagger, 90),
        "relations": (RelationClassification(window=64, overlap=8), EncoderRelationClassifier, 150),
        "reader": (EntityReading(window=64, overlap=8), EncoderReader, 130),
        "generator": (EntityInstruction("lines", segment=48), InstructionGenerator, 420),
    }
    task, module, budget = tasks[kind]
    corpora = [
        BratFolder(notes, schema, corpus_name=name, entity_types=sorted(schema_types))
        for name, schema, schema_types in (("large", _SCHEMA, _LAYERS), ("small", _SMALL, ("Drug", "Dose")))
    ]
    backbone = decoder if kind == "generator" else encoder
    split = HashSplit(dev_share=dev_share, test_share=0)
    return ExtractionDataModule(corpora, [task], backbone, split=split, batch_budget=budget, seed=1), module, backbone


def _one(kind: str, model: Any, batch: Any, example: Any) -> tuple[Tensor, int]:
    """The summed loss of one example, and how many targets it has."""
    if kind == "tagger":
        units, on = model.forward_batch(batch), batch["unit_mask"]
        heads = [model.heads.head(example.corpus, layer) for layer in example.tags]
        losses = [
            head.crf(head.linear(units), batch["tags"][f"{example.corpus}/{layer}"], on)
            for head, layer in zip(heads, example.tags, strict=True)
        ]
        return torch.stack(losses).mean(), len(example.units)
    if kind == "relations":
        return model._loss(batch, model.forward_batch(batch)), len(example.labels)
    if kind == "reader":
        return model._loss(batch, model.forward_batch(batch)), len(example.units) * len(example.keys)
    return model._loss(batch), len(example.response)


class _Watch(pl.Callback):
    def __init__(self, kind: str, data: ExtractionDataModule) -> None:
        self.kind, self.data = kind, data
        self.seen: list[str] = []
        self.epoch: list[str] = []
        self.steps = 0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen += batch["example_ids"] if batch["batch_targets"] else []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        names, self.seen = self.seen, []
        examples = {example.id: example for example in self.data.examples["train"]}
        schemas = {name: corpus.schema for name, corpus in self.data.corpora.items()}
        collate = collator_for(self.data.tasks.values(), self.data.encoder.pad_id, schemas, training=True, packed=True)
        assert not isinstance(collate, PromptCollator)
        parameters = {name: parameter for name, parameter in pl_module.named_parameters() if parameter.requires_grad}
        sums = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
        count = 0
        for name in names:
            loss, targets = _one(self.kind, pl_module, collate([examples[name]]), examples[name])
            count += targets
            found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            for key, gradient in zip(parameters, found, strict=True):
                if gradient is not None:
                    sums[key] += gradient
        if trainer.world_size > 1:  # the sums of all ranks
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, (sums, count, names))
            sums = {key: torch.stack([theirs[key] for theirs, _, _ in gathered]).sum(0) for key in sums}
            count, names = sum(own for _, own, _ in gathered), [name for _, _, own in gathered for name in own]
        for name, parameter in parameters.items():
            got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(got, sums[name] / count, rtol=1e-3, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}")
        self.epoch += names
        self.steps += 1


def check(kind: str, accumulated: int, ranks: int, notes: str, encoder: str, decoder: str, limit: int | float = 1.0) -> None:
    """One epoch, every step of it."""
    warnings.filterwarnings("ignore", message="The 'train_dataloader' does not have many workers|Found .* module.s. in eval mode")
    pl.seed_everything(0, verbose=False)
    data, module, backbone = made(kind, notes, encoder, decoder)
    model = module(backbone, data.schemas, dropout=0.0, backbone_dropout=0.0, warmup_share=0.0, learning_rate=1e-3)
    watch = _Watch(kind, data)
    trainer = pl.Trainer(
        accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", max_epochs=1, accumulate_grad_batches=accumulated,
        logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, use_distributed_sampler=False,
        limit_val_batches=0, limit_train_batches=limit, callbacks=[watch],
    )  # fmt: skip
    trainer.fit(model, data)
    micro_steps = trainer.num_training_batches
    assert micro_steps > accumulated
    assert watch.steps == -(-int(micro_steps) // accumulated)
    if limit == 1.0:
        assert sorted(watch.epoch) == sorted(example.id for example in data.examples["train"]), "each example once"


def check_all(accumulations: tuple[int, ...], ranks: int, *places: str) -> None:
    """All kinds of models, in one process."""
    for kind in KINDS:
        for accumulated in accumulations:
            check(kind, accumulated, ranks, *places)
        check(kind, 3, ranks, *places, limit=4)


def check_dev_loss(kind: str, notes: str, encoder: str) -> None:
    """Of a model as it was made: one mean over all targets of the development notes, however they are batched."""
    pl.seed_everything(0, verbose=False)
    data, module, backbone = made(kind, notes, encoder, "", dev_share=0.5)
    data.eval_batch_budget = 150
    model = module(backbone, data.schemas)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    (found,) = trainer.validate(model, data, verbose=False)
    schemas = {name: corpus.schema for name, corpus in data.corpora.items()}
    collate = collator_for(data.tasks.values(), data.encoder.pad_id, schemas)
    with torch.no_grad():
        sums = [_one(kind, model.eval(), collate([example]), example) for example in data.examples["dev"]]
    assert len(sums) > 8
    wanted = sum(float(loss) for loss, _ in sums) / sum(count for _, count in sums)
    assert abs(found["dev/loss"] - wanted) < 1e-4 * wanted
