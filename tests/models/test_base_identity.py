"""Which weights a checkpoint without base weights was trained on."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, GPT2Config, LlamaConfig

from clinical_ie.errors import SettingError
from clinical_ie.models.backbones import load_encoder
from clinical_ie.models.base_identity import BaseIdentity, check_config, config_identity


def test_equal_weights_are_equal_wherever_they_lie(tiny_bert: str, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path / "moved")
    one, two = (BaseIdentity.of(name, load_encoder(name)) for name in (tiny_bert, str(tmp_path / "moved")))
    assert one.sha256 == two.sha256
    two.check(one.to_dict())


def test_dropout_and_mode_do_not_count(tiny_bert: str) -> None:
    model = load_encoder(tiny_bert)
    assert BaseIdentity.of("a", model).sha256 == BaseIdentity.of("a", load_encoder(tiny_bert, dropout=0.5).eval()).sha256


@pytest.mark.parametrize("change", ["one bit", "two names", "shape", "type"])
def test_what_counts(change: str, tiny_bert: str) -> None:
    model = load_encoder(tiny_bert)
    before = BaseIdentity.of("a", model)
    other = copy.deepcopy(model)
    layer = other.encoder.layer[1]
    with torch.no_grad():
        if change == "one bit":
            weight = layer.output.dense.weight
            weight[3, 3] = torch.nextafter(weight[3, 3], torch.tensor(1.0))
        elif change == "two names":
            attention = layer.attention.self
            attention.query, attention.key = attention.key, attention.query
        elif change == "shape":
            layer.output.dense.weight = nn.Parameter(layer.output.dense.weight.reshape(-1, 48 * 2)[:, :].reshape(96, 48))
        else:
            other.embeddings.bfloat16()
    after = BaseIdentity.of("b", other)
    assert after.sha256 != before.sha256
    with pytest.raises(SettingError, match=r"base a .*but b has other weights"):
        after.check(before.to_dict())


def test_half_precision_and_scalars_can_be_hashed() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = nn.Module()
            self.narrow = nn.Parameter(torch.ones(3, 2, dtype=torch.bfloat16).t())
            self.register_buffer("count", torch.tensor(3))
            self.register_buffer("nothing", torch.zeros(0, 4))

    found = BaseIdentity.of("odd", Odd())  # type: ignore[arg-type]
    assert len(found.sha256) == 64
    assert found.revision is None


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
