"""Atomic checkpoint writing: a file is complete or absent, whatever ends the process or the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file, waits until the disk has it, and renames it: the previous checkpoint stays until the new one is safe."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint, straight into its file: no second copy of it is held in memory."""
        final = Path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_name(final)
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            put_in_place(partial, final)
        finally:
            partial.unlink(missing_ok=True)


def partial_name(final: Path) -> Path:
    """Where a checkpoint is written before it is one; no pattern for checkpoints finds it."""
    return final.with_name(f".{final.name}.partial")


def put_in_place(partial: Path, final: Path) -> None:
    """Give a file that is on the disk its name, so that the name is on the disk too."""
    partial.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
