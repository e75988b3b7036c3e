"""The default floating-point precision of a run."""

from __future__ import annotations

import torch


def computes_in_bfloat16(accelerator: str) -> bool:
    """Whether bfloat16 is an arithmetic of the device that Lightning would take, and not an emulation."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
