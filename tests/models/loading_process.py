"""A process that loads a decoder for adapters and says how much memory it holds: before, at its peak, and when it is asked to."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch
from peft import LoraConfig

from clinical_ie.models.decoder import Decoder


def held(file: str, entry: str) -> int:
    """Bytes of an entry of this process in ``/proc``."""
    found = re.search(rf"^{entry}:\s+(\d+) kB", Path("/proc/self", file).read_text(), re.MULTILINE)
    assert found
    return 1024 * int(found[1])


def load(folder: str) -> Decoder:
    return Decoder(folder, peft=LoraConfig(r=4, target_modules=["q_proj"]), base_dtype=torch.bfloat16)


if __name__ == "__main__":
    small, large = sys.argv[1:]
    load(small)  # all code is imported
    before, share = held("status", "VmRSS"), held("smaps_rollup", "Pss")
    decoder = load(large)
    print(held("status", "VmHWM") - before, flush=True)
    sys.stdin.readline()
    print(held("smaps_rollup", "Pss") - share, held("smaps_rollup", "Private_Dirty"), flush=True)
    sys.stdin.readline()
