"""What ranks compare before they do anything together."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from clinical_ie.callbacks.agreement import check_same_beginning
from clinical_ie.errors import RunError


def begin(monkeypatch: pytest.MonkeyPatch, *states: Path | None) -> None:
    """Rank 0, after every rank has found its state."""
    told: list[str] = []

    def gather(found: list[Any], mine: str) -> None:
        told.append(mine)
        found[:] = told if len(told) > len(states) else [mine] * len(found)

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    for state in (*states, states[0]):
        trainer: Any = SimpleNamespace(world_size=len(states), ckpt_path=None if state is None else str(state))
        check_same_beginning(trainer)


def test_ranks_that_begin_with_other_states_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where one node's file system does not show yet what the job before has saved."""
    last, stale = tmp_path / "last.ckpt", tmp_path / "stale.ckpt"
    for file in (last, stale):
        file.write_bytes(b"state")
    os.utime(stale, ns=(0, 0))
    begin(monkeypatch, last, last)
    begin(monkeypatch, None, None)
    with pytest.raises(RunError, match=r"rank 0 would go on from .*last.ckpt \(5 bytes, \d+\), but rank 1 from nothing"):
        begin(monkeypatch, last, None)
    with pytest.raises(RunError, match=r"rank 2 .* start it again"):
        begin(monkeypatch, last, last, stale)
