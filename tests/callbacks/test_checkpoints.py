"""The end of a run is validated and saved, wherever in an epoch and in the intervals of validations it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from clinical_ie.callbacks.checkpoints import Checkpoints

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*`max_epochs` was not set"),
]
BATCHES = 4


class Counting(pl.LightningModule):
    """Scores itself by its step, so that a later state is a better one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.validated: list[int] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.weight - batch.mean()).pow(2)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(self.global_step)
        self.log("dev/score", float(self.global_step))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fitted(folder: Path, *, monitor: str | None = "dev/score", **settings: Any) -> tuple[Counting, dict[str, int]]:
    """The model, and the step of each checkpoint."""
    model = Counting()
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        num_sanity_val_steps=0, callbacks=[Checkpoints(str(folder), monitor)], **settings,
    )  # fmt: skip
    trainer.fit(model, DataLoader(torch.ones(BATCHES, 1)), DataLoader(torch.ones(1, 1)))  # type: ignore[arg-type]
    steps = {path.name: int(torch.load(path, weights_only=True)["global_step"]) for path in (folder / "checkpoints").glob("*.ckpt")}
    return model, steps


@pytest.mark.parametrize(
    ("settings", "validated"),
    [
        ({"max_epochs": 2}, [4, 8]),
        ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [8, 12]),
        ({"max_epochs": 1, "check_val_every_n_epoch": 5}, [4]),
        ({"max_epochs": 1, "val_check_interval": 3}, [3, 4]),
        ({"max_epochs": 2, "val_check_interval": 0.5}, [2, 4, 6, 8]),
        ({"max_epochs": 2, "val_check_interval": 5, "check_val_every_n_epoch": None}, [5, 8]),
        ({"max_epochs": 1, "val_check_interval": "00:01:00:00"}, [4]),
        ({"max_epochs": -1, "max_steps": 6}, [4, 6]),
        ({"max_epochs": -1, "max_steps": 2, "check_val_every_n_epoch": 2}, [2]),
    ],
)
def test_the_end_is_validated_and_saved(settings: dict[str, Any], validated: list[int], tmp_path: Path) -> None:
    model, steps = fitted(tmp_path, **settings)
    assert model.validated == validated
    assert steps == {"best.ckpt": validated[-1], "last.ckpt": validated[-1]}


@pytest.mark.parametrize("settings", [{}, {"check_val_every_n_epoch": 5}, {"val_check_interval": "00:01:00:00"}])
def test_what_is_never_validated_is_saved(settings: dict[str, Any], tmp_path: Path) -> None:
    model, steps = fitted(tmp_path, monitor=None, max_epochs=2, limit_val_batches=0, **settings)
    assert not model.validated
    assert steps == {"best.ckpt": 8, "last.ckpt": 8}
