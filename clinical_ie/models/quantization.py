"""Quantised frozen weights (4-bit NF4 or 8-bit, bitsandbytes), so that a large decoder is tuned with adapters on a small device: QLoRA.

Reference: Dettmers et al., QLoRA (NeurIPS 2023).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

import torch

from clinical_ie.errors import SettingError

Quantized = Literal["nf4", "int8"]


def loading_options(quantized: Quantized) -> dict[str, Any]:
    """Arguments of `from_pretrained` that quantise linear layers while they are loaded, on the current default device.

    Raises:
        SettingError: The package ``bitsandbytes`` is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise SettingError(f"weights in {quantized} need the package bitsandbytes: pip install 'clinical_ie[qlora]'")
    from transformers import BitsAndBytesConfig

    device = torch.get_default_device()
    half = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    four_bits = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": torch.bfloat16 if half else torch.float32,
    }
    config = BitsAndBytesConfig(**(four_bits if quantized == "nf4" else {"load_in_8bit": True}))  # type: ignore[no-untyped-call]
    return {"quantization_config": config, "device_map": {"": device}}
