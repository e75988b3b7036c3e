"""What a checkpoint says of the way in which its weights were trained."""

from __future__ import annotations

from typing import Any

import pytest
from peft import IA3Config, LoraConfig, PeftConfig

from clinical_ie.errors import SettingError
from clinical_ie.modules import EncoderTagger

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated")  # PEFT asks transformers that way


def tagger(backbone: str, peft: PeftConfig | None) -> EncoderTagger:
    module = EncoderTagger(backbone, {"c": {"entities": ["Drug"]}}, peft=peft)
    module.configure_model()
    return module


def test_another_way_of_tuning_is_named_and_not_its_settings(tiny_bert: str) -> None:
    lora = tagger(tiny_bert, LoraConfig(r=2, target_modules=["query"]))
    meta: dict[str, Any] = {"state_dict": lora.state_dict()}
    lora.on_save_checkpoint(meta)
    with pytest.raises(SettingError, match=r"in another way: peft_type was PeftType.LORA, now it is PeftType.IA3; use"):
        tagger(tiny_bert, IA3Config(target_modules=["query"], feedforward_modules=[]))._check_meta(meta)
    with pytest.raises(SettingError, match=r"in another way: peft_type was PeftType.LORA, now it is None; use"):
        tagger(tiny_bert, None)._check_meta(meta)
    with pytest.raises(SettingError, match=r"in another way: r was 2, now it is 3; use"):
        tagger(tiny_bert, LoraConfig(r=3, target_modules=["query"]))._check_meta(meta)
    assert meta["tuning"].pop("corda_config") == "None", "as of a PEFT that did not have it yet"
    lora._check_meta(meta)
