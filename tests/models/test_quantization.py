"""Decoders whose frozen weights are held in few bits: near the whole ones, and tuned by their adapters alone."""

from __future__ import annotations

from importlib import util
from typing import Any

import pytest
import torch
from peft import LoraConfig

from clinical_ie.errors import SettingError
from clinical_ie.models import quantization
from clinical_ie.models.decoder import Decoder
from tests.models.tiny_decoders import tiny_generator

pytest.importorskip("bitsandbytes")
pytestmark = [
    # of bitsandbytes: that a CPU has no kernels of its own for 4 bits, and that it rounds what comes in
    pytest.mark.filterwarnings("ignore:.*kernels.*"),
    pytest.mark.filterwarnings("ignore:.*MatMul8bitLt.*"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_generator(tmp_path_factory.mktemp("decoder"), hidden=64)


def lora() -> LoraConfig:
    return LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")


def hidden(decoder: Decoder) -> torch.Tensor:
    ids = torch.arange(5, 25).unsqueeze(0)
    found: torch.Tensor = decoder(ids, torch.arange(20).unsqueeze(0), torch.ones(1, 20, 20, dtype=torch.bool).tril())
    return found


@pytest.mark.parametrize(("quantized", "share"), [("nf4", 0.35), ("int8", 0.1)])
def test_the_numbers_are_near(quantized: Any, share: float, folder: str) -> None:
    torch.manual_seed(0)
    whole = Decoder(folder, peft=lora()).eval()
    torch.manual_seed(0)
    packed = Decoder(folder, peft=lora(), quantized=quantized).eval()
    with torch.no_grad():
        one, two = hidden(whole), hidden(packed)
    assert 0 < (one - two).norm() / one.norm() < share
    assert whole.identity == packed.identity, "the files are the same; how they are held is part of the way of tuning"


@pytest.mark.parametrize("quantized", ["nf4", "int8"])
def test_only_adapters_learn(quantized: Any, folder: str) -> None:
    decoder = Decoder(folder, peft=lora(), quantized=quantized)
    hidden(decoder).square().sum().backward()
    learning = {name for name, parameter in decoder.named_parameters() if parameter.grad is not None and parameter.grad.abs().sum() > 0}
    assert learning == decoder.adapters
    assert all("lora" in name for name in learning)


def test_gradients_are_the_same_behind_an_evaluation(folder: str) -> None:
    decoder = Decoder(folder, peft=lora(), quantized="nf4").train()
    adapters = [parameter for parameter in decoder.parameters() if parameter.requires_grad]
    before = torch.autograd.grad(hidden(decoder).square().sum(), adapters)
    with torch.no_grad():
        hidden(decoder.eval())
    after = torch.autograd.grad(hidden(decoder.train()).square().sum(), adapters)
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert all(gradient.any() for gradient in after)


def test_weights_that_cannot_be_trained_are_refused(folder: str) -> None:
    with pytest.raises(SettingError, match="adapter"):
        Decoder(folder, quantized="nf4")
    with pytest.raises(SettingError, match="adapter"):
        Decoder(folder, peft=lora(), freeze=False, quantized="nf4")


def test_what_is_missing_is_named(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None if name == "bitsandbytes" else util.find_spec(name))
    with pytest.raises(SettingError, match=r"clinical_ie\[qlora\]"):
        Decoder(folder, peft=lora(), quantized="nf4")
