"""What tables call a way of tuning."""

from types import SimpleNamespace
from typing import Any

import pytest
from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

from clinical_ie.modules.tuned_module import TunedModule


@pytest.mark.parametrize(
    ("peft", "freeze", "quantized", "expected"),
    [
        (None, False, None, "full"),
        (None, True, None, "frozen"),
        (LoraConfig(), True, None, "lora"),
        (LoraConfig(use_dora=True), True, None, "dora"),
        (LoraConfig(), True, "nf4", "lora in nf4"),
        (IA3Config(), True, None, "ia3"),
        (PromptTuningConfig(num_virtual_tokens=4), False, None, "prompt_tuning and full"),
        (PromptEncoderConfig(num_virtual_tokens=4), True, None, "p_tuning"),
        (PrefixTuningConfig(num_virtual_tokens=4), True, None, "prefix_tuning"),
    ],
)
def test_ways_of_tuning_have_names(peft: PeftConfig | None, freeze: bool, quantized: str | None, expected: str) -> None:
    module: Any = SimpleNamespace(peft=peft, backbone=SimpleNamespace(freeze=freeze), quantized=quantized)
    assert TunedModule.way_of_tuning.fget(module) == expected  # type: ignore[attr-defined]
