"""Atomic checkpoint writing: a file is complete or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file and renames it, so that a killed job leaves the previous checkpoint intact."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint."""
        final = Path(path)
        partial = final.with_name(f".{final.name}.partial")
        try:
            super().save_checkpoint(checkpoint, partial, storage_options)
            partial.replace(final)
        finally:
            partial.unlink(missing_ok=True)
