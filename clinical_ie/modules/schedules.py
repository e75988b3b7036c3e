"""Learning-rate schedules: linear warm-up, then linear, cosine or no decay."""

from __future__ import annotations

import math
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

Schedule = Literal["linear", "cosine", "constant"]


def warmup_schedule(optimizer: Optimizer, schedule: Schedule, warmup_share: float, steps: float) -> LambdaLR:
    """Linear warm-up from 0 over the first share of the steps, then linear or cosine decay to 0, or a constant rate.

    Steps may be infinite where neither a warm-up nor a decay depends on them.
    """
    warmup = max(1, round(warmup_share * steps)) if warmup_share else 0

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        if schedule == "constant":
            return 1.0
        return 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)
