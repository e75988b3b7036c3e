"""How long ranks wait for each other before a hang becomes an error."""

from __future__ import annotations

from datetime import timedelta

from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy


def set_timeout(strategy: Strategy, minutes: float) -> None:
    """Set the timeout of the process group that a strategy will make.

    NCCL's own is 10 minutes, which a rank may well spend on its documents while others wait at the end of an epoch.

    Args:
        strategy: Before it sets up its processes; one of a single process has no group.
        minutes: Of one collective operation.
    """
    if isinstance(strategy, DDPStrategy | ModelParallelStrategy):
        strategy._timeout = timedelta(minutes=minutes)
