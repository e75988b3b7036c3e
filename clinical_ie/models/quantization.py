"""Quantised frozen weights (4-bit NF4 or 8-bit, bitsandbytes), so that a large decoder is tuned with adapters on a small device: QLoRA.

Reference: Dettmers et al., QLoRA (NeurIPS 2023).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal, cast

import torch
from torch import nn

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


def stay_trainable(model: nn.Module) -> None:
    """Keep bitsandbytes from repacking 4-bit weights at the first pass in evaluation mode on a CPU with AVX512-BF16.

    What multiplies repacked weights has no gradient, and they stay so in training: adapters below would learn nothing, or the wrong thing.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            cast("Any", module).support_avx512bf16_for_cpu = False
