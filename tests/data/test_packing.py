"""Batches that fill rows, and a loss that is one mean over all response tokens of an optimizer step however they were batched.

The oracle of gradients is the plain model of transformers, one unpadded example at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from transformers import AutoModelForCausalLM

from clinical_ie.callbacks.random_state import RandomState
from clinical_ie.corpora import BratFolder, HashSplit
from clinical_ie.data.batching import packed_batches
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document, Entity, Span
from clinical_ie.formats import brat
from clinical_ie.modules import InstructionGenerator
from clinical_ie.tasks.instruction import EntityInstruction
from clinical_ie.tasks.instruction_variants import InstructionAugmentation
from tests.models.tiny_decoders import tiny_generator

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:The number of training batches",
    "ignore:Found .* module.s. in eval mode",
    "ignore:You're resuming from a checkpoint that ended before the epoch ended",
    "ignore:Be aware that when using `ckpt_path`",
)


@st.composite
def packings(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], int]:
    sizes = draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
    pairs = draw(st.lists(st.tuples(st.integers(1, 30), st.integers(0, len(sizes) - 1)), max_size=60))
    return [own for own, _ in pairs], [shared for _, shared in pairs], sizes, draw(st.integers(1, 50))


@given(packings(), st.integers(0, 3))
def test_rows_hold_everything_once_within_the_budget(packing: tuple[list[int], list[int], list[int], int], seed: int) -> None:
    own, shared, sizes, budget = packing
    batches = packed_batches(own, shared, sizes, budget, seed=seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(own)))
    for batch in batches:
        assert batch
        assert len({shared[index] for index in batch}) == 1
        assert len(batch) == 1 or sizes[shared[batch[0]]] + sum(own[index] for index in batch) <= budget
    assert batches == packed_batches(own, shared, sizes, budget, seed=seed)


def test_rows_are_well_filled_and_seeds_differ() -> None:
    own = [20 + 7 * (number % 13) for number in range(400)]
    rows = packed_batches(own, [0] * 400, [100], 1024, seed=1)
    assert sum(own) / (len(rows) * 924) > 0.93
    assert rows != packed_batches(own, [0] * 400, [100], 1024, seed=2)


# through the Trainer


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_generator(tmp_path_factory.mktemp("generator"), hidden=16)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ten notes of unequal length, with answers of unequal length."""
    documents = []
    for number in range(14):
        text, entities = "", []
        for place in range(1 + 5 * (number % 3)):
            text += "takes "
            if place % 3 == 0:
                entities.append(Entity(f"T{place + 1}", "Drug", Span.of(len(text), len(text) + 7)))
            text += ("aspirin", "heparin")[place % 2] + " daily. "
        documents.append(Document(f"n{number:02d}", text, tuple(entities)))
    folder = tmp_path_factory.mktemp("notes")
    brat.write(documents, folder)
    return str(folder)


class Plain(InstructionGenerator):
    """Without Adam, which would hide the scale of gradients."""

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Steps(pl.Callback):
    """Which examples each optimizer step saw, its gradients, and the weights before it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.rows: list[int] = []
        self.steps: list[tuple[list[str], dict[str, Tensor], dict[str, Tensor]]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen += batch["example_ids"]
        self.rows.append(len(batch["example_ids"]))

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        model = pl_module.backbone.model
        gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        self.steps.append((self.seen, gradients, {name: value.clone() for name, value in model.state_dict().items()}))
        self.seen = []


def data_of(notes: str, generator: str, packing: bool, budget: int, corpora: int = 1) -> ExtractionDataModule:
    schema = {"entities": [{"name": "Drug", "definition": "What is taken."}, {"name": "Dose", "definition": "How much."}]}
    known = [BratFolder(notes, schema, corpus_name=f"notes{number}") for number in range(corpora)]
    task = EntityInstruction("lines", segment=48, augmentation=InstructionAugmentation(variants=2))
    return ExtractionDataModule(known, [task], generator, split=HashSplit(test_share=0.1), batch_budget=budget, seed=3, packing=packing)  # type: ignore[arg-type]


def fit(
    data: ExtractionDataModule, generator: str, folder: Path, *callbacks: pl.Callback, kind: type[InstructionGenerator] = Plain,
    ckpt_path: str | None = None, **options: Any,
) -> tuple[InstructionGenerator, pl.Trainer]:  # fmt: skip
    pl.seed_everything(0, verbose=False)
    model = kind(generator, data.schemas)
    settings = {"max_epochs": 2, "accumulate_grad_batches": 3, **options}
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        use_distributed_sampler=False, limit_val_batches=0, callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks), **settings,
    )  # fmt: skip
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    return model, trainer


def mean_gradients(data: ExtractionDataModule, generator: str, names: list[str], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the mean over all tokens of these examples' responses."""
    model = AutoModelForCausalLM.from_pretrained(generator, dtype=torch.float32)
    model.load_state_dict(weights)
    examples: dict[str, Any] = {example.id: example for example in data.examples["train"]}
    losses, count = [], 0
    for name in names:
        example = examples[name]
        ids = torch.tensor([[*example.prefix_ids, *example.input_ids, *example.response]])
        first = len(example.prefix_ids) + len(example.input_ids)
        scores = model(ids, use_cache=False).logits[0, first - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(scores, ids[0, first:], reduction="sum"))
        count += len(example.response)
    (torch.stack(losses).sum() / count).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_steps_are_means(watch: Steps, data: ExtractionDataModule, generator: str) -> None:
    for names, gradients, weights in watch.steps:
        wanted = mean_gradients(data, generator, names, weights)
        assert gradients.keys() == wanted.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, wanted[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("packing", "budget", "corpora"), [(True, 400, 1), (False, 600, 1), (True, 420, 2)])
