"""Weight averaging: an exponential moving average (EMA), for evaluation and for the checkpoint that is kept.

References: Izmailov et al., Averaging weights leads to wider optima (UAI 2018); Polyak & Juditsky (1992).
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from clinical_ie.errors import SettingError


class MovingAverage(EMAWeightAveraging):
    """Exponential moving average of the weights.

    Lightning's own goes through buffers too, where it truncates integers (a BERT's position ids come out as 0, 1, 2, 2, 4, ...), and
    rounds weights that never change; this one leaves both alone.

    Args:
        decay: Share of the average that an update keeps.
        update_every_n_steps: Steps between two updates; each walks over all weights, which costs as much as a short step.
        update_starting_at_step: The first step that counts.
    """

    def __init__(self, decay: float = 0.999, update_every_n_steps: int = 1, update_starting_at_step: int | None = None) -> None:
        super().__init__(
            decay=decay, use_buffers=False, update_every_n_steps=update_every_n_steps, update_starting_at_step=update_starting_at_step
        )
        options: dict[str, Any] = self._kwargs
        del options["avg_fn"]
        options["multi_avg_fn"] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse quantised weights, whose average means nothing.

        Raises:
            SettingError: The model is quantised.
        """
        if getattr(pl_module, "quantized", None) is not None:
            raise SettingError("weights in few bits cannot be averaged; leave MovingAverage out, or set quantized to null")
        super().setup(trainer, pl_module, stage)

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up averaging where a run goes on; a test is of the average, which is what `state_dict` holds."""
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
