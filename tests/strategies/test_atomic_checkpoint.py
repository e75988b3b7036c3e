from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from clinical_ie.errors import RunError
from clinical_ie.strategies.atomic_checkpoint import AtomicCheckpointIO


def test_a_full_disk_leaves_what_was_saved_before(tmp_path: Path) -> None:
    """As full as the system makes it: no file may have more than 64 KiB."""
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.ones(3)}}, path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(RunError, match=r"last.ckpt: cannot be written \(File too large\); what was saved before is whole"):
            AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.ones(1 << 16)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert torch.load(path, weights_only=True)["state_dict"]["a"].tolist() == [1, 1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
