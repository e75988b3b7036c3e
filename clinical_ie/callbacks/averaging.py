"""Weight averaging: an exponential moving average (EMA) of what is trained, for evaluation and for the checkpoint that is kept.

References: Izmailov et al., Averaging weights leads to wider optima (UAI 2018); Polyak & Juditsky (1992).
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn

from clinical_ie.errors import SettingError

_RAW = "current_model_state"
"""Where a checkpoint keeps the weights that training goes on with; `state_dict` holds their average."""


class MovingAverage(pl.Callback):
    """Exponential moving average of the parameters that are trained, on their device; frozen ones and buffers are not copied.

    Validation, test and `state_dict` of a checkpoint are of the average; training goes on with the weights themselves.

    Args:
        decay: Share of the average that an update keeps.
        update_every_n_steps: Steps between two updates; each walks over all trained weights.
        update_starting_at_step: The first step that counts; until then the weights themselves are scored.
    """

    def __init__(self, decay: float = 0.999, update_every_n_steps: int = 1, update_starting_at_step: int | None = None) -> None:
        self.decay, self.update_every_n_steps, self.update_starting_at_step = decay, update_every_n_steps, update_starting_at_step
        self._average: dict[str, Tensor] = {}
        self._raw: dict[str, Tensor] = {}
        self._latest_step = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse strategies under which a rank holds shards of the weights.

        Raises:
            SettingError: It is one of them.
        """
        if stage == "fit" and isinstance(trainer.strategy, DeepSpeedStrategy | FSDPStrategy | ModelParallelStrategy):
            raise SettingError(
                f"MovingAverage averages whole weights, but {type(trainer.strategy).__name__} spreads them over ranks; leave it out of"
                " trainer.callbacks, or train with --trainer.strategy=ddp"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        # what was read from a checkpoint, now that the weights are where they are trained
        self._average = {name: self._average[name].to(weight.device) for name, weight in _trained(pl_module).items() if self._average}

    def on_train_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step <= self._latest_step:
            return  # gradients wait for more batches
        self._latest_step = trainer.global_step
        step = trainer.global_step - 1
        if step >= (self.update_starting_at_step or 0) and step % self.update_every_n_steps == 0:
            self._update(_trained(pl_module))

    @torch.no_grad()
    def _update(self, weights: dict[str, nn.Parameter]) -> None:
        if not self._average:
            self._average = {name: _precise(weight).clone() for name, weight in weights.items()}
            return
        torch._foreach_lerp_(list(self._average.values()), [_precise(weight) for weight in weights.values()], 1 - self.decay)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._put_in(pl_module)

    @torch.no_grad()
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        for name, weight in _trained(pl_module).items() if self._raw else ():
            weight.copy_(self._raw[name])
        self._raw = {}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._put_in(pl_module)

    @torch.no_grad()
    def _put_in(self, pl_module: pl.LightningModule) -> None:
        """Set the weights aside and put their average in their place."""
        if self._average and not self._raw:
            self._raw = {name: weight.clone() for name, weight in _trained(pl_module).items()}
            for name, weight in _trained(pl_module).items():
                weight.copy_(self._average[name])

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return {"latest_step": self._latest_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # noqa: D102
        self._latest_step = state_dict["latest_step"]

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the average into `state_dict`, and the weights that training goes on with beside it."""
        if not self._average:
            return
        weights = _trained(pl_module)
        checkpoint[_RAW] = self._raw or {name: weight.detach() for name, weight in weights.items()}
        averages = {weight: self._average[name] for name, weight in weights.items()}
        tied = pl_module.named_parameters(remove_duplicate=False)  # a state dict has tied weights under each of their names
        checkpoint["state_dict"] = {
            **checkpoint["state_dict"],
            **{name: averages[weight] for name, weight in tied if weight in averages},
        }

    @torch.no_grad()
    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up averaging where a run goes on; what was loaded so far is the average."""
        if trainer.state.fn == "fit" and _RAW in checkpoint:
            for name, weight in _trained(pl_module).items():
                self._average[name] = _precise(checkpoint["state_dict"][name]).clone()
                weight.copy_(checkpoint[_RAW][name])


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, tied ones once."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _precise(weight: Tensor) -> Tensor:
    """In full precision: a half-precision average would not move by a thousandth."""
    return weight.detach().float() if weight.dtype in (torch.float16, torch.bfloat16) else weight.detach()
