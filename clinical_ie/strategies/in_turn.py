"""Processes of a node that do one after another what takes much of the host's memory for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.strategies import ModelParallelStrategy


@contextmanager
def in_turn(strategy: ModelParallelStrategy | None) -> Iterator[None]:
    """Wait until it is this process's turn among those of its node, and give the others theirs.

    So a model that each process loads and shards is in the host's memory once at any time, not once for each process. What a process fails
    with it raises when all have had their turn, or the others would wait for it.

    Args:
        strategy: Whose process group is there; nothing waits without one.
    """
    if strategy is None or strategy.num_processes < 2:
        yield
        return
    failure: Exception | None = None
    for place in range(strategy.num_processes):
        if place == strategy.local_rank:
            try:
                yield
            except Exception as error:
                failure = error
        strategy.barrier()
    if failure is not None:
        raise failure
