"""Random states in checkpoints, so that a resumed run draws the dropout masks that an uninterrupted one draws."""

from __future__ import annotations

import logging
import random
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

_LOG = logging.getLogger(__name__)


class RandomState(pl.Callback):
    """Keeps the random state of every rank in each checkpoint, and gives each rank its own back.

    Where as many ranks as before go on, they draw what they would have drawn. Other numbers of them, or another kind of device, have no
    state of their own: they are seeded anew by seed, step and rank, and that is said.
    """

    def __init__(self) -> None:
        self._loaded: list[dict[str, Any]] | None = None

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Gather the states; Lightning calls this on every rank."""
        mine = _state(trainer.strategy.root_device)
        states: list[dict[str, Any]] = [mine] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(states, mine)
        checkpoint["random_states"] = states

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: D102
        if trainer.state.fn == "fit":
            self._loaded = checkpoint["random_states"]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if not trainer.sanity_checking:
            self._restore(trainer)

    def on_train_batch_start(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._restore(trainer)

    def _restore(self, trainer: pl.Trainer) -> None:
        """Once, when the first thing is to be computed: starting has drawn numbers, too."""
        if self._loaded is None:
            return
        states, self._loaded = self._loaded, None
        device = trainer.strategy.root_device
        if len(states) == trainer.world_size and ("cuda" in states[0]) == (device.type == "cuda"):
            _restore(states[trainer.global_rank], device)
            return
        seed = (torch.initial_seed() + trainer.global_step * trainer.world_size + trainer.global_rank) % 2**32
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        if trainer.is_global_zero:
            before, now = _described(len(states), "cuda" in states[0]), _described(trainer.world_size, device.type == "cuda")
            _LOG.warning(f"random states are those of {before}, now it is {now}: dropout is drawn anew, from seed, step and rank")


def _described(ranks: int, cuda: bool) -> str:
    return f"{ranks} process{'es' if ranks != 1 else ''} on {'GPU' if cuda else 'CPU'}"


def _state(device: torch.device) -> dict[str, Any]:
    """The generators of this process and of its device, as tensors and plain values, which load without pickle."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": [version, list(numbers), gauss],
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys, dtype=np.int64)), int(position), int(has_gauss), float(cached)],
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _restore(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["torch"])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
