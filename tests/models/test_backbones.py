from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from clinical_ie.errors import SettingError
from clinical_ie.models.backbones import depth_of, load_encoder, parameter_groups
from clinical_ie.models.folders import locate


def test_layerwise_rates(tiny_bert: str) -> None:
    encoder = load_encoder(tiny_bert)
    head = nn.Linear(48, 3)
    groups = list(parameter_groups(encoder, head, learning_rate=1.0, head_learning_rate=7.0, layer_decay=0.5, weight_decay=0.1))
    rates = {name: next(g["lr"] for g in groups if any(p is q for q in g["params"])) for name, p in encoder.named_parameters()}  # type: ignore[attr-defined]
    assert rates["embeddings.word_embeddings.weight"] == pytest.approx(0.5**3)
    assert rates["encoder.layer.0.attention.self.query.weight"] == pytest.approx(0.5**2)
    assert rates["encoder.layer.1.attention.self.query.weight"] == pytest.approx(0.5)
    decays = {name: next(g["weight_decay"] for g in groups if any(p is q for q in g["params"])) for name, p in head.named_parameters()}  # type: ignore[attr-defined]
    assert decays == {"weight": 0.1, "bias": 0.0}
    assert sum(len(g["params"]) for g in groups) == len(list(encoder.parameters())) + 2  # type: ignore[arg-type]


def test_depth() -> None:
    assert [depth_of(name, 12) for name in ("embeddings.x", "encoder.layer.0.y", "encoder.layer.11.z", "pooler.dense")] == [0, 1, 12, 13]


def test_an_encoder_comes_in_training_mode_without_pooler(tiny_bert: str) -> None:
    encoder = load_encoder(tiny_bert, dropout=0.3)
    assert encoder.training
    assert not any("pooler" in name for name, _ in encoder.named_parameters())
    assert encoder.config.hidden_dropout_prob == 0.3
    assert load_encoder(tiny_bert).config.hidden_dropout_prob == 0.1


@pytest.mark.parametrize("name", ["package:no_such_package/model", "package:pytest/nowhere", "./nowhere", "/nowhere/model", "a/b/c"])
def test_what_is_not_there_is_said(name: str) -> None:
    with pytest.raises(SettingError, match=r"no such folder|not installed|no folder"):
        locate(name)


def test_hub_names_pass(tmp_path: Path) -> None:
    assert locate("UFNLP/gatortron-base") == "UFNLP/gatortron-base"
    assert locate(str(tmp_path)) == str(tmp_path)


def test_a_folder_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be loaded as an encoder"):
        load_encoder(str(tmp_path))