def test_accumulated_batches_are_one_big_batch(
    packing: bool, budget: int, corpora: int, notes: str, generator: str, tmp_path: Path
) -> None:
    data = data_of(notes, generator, packing, budget, corpora)
    watch = Steps()
    _, trainer = fit(data, generator, tmp_path, watch, accumulate_grad_batches=4)
    batches = trainer.num_training_batches
    assert batches > 4
    assert batches % 4, "the last step of an epoch has fewer batches"
    assert len(watch.steps) == 2 * -(-batches // 4) == trainer.global_step
    assert len(set(watch.rows)) > 1, "batches are unequal"
    every = {example.id for example in data.examples["train"]}
    half = len(watch.steps) // 2
    for epoch in (watch.steps[:half], watch.steps[half:]):
        assert sorted(name for names, _, _ in epoch for name in names) == sorted(every)
    assert_steps_are_means(watch, data, generator)


def test_one_step_is_the_same_with_any_batches(notes: str, generator: str, tmp_path: Path) -> None:
    """All of an epoch in one step: one row, rows each for itself, or accumulated."""
    found = []
    for packing, budget, accumulated in ((True, 100_000, 1), (False, 100_000, 1), (True, 400, 1000), (False, 300, 1000)):
        data = data_of(notes, generator, packing, budget)
        data.tasks["entity_instruction"].augmentation = None  # type: ignore[attr-defined]
        model, trainer = fit(data, generator, tmp_path, max_epochs=1, accumulate_grad_batches=accumulated)
        assert trainer.global_step == 1
        found.append(dict(model.backbone.model.named_parameters()))
    for other in found[1:]:
        for name, parameter in found[0].items():
            torch.testing.assert_close(other[name], parameter, rtol=1e-4, atol=1e-6)


def test_an_epoch_that_is_cut_short_has_right_means_too(notes: str, generator: str, tmp_path: Path) -> None:
    """``limit_train_batches`` leaves a last step with fewer batches than planned."""
    data = data_of(notes, generator, True, 400)
    watch = Steps()
    fit(data, generator, tmp_path, watch, max_epochs=1, limit_train_batches=4)
    assert len(watch.steps) == 2
    assert_steps_are_means(watch, data, generator)


@pytest.mark.parametrize("after", [1, 2])
def test_going_on_in_the_middle_of_an_epoch(after: int, notes: str, generator: str, tmp_path: Path) -> None:
    data = data_of(notes, generator, True, 250)
    whole, trainer = fit(
        data,
        generator,
        tmp_path,
        RandomState(),
        ModelCheckpoint(tmp_path / "whole", "{step}", every_n_train_steps=1, save_top_k=-1),
        kind=InstructionGenerator,
    )
    assert trainer.num_training_batches > 3 * after, "in the middle"
    watch = Steps()
    path = str(tmp_path / "whole" / f"step={after}.ckpt")
    again = data_of(notes, generator, True, 250)
    resumed, other = fit(again, generator, tmp_path, watch, RandomState(), kind=InstructionGenerator, ckpt_path=path)
    assert other.global_step == trainer.global_step
    assert len(watch.steps) == trainer.global_step - after
    assert_steps_are_means(watch, data, generator)
    for (name, one), two in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two), name
