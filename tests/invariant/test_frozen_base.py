"""A frozen base in bfloat16 changes no number of the first step, and the adapters learn the same, under DDP and every stage of ZeRO."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.processes import in_ranks
from tests.invariant.frozen_base import HELD, KINDS, STRATEGIES, record
from tests.invariant.trajectories import make_places

_ROUNDED = 1e-2
"""PEFT rounds an adapter's first values to the type of the base, so that losses part in the fourth figure, under each strategy alike."""
_EQUAL = 2e-3
"""Sums over ranks in another order, which bfloat16 rounds the one way or the other."""


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(600)
def test_a_frozen_base_in_bfloat16(tmp_path: Path) -> None:
    pytest.importorskip("deepspeed")
    output = tmp_path / "found.json"
    code, printed = in_ranks(record, str(output), make_places(tmp_path), ranks=2, seconds=500)
    assert code == 0, printed[-4000:]
    found = json.loads(output.read_text(encoding="utf-8"))
    for strategy in STRATEGIES:
        for kind in KINDS:
            (whole, before, _), (half, after, trained) = (found[f"{strategy} {kind} {dtype}"] for dtype in HELD)
            assert half[0] == whole[0], "the same to the last figure that is logged"
            assert half == pytest.approx(whole, abs=_ROUNDED)
            assert half == pytest.approx(found[f"ddp {kind} bfloat16"][0], abs=_EQUAL)
            assert after < 0.8 * before, "tables, norms and biases stay"
            assert trained == ["torch.float32"]
