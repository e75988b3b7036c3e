"""The moving average of the weights, and what it must leave alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.utils.data import DataLoader

from clinical_ie.callbacks.averaging import MovingAverage
from clinical_ie.errors import SettingError
from clinical_ie.models.backbones import load_encoder

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode"),
]


class Small(pl.LightningModule):
    """A BERT whose lower half is frozen, a norm with buffers of both kinds, and a head."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.encoder = load_encoder(folder)
        for name, parameter in self.encoder.named_parameters():
            parameter.requires_grad_("layer.1" in name)
        # values that rounding would show, as a sum of nine and one tenths does
        torch.manual_seed(0)
        for parameter in self.encoder.parameters():
            nn.init.normal_(parameter, std=0.3)
        self.norm = nn.BatchNorm1d(48)
        self.head = nn.Linear(48, 1)
        self.register_buffer("places", torch.arange(600))
        self.history: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        hidden = self.encoder(batch)[0].flatten(0, 1)
        loss: Tensor = self.head(self.norm(hidden)).pow(2).mean()
        return loss

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.encoder(batch)

    def on_before_zero_grad(self, optimizer: Any) -> None:
        self.history.append(self.head.weight.detach().clone())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.1)


def trained(folder: str, where: Path, callback: pl.Callback, steps: int = 6) -> Small:
    model = Small(folder)
    ids = torch.randint(5, 900, (8, 7), generator=torch.Generator().manual_seed(0))
    trainer = pl.Trainer(
        max_epochs=2, limit_train_batches=steps // 2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=where, callbacks=[callback],
    )  # fmt: skip
    trainer.fit(model, DataLoader(ids, batch_size=2))  # type: ignore[arg-type]
    return model


def untouched(model: Small, before: Small) -> tuple[list[str], list[str]]:
    """Names of frozen weights and of integer buffers that are not what they were."""
    frozen = [
        n for (n, p), q in zip(model.named_parameters(), before.parameters(), strict=True) if not p.requires_grad and not torch.equal(p, q)
    ]
    pairs = zip(model.named_buffers(), before.buffers(), strict=True)
    return frozen, [n for (n, b), c in pairs if not b.is_floating_point() and "tracked" not in n and not torch.equal(b, c)]


def test_integers_and_frozen_weights_stay(tiny_bert: str, tmp_path: Path) -> None:
    model = trained(tiny_bert, tmp_path, MovingAverage(0.9))
    assert untouched(model, Small(tiny_bert)) == ([], [])
    assert int(model.norm.num_batches_tracked) == 6, "buffers are those of the last step"
    assert model.encoder.embeddings.position_ids[0].tolist() == list(range(512))


def test_only_what_is_trained_is_kept(tiny_bert: str, tmp_path: Path) -> None:
    callback = MovingAverage(0.9)
    model = trained(tiny_bert, tmp_path, callback)
    moving = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name: (value.shape, value.device) for name, value in callback._average.items()} == {
        name: (parameter.shape, parameter.device) for name, parameter in moving.items()
    }


@pytest.mark.parametrize("strategy", [ModelParallelStrategy, FSDPStrategy])
def test_sharded_weights_are_refused_before_training(strategy: type[Strategy], tiny_bert: str) -> None:
    trainer: Any = SimpleNamespace(strategy=object.__new__(strategy))
    with pytest.raises(SettingError, match=f"{strategy.__name__} spreads them over ranks; leave it out of trainer.callbacks"):
        MovingAverage().setup(trainer, Small(tiny_bert), "fit")
    MovingAverage().setup(trainer, Small(tiny_bert), "test")


def test_half_precision_is_averaged_in_full(tiny_bert: str) -> None:
    """In bfloat16 the number above 1 is 1.0078, so that a step of a thousandth of the way to 2 would be none."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    callback = MovingAverage(0.999)
    for value in (1.0, 2.0):
        nn.init.constant_(model.weight, value)
        callback._update({"weight": model.weight})
    assert callback._average["weight"].item() == pytest.approx(1.001, abs=1e-6)


@pytest.mark.parametrize(("every", "start"), [(1, None), (2, None), (1, 2), (2, 3)])
def test_the_average_by_hand(every: int, start: int | None, tiny_bert: str, tmp_path: Path) -> None:
    model = trained(tiny_bert, tmp_path, MovingAverage(0.75, every, start))
    assert len(model.history) == 6
    # what Lightning hands to `on_before_zero_grad` is the state before the step; the last state is not among it
    raw = trained(tiny_bert, tmp_path, pl.Callback())
    states = [*raw.history[1:], raw.head.weight.detach()]
    average = None
    for step, state in enumerate(states):
        if (start is None or step >= start) and step % every == 0:
            average = state if average is None else 0.75 * average + 0.25 * state
    assert average is not None
    torch.testing.assert_close(model.head.weight.detach(), average, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(average, states[-1], rtol=1e-3), "it is not the last state"


def test_a_test_after_training_is_of_the_average(tiny_bert: str, tmp_path: Path) -> None:
    """In the process that trained, as in one that did not: Lightning's own gives back the weights that were put aside."""
    model = Small(tiny_bert)
    loader = DataLoader(torch.randint(5, 900, (8, 7), generator=torch.Generator().manual_seed(0)), batch_size=2)  # type: ignore[arg-type]
    keeper = ModelCheckpoint(tmp_path, "kept", every_n_train_steps=3, save_top_k=1)
    trainer = pl.Trainer(
        max_steps=4, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        callbacks=[MovingAverage(0.75), keeper],
    )  # fmt: skip
    trainer.fit(model, loader)
    checkpoint = torch.load(tmp_path / "kept.ckpt", weights_only=True)
    average, aside = (checkpoint[key]["head.weight"] for key in ("state_dict", "current_model_state"))
    assert not torch.equal(average, aside)
    trainer.test(model, loader, ckpt_path=str(tmp_path / "kept.ckpt"), weights_only=True, verbose=False)
    assert torch.equal(model.head.weight.detach(), average)
