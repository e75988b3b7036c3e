"""Which weights a checkpoint without base weights was trained on."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from clinical_ie.errors import SettingError
from clinical_ie.models.backbones import load_encoder
from clinical_ie.models.base_identity import BaseIdentity


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
