"""Atomic checkpoint writing: a file is complete or absent, whatever ends the process or the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from clinical_ie.errors import RunError
from clinical_ie.strategies.checkpoint import Checkpoint, partial_name, put_in_place


@contextmanager
def atomically(final: Path) -> Iterator[Path]:
    """Where to write a checkpoint that gets its name when it is complete and on the disk.

    Raises:
        RunError: It cannot be written: a full disk, a folder of others.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(final)
    try:
        yield partial
        put_in_place(partial, final)
    except (OSError, RuntimeError) as error:
        reason = error if isinstance(error, OSError) else error.__context__  # torch tells only that less was written than wanted
        if not isinstance(reason, OSError):
            raise
        raise RunError(
            f"{final}: cannot be written ({reason.strerror}); what was saved before is whole: make room, and go on from there"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file, waits until the disk has it, and renames it: the previous checkpoint stays until the new one is safe.

    It reads folders of shards too.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint, straight into its file: no second copy of it is held in memory."""
        with atomically(Path(path)) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> dict[str, Any]:
        """What a trainer restores, from one file or from a folder of shards."""
        return Checkpoint(path).whole() if Path(path).is_dir() else super().load_checkpoint(path, map_location, weights_only)
