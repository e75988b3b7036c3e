"""Checkpoint files whose tensors are written one by one, so that what is sharded over ranks is never whole in memory.

A file is laid out first, with room for all tensors; then each is gathered, written to its place and dropped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.serialization import skip_data
from torch.utils._pytree import tree_leaves

from clinical_ie.errors import RunError
from clinical_ie.strategies.atomic_checkpoint import atomically

_BLOCK = 1 << 28
"""Bytes of one call to the system, which writes no more than 2 GB at once."""


class Promises:
    """Tensors that stand in a checkpoint before they are gathered: they have a shape, and no memory that was written to."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Tensor, Callable[[], Tensor]]] = {}

    def promise(self, shape: torch.Size, dtype: torch.dtype, gather: Callable[[], Tensor]) -> Tensor:
        """A tensor that stands for what `gather` will return, a collective operation of all ranks."""
        tensor = torch.empty(shape, dtype=dtype)
        self._made[id(tensor)] = tensor, gather
        return tensor

    def of(self, checkpoint: dict[str, Any]) -> Iterator[tuple[Tensor, Callable[[], Tensor]]]:
        """Those that a checkpoint holds, in the order in which they were made: the same on all ranks."""
        there = {id(leaf) for leaf in tree_leaves(checkpoint)}
        return (promised for key, promised in self._made.items() if key in there)


def save_streamed(checkpoint: dict[str, Any], filepath: Any, promises: Promises, strategy: Strategy) -> None:
    """Write one file on the first rank, tensor by tensor; all ranks of a strategy take part.

    Raises:
        RunError: It cannot be written; on all ranks.
    """
    path, promised = Path(strategy.broadcast(filepath)), promises.of(checkpoint)
    error: RunError | None = None
    if strategy.is_global_zero:
        try:
            with atomically(path) as partial:
                write_streamed(checkpoint, partial, promised)
        except RunError as failure:
            error = failure
    for _, gather in promised:  # on the first rank those that are left after an error
        gather()
    if strategy.broadcast(error is not None):
        raise error or RunError(f"{path}: the first process cannot write it")


def write_streamed(checkpoint: dict[str, Any], path: Path, promised: Iterator[tuple[Tensor, Callable[[], Tensor]]]) -> None:
    """Write a checkpoint whose promised tensors are gathered one after another, each only when it is its turn.

    Args:
        checkpoint: Nested dictionaries and lists of tensors and plain values.
        path: The file, on the disk when this returns.
        promised: From `Promises.of`; where writing fails, some are left.

    Raises:
        OSError: The file cannot be written; no more room, for example.
    """
    with skip_data(), path.open("wb") as file:  # `torch.save` leaves holes
        torch.save(checkpoint, file)
    with FakeTensorMode():
        laid_out = torch.load(path, weights_only=True)
    leaves, places = tree_leaves(checkpoint), tree_leaves(laid_out)
    offsets = {
        id(leaf): int(place.untyped_storage()._checkpoint_offset)
        for leaf, place in zip(leaves, places, strict=True)
        if isinstance(leaf, Tensor) and leaf.numel()
    }
    waiting = dict.fromkeys(offsets)
    with path.open("r+b", buffering=0) as file:
        for tensor, gather in promised:
            whole = gather().detach().to(device="cpu", dtype=tensor.dtype)
            waiting.pop(id(tensor), None)
            if tensor.numel():
                _write(file, offsets[id(tensor)], whole.contiguous())
        for leaf in leaves:
            if isinstance(leaf, Tensor) and id(leaf) in waiting:  # here already; a view is written with all that it is a view of
                held = torch.tensor([], dtype=torch.uint8, device=leaf.device).set_(leaf.untyped_storage())
                _write(file, offsets[id(leaf)], held.cpu())
        os.fsync(file.fileno())


def _write(file: IO[bytes], offset: int, tensor: Tensor) -> None:
    data = memoryview(cast("Any", tensor.reshape(-1).view(torch.uint8).numpy()))
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        while block:
            written = os.pwrite(file.fileno(), block, offset + start)
            block, start = block[written:], start + written
