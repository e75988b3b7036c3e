"""What makes large decoders fit changes nothing of what they learn: packing, checkpointing, chunks, compiled layers, a base in bfloat16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from peft import LoraConfig

from clinical_ie.corpora import Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.response_rows import rows_of_responses
from clinical_ie.errors import SettingError
from clinical_ie.modules import InstructionGenerator
from clinical_ie.tasks.instruction import EntityInstruction
from tests.models.tiny_decoders import tiny_generator
from tests.modules.generator_runs import made, trainer_of
from tests.modules.tiny_training import WARNINGS_OF_TRAINING

pytestmark = [
    WARNINGS_OF_TRAINING,
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated"),  # PEFT asks transformers so
]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_generator(tmp_path_factory.mktemp("generator"), hidden=64)


def lora() -> LoraConfig:
    return LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)


def data_of(generator: str) -> ExtractionDataModule:
    return ExtractionDataModule([Demo()], [EntityInstruction("grouped")], generator, batch_budget=512)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_everything_together_has_the_loss_of_nothing(generator: str) -> None:
    """The sum over all responses of a few notes, and its gradients, however they are cut into rows."""
    found = []
    for on in (False, True):
        data = data_of(generator)
        data.setup("fit")
        model = made(data, generator, peft=lora(), gradient_checkpointing=on, chunk=16 if on else 0, compiled=on)
        model.configure_model()
        total = torch.zeros(())
        for batch in rows_of_responses([*data.examples["train"]][:6], 512, model.subwords.pad_id, packed=on):
            loss = model._loss(batch)
            loss.backward()
            total += loss.detach()
        found.append((total, {name: each.grad for name, each in model.named_parameters() if each.grad is not None}))
    (plain, wanted), (together, gradients) = found
    torch.testing.assert_close(together, plain, rtol=1e-5, atol=0.0)
    assert wanted.keys() == gradients.keys()
    for name, each in wanted.items():
        torch.testing.assert_close(gradients[name], each, rtol=1e-3, atol=1e-4 * float(each.abs().max()))


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.found.append(float(pl_module.batch_loss) / batch["batch_targets"])


@pytest.mark.slow
def test_a_base_in_bfloat16_learns_the_same(generator: str, tmp_path: Path) -> None:
    """The first loss is the same to the bit; then adapters differ by the rounding of their first values (see `base_dtype`)."""
    losses = {}
    for setting in ("float32", "auto"):
        data, meter = data_of(generator), Losses()
        model = made(data, generator, peft=LoraConfig(r=4, target_modules="all-linear"), base_dtype=setting, learning_rate=1e-3)
        trainer_of(tmp_path, 1, limit_train_batches=8, precision="bf16-mixed", callbacks=[meter]).fit(model, data)
        losses[setting] = meter.found
        held = {each.dtype for each in model.parameters() if not each.requires_grad}
        assert (torch.bfloat16 in held) == (setting == "auto")
        assert {each.dtype for each in model.parameters() if each.requires_grad} == {torch.float32}
    assert losses["auto"][0] == losses["float32"][0]
    assert losses["auto"] == pytest.approx(losses["float32"], rel=2e-3)
    print(losses)


def test_a_trained_base_is_not_held_in_bfloat16(generator: str) -> None:
    with pytest.raises(SettingError, match="the base is trained"):
        InstructionGenerator(generator, {}, base_dtype="bfloat16")
