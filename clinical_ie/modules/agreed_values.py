"""Values that are made over all ranks before they are logged."""

from __future__ import annotations

from collections.abc import Mapping

import lightning.pytorch as pl
from torch import Tensor


def log_agreed(module: pl.LightningModule, values: Mapping[str, Tensor], *, prog_bar: bool = False) -> None:
    """Log what every rank holds alike, at the end of a pass over data; to be called on all ranks, with the same names.

    Lightning reduces what is logged for a whole pass or warns that it does not. The highest of equal values is each of them, to the last
    bit, which their mean need not be.
    """
    module.log_dict(dict(values), prog_bar=prog_bar, sync_dist=True, reduce_fx="max", batch_size=1)
