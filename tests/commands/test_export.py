"""A merged model says what the model with its adapter says, whatever the adapter sits on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import AutoModelForCausalLM

from clinical_ie.commands.export import check_exportable, write_adapter, write_whole
from clinical_ie.errors import SettingError
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.tied_weights import tied_weights
from tests.models.tiny_decoders import save_decoder

pytestmark = pytest.mark.filterwarnings(
    "ignore:Setting .save_embedding_layers.",
    "ignore:.*tie_word_embeddings",
    "ignore:.*tied",
    "ignore:.*gradient_checkpointing.* is deprecated",
)
IDS = torch.arange(5, 25).unsqueeze(0)


def adapted(folder: str, **options: Any) -> Any:
    """A model with an adapter that says something, as `write_whole` takes it."""
    decoder = Decoder(folder, peft=LoraConfig(r=4, lora_alpha=8, target_modules=options.pop("on")), **options).eval()
    torch.manual_seed(3)
    for name, parameter in decoder.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    subwords = SimpleNamespace(tokenizer=SimpleNamespace(save_pretrained=lambda folder: None))
    return SimpleNamespace(backbone=decoder, backbone_name=folder, quantized=None, subwords=subwords)


def logits(decoder: Decoder) -> torch.Tensor:
    with torch.no_grad():
        return decoder.logits(decoder(IDS, torch.arange(20).unsqueeze(0), torch.ones(1, 20, 20, dtype=torch.bool).tril()))


@pytest.mark.parametrize("on", [["embed_tokens", "q_proj"], ["lm_head", "q_proj"], ["embed_tokens", "lm_head"], ["q_proj"]])
@pytest.mark.parametrize("kind", ["llama", "llama tied"])
def test_merged_and_adapted_are_one(kind: str, on: list[str], tmp_path: Path) -> None:
    """Merged into tied embeddings, LoRA on one end changed the other: logits were 2.9 off."""
    base = save_decoder(kind, tmp_path / "base")
    model = adapted(base, on=on)
    expected = logits(model.backbone)
    plain = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        assert (plain(IDS).logits - expected).abs().max() > 0.1, "the adapter says something"
    write_adapter(model, tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(PeftModel.from_pretrained(plain, tmp_path / "adapter")(IDS).logits, expected, atol=1e-5, rtol=1e-5)
        write_whole(model, tmp_path / "whole", "float32")
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
        torch.testing.assert_close(merged(IDS).logits, expected, atol=1e-5, rtol=1e-5)
    tied = kind == "llama tied" and on == ["q_proj"]
    assert bool(tied_weights(merged)) == tied, "what need not be untied stays small"


def test_an_adapter_of_an_unfrozen_base_is_not_the_model(tmp_path: Path) -> None:
    model = adapted(save_decoder("llama", tmp_path / "base"), on=["q_proj"], freeze=False)
    with pytest.raises(SettingError, match="trained its base too, which an adapter does not hold; export it with --merge"):
        write_adapter(model, tmp_path / "adapter")


def test_virtual_tokens_before_a_trained_base_are_refused_without_naming_a_way_that_is_refused_too() -> None:
    with pytest.raises(SettingError, match=r"virtual tokens and its base; .* train with -c peft/prompt_tuning or -c peft/full"):
        check_exportable(SimpleNamespace(backbone=SimpleNamespace(num_virtual_tokens=8, freeze=False)))
    for tokens, freeze in ((8, True), (0, False), (0, True)):
        check_exportable(SimpleNamespace(backbone=SimpleNamespace(num_virtual_tokens=tokens, freeze=freeze)))
