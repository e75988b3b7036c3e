"""The script of GPU figures runs at toy size on whatever is here, and prints both tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_toy_size() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(root / "benchmarks" / "gpu.py"), "--toy", "--ways", "LoRA, checkpointing"],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {cells[1].strip(): cells[2:] for cells in (line.split("|") for line in done.stdout.splitlines()) if len(cells) > 3}
    assert all(float(rows[way][place]) > 0 for way in ("LoRA, checkpointing", "full, checkpointing") for place in (0, 3))
    assert all(float(rows[way][0]) > 0 for way in ("free", "with a grammar"))
