"""Folders of the best model, written from the checkpoint's file; `tests/integration/test_generator.py` holds them against `export`."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, PromptEncoderConfig
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from clinical_ie.callbacks import model_folder
from clinical_ie.callbacks.model_folder import folder_name, remove_folders, write_folder
from clinical_ie.models.decoder import Decoder
from clinical_ie.modules import EncoderTagger, InstructionGenerator
from clinical_ie.strategies.checkpoint import Checkpoint
from tests.models.decoder_families import save_family
from tests.models.tiny_decoders import ARCHITECTURES, save_decoder

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated", "ignore:.*tie_word_embeddings")
IDS = torch.arange(5, 25).unsqueeze(0)


def module_of(base: str, **options: Any) -> Any:
    """A generator with a decoder, of which no engine is asked."""
    module = InstructionGenerator(base, {}, **options)
    module.backbone = Decoder(base, peft=module.peft, freeze=module.frozen_base).eval()
    module.subwords = SimpleNamespace(tokenizer=SimpleNamespace(save_pretrained=lambda folder: None))  # type: ignore[assignment]
    return module


def checkpoint_of(module: Any, folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Checkpoint:
    """A file with what is trained, other than the module has it."""
    trained = {name for name, value in module.named_parameters(remove_duplicate=False) if value.requires_grad}
    changed: dict[int, torch.Tensor] = {}
    state = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if name in trained:
            state[name] = changed.setdefault(id(value), change(value.detach().clone()))
    meta = {part: {} for part in ("schemas", "tuning", "tokenizer", "backbone_config", "run")}
    torch.save({**meta, "weights": {name: list(value.shape) for name, value in state.items()}, "state_dict": state}, folder / "best.ckpt")
    return Checkpoint(folder / "best.ckpt")


@pytest.mark.parametrize("kind", ["llama", "llama tied", "gemma3", "Mixtral", "Qwen3-MoE"])
def test_a_whole_model_is_that_of_the_file(kind: str, tmp_path: Path) -> None:
    """Not of the module, whose weights an engine may hold in shards, and that has gone on. Experts have other names in files."""
    base = save_decoder(kind, tmp_path / "base") if kind in ARCHITECTURES else save_family(kind, tmp_path / "base")
    module = module_of(base)
    checkpoint = checkpoint_of(module, tmp_path, lambda value: value + 0.1)
    assert write_folder(module, checkpoint) == tmp_path / "model"
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    with torch.no_grad():
        before = module.backbone.base(IDS).logits
        module.load_state_dict(checkpoint.weights(), strict=False)
        expected = module.backbone.base(IDS).logits
        torch.testing.assert_close(loaded(IDS).logits, expected, atol=1e-5, rtol=1e-5)
    assert (expected - before).abs().max() > 0.01
    with safe_open(tmp_path / "model" / "model.safetensors", "pt") as one, safe_open(Path(base) / "model.safetensors", "pt") as other:
        assert {*one.keys()} == {*other.keys()}
    names = [path.name for path in (tmp_path / "model").iterdir()]
    assert sorted(names) == ["config.json", "generation_config.json", "model.safetensors"]
    assert json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8")).get("use_cache", True) is True
    remove_folders(tmp_path)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "peft",
    [
        LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"], modules_to_save=["lm_head"]),
        PrefixTuningConfig(num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=8),
        PromptEncoderConfig(num_virtual_tokens=4, encoder_reparameterization_type="LSTM", encoder_hidden_size=8),
    ],
    ids=["lora", "prefix with projection", "p-tuning by LSTM"],
)
def test_an_adapter_is_that_of_the_file(peft: Any, tmp_path: Path) -> None:
    base = save_decoder("llama", tmp_path / "base")
    module = module_of(base, peft=peft)
    checkpoint = checkpoint_of(module, tmp_path, lambda value: value + 0.05 * torch.randn_like(value))
    assert write_folder(module, checkpoint) == tmp_path / "adapter"
    module.load_state_dict(checkpoint.weights(), strict=False)
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(IDS).logits, module.backbone.model(IDS).logits, atol=1e-5, rtol=1e-5)


def test_no_more_than_a_shard_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 42 MB in ten shards; the file's tensors are mapped."""
    shape = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=2000, num_hidden_layers=15, **shape))
    module: Any = InstructionGenerator(str(tmp_path), {})
    module.backbone = torch.nn.Module()
    module.backbone.model = model
    module.subwords = SimpleNamespace(tokenizer=SimpleNamespace(save_pretrained=lambda folder: None))
    checkpoint = checkpoint_of(module, tmp_path, lambda value: value)
    monkeypatch.setattr(model_folder, "_SHARD", "4MB")
    checkpoint.weights()
    tracemalloc.start()
    write_folder(module, checkpoint)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    shards = [path.stat().st_size for path in (tmp_path / "model").glob("*.safetensors")]
    assert sum(shards) > 40e6
    assert len(shards) >= 10
    assert peak < 8e6


def test_what_is_in_no_folder() -> None:
    lora = LoraConfig(target_modules=["q_proj"])
    assert folder_name(InstructionGenerator("x", {}, peft=lora)) == "adapter"
    assert folder_name(InstructionGenerator("x", {})) == "model"
    assert folder_name(InstructionGenerator("x", {}, peft=lora, freeze=False)) is None
    assert folder_name(InstructionGenerator("x", {}, freeze=True)) is None
    assert folder_name(EncoderTagger("x", {})) is None
