from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from peft import LoraConfig
from torch import nn

from clinical_ie.data.tokenization import load_tokenizer
from clinical_ie.errors import SettingError
from clinical_ie.models.backbones import load_encoder
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.folders import known_config, locate
from clinical_ie.models.learning_rates import depth_of, parameter_groups

RATES = {"learning_rate": 1.0, "head_learning_rate": 7.0, "adapter_learning_rate": 5.0, "layer_decay": 0.5, "weight_decay": 0.1}


def options_of(encoder: Encoder, head: nn.Module) -> dict[str, tuple[float, float]]:
    """Parameter -> learning rate and weight decay; each must be in one group."""
    named = [*encoder.named_parameters(), *((f"head.{name}", p) for name, p in head.named_parameters())]
    groups = list(parameter_groups(encoder, head, **RATES))
    found = {}
    for name, parameter in named:
        mine = [group for group in groups if any(parameter is other for other in group["params"])]  # type: ignore[attr-defined]
        assert len(mine) == int(parameter.requires_grad), name
        if mine:
            found[name] = (mine[0]["lr"], mine[0]["weight_decay"])
    assert sum(len(group["params"]) for group in groups) == len(found)  # type: ignore[arg-type]
    return found  # type: ignore[return-value]


def test_layerwise_rates(tiny_bert: str) -> None:
    encoder, head = Encoder(tiny_bert, markers=[[5]]), nn.Linear(48, 3)
    found = options_of(encoder, head)
    assert found["model.embeddings.word_embeddings.weight"] == (pytest.approx(0.5**3), 0.1)
    assert found["model.embeddings.LayerNorm.weight"] == (pytest.approx(0.5**3), 0.0)
    assert found["model.encoder.layer.0.attention.self.query.weight"] == (pytest.approx(0.5**2), 0.1)
    assert found["model.encoder.layer.1.attention.self.query.bias"] == (pytest.approx(0.5), 0.0)
    assert found["markers.weight"] == (7.0, 0.1)
    assert (found["head.weight"], found["head.bias"]) == ((7.0, 0.1), (7.0, 0.0))
    assert len(found) == len(list(encoder.parameters())) + 2


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")
def test_rates_of_adapters_and_of_what_is_frozen(tiny_bert: str) -> None:
    def lora() -> LoraConfig:
        return LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules=["query"])

    head = nn.Linear(48, 3)
    frozen = options_of(Encoder(tiny_bert, peft=lora()), head)
    assert {rate for name, (rate, _) in frozen.items() if not name.startswith("head.")} == {5.0}
    assert len(frozen) == 2 * 2 + 2
    both = options_of(Encoder(tiny_bert, peft=lora(), freeze=False), head)
    assert {rate for name, (rate, _) in both.items() if "lora_" in name} == {5.0}
    assert both["model.base_model.model.encoder.layer.1.attention.self.query.base_layer.weight"] == (pytest.approx(0.5), 0.1)
    assert both["model.base_model.model.embeddings.word_embeddings.weight"] == (pytest.approx(0.5**3), 0.1)
    assert {*options_of(Encoder(tiny_bert, freeze=True), head)} == {"head.weight", "head.bias"}


def test_depth() -> None:
    assert [depth_of(name, 12) for name in ("embeddings.x", "encoder.layer.0.y", "encoder.layer.11.z", "pooler.dense")] == [0, 1, 12, 13]


def test_an_encoder_comes_in_training_mode_without_pooler(tiny_bert: str) -> None:
    encoder = load_encoder(tiny_bert, dropout=0.3)
    assert encoder.training
    assert not any("pooler" in name for name, _ in encoder.named_parameters())
    assert encoder.config.hidden_dropout_prob == 0.3
    assert load_encoder(tiny_bert).config.hidden_dropout_prob == 0.1


@pytest.mark.parametrize("name", ["package:no_such_package/model", "package:pytest/nowhere", "./nowhere", "/nowhere/model", "a/b/c"])
def test_a_missing_model_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=r"no such folder|not installed|no folder"):
        locate(name)


def test_hub_names_pass(tmp_path: Path) -> None:
    assert locate("UFNLP/gatortron-base") == "UFNLP/gatortron-base"
    assert locate(str(tmp_path)) == str(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no usable config\.json"):
        load_encoder(str(tmp_path))


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that is connected to."""
    found: list[Any] = []
    original = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        found.append(address)
        original(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return found


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a hub where nobody listens."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_name_without_a_network_is_asked_for_once(
    offline: bool, hub: Path, connections: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    expected = "HF_HUB_OFFLINE forbids to fetch it" if offline else r"the hub cannot be reached \(ConnectError\)"
    with pytest.raises(SettingError, match=f"^nobody/nothing: not in the local cache, and {expected}; give a local folder"):
        known_config("nobody/nothing")
    assert len(connections) == (0 if offline else 1)


def test_a_hub_model_in_the_cache_needs_no_network(hub: Path, tiny_bert: str, connections: list[Any]) -> None:
    """Without asking for each of its files again and again."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    model = hub / "models--nobody--tiny"
    shutil.copytree(tiny_bert, model / "snapshots" / revision)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(revision, encoding="utf-8")
    encoder = Encoder("nobody/tiny", freeze=True)
    assert load_tokenizer("nobody/tiny").is_fast
    assert len(connections) == 1
    assert encoder.identity is not None
    assert encoder.identity.revision == revision
