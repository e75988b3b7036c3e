"""Checkpoints that are whole or not there."""

from __future__ import annotations

import os
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the name and renames, so that a killed job leaves the previous checkpoint intact."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint."""
        final = os.fspath(path)
        folder, name = os.path.split(final)
        partial = os.path.join(folder, f".{name}.partial")
        try:
            super().save_checkpoint(checkpoint, partial, storage_options)
            os.replace(partial, final)
        finally:
            if os.path.exists(partial):
                os.remove(partial)
