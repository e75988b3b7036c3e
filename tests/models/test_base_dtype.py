"""A frozen base in bfloat16 computes what it computes in 32 bits under autocast, bit for bit: states, logits and gradients of adapters."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from clinical_ie.decoding.adapter_merging import InferenceWeights
from clinical_ie.errors import SettingError
from clinical_ie.models.base_dtype import chosen_dtype
from clinical_ie.models.block_mask import block_mask
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.encoder_classes import encoder_class
from tests.models.decoder_families import FAMILIES, save_family
from tests.models.tiny_decoders import save_decoder, spread
from tests.models.tiny_encoders import KINDS, config_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated"),  # PEFT asks transformers so
    pytest.mark.filterwarnings("ignore:.*fan_in_fan_out is set to False"),  # of GPT-2's layers; PEFT then does what is right
    pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not match"),
]
EXPERTS = ("Mixtral", "Qwen3-MoE", "GPT-OSS", "DeepSeek-V3")
"""Autocast leaves the products of their experts in 32 bits on a CPU; in bfloat16 they are rounded as those of all other layers."""
Passed = tuple[dict[str, Tensor], nn.Module]


def in_bfloat16(folder: str) -> str:
    """The same model with its files in bfloat16."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    return folder


def lora(**more: Any) -> LoraConfig:
    return LoraConfig(r=4, init_lora_weights=False, **{"target_modules": "all-linear", **more})


def decoded(folder: str, dtype: torch.dtype, peft: Any = None) -> Passed:
    """States, logits and gradients of a step under autocast, and the decoder."""
    torch.manual_seed(0)
    decoder = Decoder(folder, peft=peft or lora(), base_dtype=dtype)
    ids = torch.arange(5, 45).view(2, 20)
    positions, segments = torch.arange(20).expand(2, 20), torch.ones(2, 20, dtype=torch.long)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        states = decoder(ids, positions, block_mask(segments, segments * 0))
        logits = decoder.logits(states)
    logits.float().square().mean().backward()
    gradients = {name: each.grad for name, each in decoder.named_parameters() if each.grad is not None}
    return {"states": states, "logits": logits, **gradients}, decoder


def assert_same(folder: str, *, exact: bool = True, **options: Any) -> nn.Module:
    wanted, _ = decoded(folder, torch.float32, **options)
    found, decoder = decoded(folder, torch.bfloat16, **options)
    assert found.keys() == wanted.keys()
    assert all(found[name].dtype == each.dtype for name, each in wanted.items())
    different = [name for name, each in wanted.items() if not torch.equal(found[name], each)]
    assert not (different and exact)
    for name in different:
        assert (found[name] - wanted[name]).norm() < 0.05 * wanted[name].norm(), name
    assert all(each.dtype == torch.float32 for each in decoder.parameters() if each.requires_grad)
    return decoder


@pytest.mark.parametrize("kind", ["llama", "llama tied", "gemma3", "gpt2"])
def test_decoders_compute_the_same_with_files_in_bfloat16(kind: str, tmp_path: Path) -> None:
    decoder = assert_same(in_bfloat16(save_decoder(kind, tmp_path)))
    held = {name: each.dtype for name, each in decoder.named_parameters() if not each.requires_grad and each.ndim > 1}
    assert set(held.values()) == {torch.bfloat16}, "matrices and tables"


@pytest.mark.parametrize("kind", ["llama", "llama tied", "gpt2"])
def test_decoders_compute_the_same_with_files_in_32_bits(kind: str, tmp_path: Path) -> None:
    """What a table loses by rounding autocast would not lose: it stays as it is."""
    decoder: Any = assert_same(save_decoder(kind, tmp_path))
    assert decoder.base.get_input_embeddings().weight.dtype == torch.float32
    assert torch.bfloat16 in {each.dtype for each in decoder.parameters()}


@pytest.mark.slow
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_computes_the_same(family: str, stored: torch.dtype, tmp_path: Path) -> None:
    folder = save_family(family, tmp_path)
    if stored == torch.bfloat16:
        in_bfloat16(folder)
    try:
        Decoder(folder, peft=lora())
    except SettingError:
        with pytest.raises(SettingError):
            Decoder(folder, peft=lora(), base_dtype=torch.bfloat16)
    else:
        assert_same(folder, exact=family not in EXPERTS)


