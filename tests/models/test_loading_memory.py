"""Loading a decoder for adapters takes the size of its folder, once for all processes of a machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.models.tiny_decoders import save_decoder

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")]
MEGABYTE = 1 << 20


def test_memory_is_that_of_the_folder(tmp_path: Path) -> None:
    """The kernel's counts: the peak of what a process maps, and its proportional share of pages that several map."""
    small, large = save_decoder("llama", tmp_path / "small"), tmp_path / "large"
    config = LlamaConfig(
        hidden_size=1024, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=2, intermediate_size=4096, vocab_size=16_000,
        max_position_embeddings=256,
    )  # fmt: skip
    LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).save_pretrained(large, max_shard_size="100MB")
    size = sum(file.stat().st_size for file in large.glob("*.safetensors"))
    assert size > 250 * MEGABYTE
    command = [sys.executable, "-m", "tests.models.loading_process", small, str(large)]
    for processes in (1, 2):
        started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        try:
            peaks = [int(next(line for line in each.stdout if line.strip().isdigit())) for each in started]  # type: ignore[union-attr]
            shares = []
            for each in started:
                print(file=each.stdin, flush=True)
                shares.append(int(each.stdout.readline().split()[0]))  # type: ignore[union-attr]
        finally:
            for each in started:
                each.communicate("\n")
        print(
            f"{processes}: folder {size / MEGABYTE:.0f} MB, peaks {[p / MEGABYTE for p in peaks]}, shares {[s / MEGABYTE for s in shares]}"
        )
        assert max(peaks) < 1.2 * size + 64 * MEGABYTE
        assert sum(shares) < 1.2 * size + processes * 64 * MEGABYTE, "pages of files are shared"
