"""Precision under DeepSpeed: mixed bfloat16 as under every strategy, and the accumulation of gradients as Lightning counts it.

==============  ============================================================================================
``32-true``     weights, gradients and products in float32
``bf16-mixed``  the same, and autocast to bfloat16 in forward passes, as on one device
``bf16-true``   weights and gradients in bfloat16; the optimizer keeps and steps its own in float32 (masters)
``16-mixed``    weights and gradients in float16 with a scaled loss; masters in float32
==============  ============================================================================================
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.types import Steppable
from lightning.pytorch.plugins import DeepSpeedPrecision
from torch import Tensor


class ZeroPrecision(DeepSpeedPrecision):
    """Runs backward passes through DeepSpeed's engine, which steps when Lightning's loop does.

    Args:
        precision: Lightning's name of it.
    """

    @property
    def autocast(self) -> bool:
        """Whether forward passes are autocast to bfloat16."""
        return bool(self.precision == "bf16-mixed")

    def settings(self) -> dict[str, Any]:
        """What DeepSpeed is told of it."""
        if self.autocast:  # an empty list: gradients are reduced and weights gathered in float32
            return {"torch_autocast": {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}}
        if self.precision == "bf16-true":
            return {"bf16": {"enabled": True}}
        if self.precision.startswith("16-"):
            return {"fp16": {"enabled": True, "loss_scale": 0, "initial_scale_power": 16}}
        return {}

    def forward_context(self) -> AbstractContextManager[Any]:
        """Autocast for passes outside of the engine, such as those of completions that are left at the end."""
        return torch.autocast(_device_type(), dtype=torch.bfloat16) if self.autocast else nullcontext()

    def convert_input(self, data: Any) -> Any:
        """Inputs in mixed precision stay as they are: autocast converts what it multiplies."""
        return data if self.autocast else super().convert_input(data)

    def backward(  # type: ignore[override]
        self, tensor: Tensor, model: pl.LightningModule, optimizer: Steppable | None, *args: Any, **kwargs: Any
    ) -> None:
        """Add the gradients of a loss that Lightning has divided by the number of accumulated batches.

        The engine would divide it once more. It is told whether a step follows, which an epoch's last batch brings even where fewer
        batches were accumulated.
        """
        engine: Any = model.trainer.model
        engine.set_gradient_accumulation_boundary(not model.trainer.fit_loop._should_accumulate())
        engine.backward(tensor, *args, scale_wrt_gas=False, **kwargs)

    def state_of(self, engine: Any) -> dict[str, Any]:
        """The numbers by which a loss in float16 is scaled; none in other precisions."""
        scaler = getattr(getattr(engine, "optimizer", None), "loss_scaler", None)
        held = {name: value for name, value in vars(scaler).items() if isinstance(value, bool | int | float)} if scaler else {}
        return held if self.precision.startswith("16-") else {}

    def restore(self, engine: Any, state: dict[str, Any]) -> None:
        """Go on with these numbers."""
        for name, value in state.items():
            setattr(engine.optimizer.loss_scaler, name, value)


def _device_type() -> str:
    import deepspeed

    return str(deepspeed.accelerator.get_accelerator().device_name())