def test_what_is_trained_is_in_32_bits(tmp_path: Path) -> None:
    """Also copies of modules that lie in the base in bfloat16, a soft prompt made of words, and adapters of a table."""
    folder = in_bfloat16(save_decoder("llama", tmp_path))
    for peft in (
        lora(modules_to_save=["embed_tokens", "lm_head"]),
        lora(target_modules=["embed_tokens"]),
        PromptTuningConfig(num_virtual_tokens=3),
    ):
        assert_same(folder, peft=copy.deepcopy(peft))


@pytest.mark.parametrize(
    "kind", ["bert", pytest.param("bert in bfloat16"), *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "deberta")]
)
def test_encoders_compute_the_same(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = config_of(kind.partition(" ")[0])
    model: Any = encoder_class(config)(config)
    spread(model)
    model.to(torch.bfloat16 if "bfloat16" in kind else torch.float32).save_pretrained(tmp_path)
    found: list[dict[str, Tensor]] = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        encoder = Encoder(str(tmp_path), freeze=True, markers=[[5, 6], [7]], base_dtype=dtype).eval()
        with torch.autocast("cpu", torch.bfloat16):
            state = encoder(torch.tensor([[4, 5, 6, -1, 7, 8, -2, 9]]), torch.ones(1, 8, dtype=torch.long))
        found.append({"state": state, "markers": encoder.markers.weight})  # type: ignore[union-attr]
        assert (torch.bfloat16 in {each.dtype for each in encoder.parameters()}) == (dtype == torch.bfloat16)
    assert torch.equal(found[0]["state"], found[1]["state"])
    assert torch.equal(found[0]["markers"], found[1]["markers"])


def test_merged_adapters_are_those_of_a_base_in_32_bits(tmp_path: Path) -> None:
    folder = in_bfloat16(save_decoder("llama", tmp_path))
    merged: list[dict[str, Tensor]] = []
    adapters: dict[str, Tensor] = {}
    for dtype in (torch.float32, torch.bfloat16):
        _, decoder = decoded(folder, dtype)
        adapters = adapters or {name: each for name, each in decoder.state_dict().items() if "lora" in name}
        decoder.load_state_dict(adapters, strict=False)
        before = {name: each.data for name, each in decoder.named_parameters()}
        with torch.autocast("cpu", torch.bfloat16), InferenceWeights(decoder).in_place():  # type: ignore[arg-type]
            merged.append({name: each.data for name, each in decoder.named_parameters() if "lora" not in name})
        assert all(each.data is before[name] or torch.equal(each.data, before[name]) for name, each in decoder.named_parameters())
    assert {each.dtype for each in merged[1].values()} == {torch.bfloat16}
    assert all(torch.equal(each, merged[1][name]) for name, each in merged[0].items())


def test_choices() -> None:
    half, whole = torch.bfloat16, torch.float32
    assert chosen_dtype("auto", frozen=True, precision="bf16-mixed") == half
    assert chosen_dtype("auto", frozen=True, precision="bf16-true") == half
    assert chosen_dtype("auto", frozen=True, precision="32-true") == whole
    assert chosen_dtype("auto", frozen=True, precision="16-mixed") == whole
    assert chosen_dtype("auto", frozen=False, precision="bf16-mixed") == whole, "steps round away"
    assert chosen_dtype("float32", frozen=True, precision="bf16-mixed") == whole
    assert chosen_dtype("bfloat16", frozen=True, precision=None) == whole, "an export merges in 32 bits"
    with pytest.raises(SettingError, match=r"the base is trained.*peft/lora"):
        chosen_dtype("bfloat16", frozen=False, precision="bf16-mixed")
    with pytest.raises(SettingError, match=r"trainer.precision is 32-true; give --trainer.precision=bf16-mixed"):
        chosen_dtype("bfloat16", frozen=True, precision="32-true")
