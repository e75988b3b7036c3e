"""Which weights a checkpoint without base weights was trained on."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import BertConfig, GPT2Config, LlamaConfig

from clinical_ie.errors import SettingError
from clinical_ie.models.base_identity import BaseIdentity, check_config, config_identity


def test_equal_weights_are_equal_wherever_they_lie(tiny_bert: str, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path / "moved")
    one, two = (BaseIdentity.of(name) for name in (tiny_bert, str(tmp_path / "moved")))
    assert one.sha256 == two.sha256
    two.check(one.to_dict())


def test_two_bases_of_one_shape_differ(tiny_bert: str, tmp_path: Path) -> None:
    """Whatever the strategy that loads them: no tensor is looked at."""
    folder = tmp_path / "other"
    shutil.copytree(tiny_bert, folder)
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.output.dense.weight"][3, 3] += 1e-3
    save_file(weights, folder / "model.safetensors")
    before, after = BaseIdentity.of(tiny_bert), BaseIdentity.of(str(folder))
    with pytest.raises(SettingError, match=rf"base {tiny_bert} .*but {folder} has other weights"):
        after.check(before.to_dict())


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no files of weights \(model.safetensors or pytorch_model.bin"):
        BaseIdentity.of(str(tmp_path))


def test_a_revision_is_named() -> None:
    needed = {"name": "hub/name", "revision": "abc123", "sha256": "0" * 64}
    with pytest.raises(SettingError, match="hub/name, revision abc123"):
        BaseIdentity("here", None, "1" * 64).check(needed)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (BertConfig, {"hidden_act": "relu"}, "hidden_act was gelu, now it is relu"),
        (BertConfig, {"layer_norm_eps": 1e-5}, "layer_norm_eps was 1e-12, now it is 1e-05"),
        (LlamaConfig, {"rope_theta": 5e5}, "rope_parameters.rope_theta was 10000.0, now it is 500000.0"),
        (GPT2Config, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx was false, now it is true"),
    ],
)
def test_a_backbone_that_computes_otherwise_is_refused(kind: Any, change: dict[str, Any], message: str) -> None:
    """Its weights may be the same to the last bit."""
    before, after = (config_identity(SimpleNamespace(config=kind(**more))) for more in ({}, change))  # type: ignore[arg-type]
    check_config("b", before, before)
    with pytest.raises(SettingError, match=f"the config.json of b is not .*: {message}; give the files"):
        check_config("b", after, before)


@pytest.mark.parametrize(
    "change",
    [
        {"transformers_version": "4.0.0"}, {"architectures": ["BertForMaskedLM"]}, {"dtype": "float16"}, {"hidden_dropout_prob": 0.3},
        {"id2label": {0: "a"}}, {"use_cache": False}, {"name_or_path": "/elsewhere"}, {"of_another_version": 1},
    ],
)  # fmt: skip
def test_names_versions_and_number_formats_do_not_count(change: dict[str, Any]) -> None:
    before, after = (config_identity(SimpleNamespace(config=BertConfig(**more))) for more in ({}, change))  # type: ignore[arg-type]
    check_config("b", after, before)
