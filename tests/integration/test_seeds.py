"""``seed_everything`` is the seed of everything that training draws: weights, order, the task's choices."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clinical_ie.cli import main
from clinical_ie.corpora import Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.modules import EncoderTagger
from clinical_ie.tasks import EntityInstruction, EntityReading, RelationClassification
from clinical_ie.tasks.instruction_variants import InstructionAugmentation

SHORT = ["--trainer.max_epochs=1", "--trainer.limit_val_batches=0", "--test_after_fit=false"]


@pytest.fixture
def trained(arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The first weights of the heads, and the examples of each batch of one epoch, by command-line options."""

    def train(name: str, *more: str, config: Path | None = None) -> tuple[torch.Tensor, list[list[str]]]:
        first: list[torch.Tensor] = []
        seen: list[list[str]] = []

        def step(self: EncoderTagger, batch: Any, batch_idx: int) -> None:
            if not first:
                first.append(torch.cat([p.detach().flatten() for p in self.heads.parameters()]))
            seen.append(batch["example_ids"])

        monkeypatch.setattr(EncoderTagger, "training_step", step)
        given = arguments("fit", tmp_path / name, *SHORT) if config is None else ["fit", "-c", str(config), f"--run_dir={tmp_path / name}"]
        assert main([*given, *more]) == 0
        return first[0], seen

    return train


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`", "ignore:Detected call of `lr_scheduler.step")
def test_two_seeds_two_orders(trained: Callable[..., Any], tmp_path: Path) -> None:
    weights, order = trained("zero")
    other_weights, other_order = trained("one", "--seed_everything=1")
    assert sorted(name for batch in order for name in batch) == sorted(name for batch in other_order for name in batch)
    assert order != other_order
    assert not torch.equal(weights, other_weights)
    assert json.loads((tmp_path / "one" / "results.json").read_text(encoding="utf-8"))["run"]["seed"] == 1
    again_weights, again_order = trained("again", config=tmp_path / "one" / "config.yaml")
    assert torch.equal(other_weights, again_weights)
    assert other_order == again_order, "config.yaml replays the order"
    assert trained("back", "--seed_everything=0", config=tmp_path / "one" / "config.yaml")[1] == order, "and holds no seed but the one"
    kept_weights, kept_order = trained("kept", "--seed_everything=1", "--data.seed=0")
    assert kept_order == order, "a seed of its own"
    assert torch.equal(kept_weights, other_weights)


@pytest.mark.parametrize(
    "task",
    [
        lambda seed: RelationClassification(negatives=0.5, seed=seed),
        lambda seed: EntityReading(negatives=0.5, seed=seed),
        lambda seed: EntityInstruction(augmentation=InstructionAugmentation(variants=50), seed=seed),
    ],
)
def test_tasks_follow_the_run_unless_they_have_a_seed(task: Callable[[int | None], Any], tiny_bert: str, tiny_llama: str) -> None:
    def examples(own: int | None, run: int) -> tuple[Any, Any]:
        made = task(own)
        backbone = tiny_llama if isinstance(made, EntityInstruction) else tiny_bert
        data = ExtractionDataModule([Demo()], [made], backbone, dev_documents=4)
        data.follow_seed(run)
        data.setup("fit")
        return list(data.examples["train"])[:40], [document.id for document in data.documents["dev"]["demo"]]

    (of_one, dev), (of_two, other_dev) = examples(None, 1), examples(None, 2)
    assert of_one != of_two
    assert examples(1, 2)[0] == of_one
    assert dev == other_dev, "what a run is scored on does not follow its seed"
