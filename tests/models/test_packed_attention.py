"""Block-sparse attention of packed rows is the dense one: masks, states and gradients, over families with windows, caps and shared heads.

FlexAttention runs here without its compiler, as the reference of its kernels, and with gradients that it otherwise gives on GPUs only;
what its CUDA kernels compute can't be seen on a CPU, which is why they are tried on a small example before they are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor
from torch.nn.attention import flex_attention
from torch.nn.attention.flex_attention import create_mask

from clinical_ie.errors import SettingError
from clinical_ie.models import packed_attention
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.packed_attention import PackedRows, takes_block_masks
from tests.models.decoder_families import FAMILIES, save_family
from tests.models.tiny_decoders import ARCHITECTURES, save_decoder

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated"),  # PEFT asks transformers so
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),  # torch's tracer looks at it
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
    pytest.mark.filterwarnings("ignore:.*fan_in_fan_out is set to False"),
    pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not match"),  # PEFT's, of experts
]
SHORT = ((4, 0), (9, 1), (0, 0), (7, 1), (30, 0))
LONG = ((40, 0), (150, 1), (100, 1), (20, 0), (130, 4), (7, 0))


def packed(parts: tuple[tuple[int, int], ...], padding: int) -> tuple[PackedRows, Tensor]:
    """Segments of these lengths, each behind the segment of that number, and the positions of their tokens."""
    segments, prefixes, positions = [], [], []
    for number, (length, prefix) in enumerate(parts, 1):
        start = parts[prefix - 1][0] if prefix else 0
        segments += [number] * length
        prefixes += [prefix] * length
        positions += range(start, start + length)
    zeros = [0] * padding
    rows = PackedRows(torch.tensor([segments + zeros]), torch.tensor([prefixes + zeros]))
    return rows, torch.tensor([positions + zeros])


@pytest.mark.parametrize("window", [None, 25])
def test_blocks_are_those_of_the_dense_mask(window: int | None) -> None:
    rows, positions = packed(LONG, 30)
    length = positions.shape[1]
    wanted = rows.dense()
    if window is not None:
        wanted = wanted & (positions.unsqueeze(2) - positions.unsqueeze(1) < window)
    real = rows.segment_ids[0] > 0
    found = rows.block_sparse(positions, window)
    assert torch.equal(create_mask(found.mask_mod, 1, 1, length, length, "cpu")[0, :, real], wanted[:, real])
    assert found.shape == (1, 1, length, length)
    # which blocks are looked at, from the mask itself
    blocks = found.to_dense()[0, 0].bool()
    edge = torch.nn.functional.pad(wanted[0] | torch.eye(length, dtype=torch.bool), (0, 4 * 128 - length, 0, 4 * 128 - length))
    edge |= torch.eye(4 * 128, dtype=torch.bool)
    assert torch.equal(blocks, edge.view(4, 128, 4, 128).any(3).any(1))
    assert not blocks.all(), "some are skipped"


def passed(folder: str, way: Any, **options: Any) -> dict[str, Tensor]:
    """States and gradients of real tokens of two packed rows."""
    torch.manual_seed(0)
    decoder = Decoder(folder, peft=LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False), packed_attention=way, **options)
    rows, positions = packed(SHORT, 3)
    both = PackedRows(rows.segment_ids.expand(2, -1), rows.prefix_segment_ids.expand(2, -1))
    ids = torch.arange(5, 5 + 2 * positions.shape[1]).view(2, -1) % 90
    states = decoder(ids, positions.expand(2, -1), both)[:, both.segment_ids[0] > 0]
    states.square().mean().backward()
    assert decoder._block_sparse == (way == "block_sparse")
    return {"states": states} | {name: each.grad for name, each in decoder.named_parameters() if each.grad is not None}


def assert_same(folder: str, **options: Any) -> None:
    wanted, found = passed(folder, "dense", **options), passed(folder, "block_sparse", **options)
    assert wanted.keys() == found.keys()
    torch.testing.assert_close(found["states"], wanted["states"], rtol=1e-5, atol=1e-5)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5 * float(gradient.detach().abs().max()) + 1e-7)


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """FlexAttention refuses gradients on a CPU because it has no kernels for them there; its reference has."""
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *_: None)


@pytest.mark.usefixtures("gradients")
@pytest.mark.parametrize(
    "kind", ["llama", "gemma3", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ARCHITECTURES if kind != "gpt2")]
)
def test_architectures_compute_the_same(kind: str, tmp_path: Path) -> None:
    assert_same(save_decoder(kind, tmp_path))


@pytest.mark.usefixtures("gradients")
def test_with_recomputed_activations(tmp_path: Path) -> None:
    assert_same(save_decoder("llama", tmp_path), gradient_checkpointing=True)


@pytest.mark.slow
@pytest.mark.usefixtures("gradients")
@pytest.mark.parametrize("family", FAMILIES)
def test_families_compute_the_same_or_are_left_dense(family: str, tmp_path: Path) -> None:
    folder = save_family(family, tmp_path)
    try:
        decoder = Decoder(folder)
    except SettingError:
        pytest.skip("refused when loaded")
    if decoder.packing_problem is not None:
        pytest.skip("its rows are not packed")
    if packed_attention._unsupported(decoder.base) is None:
        assert_same(folder)
    else:
        with pytest.raises(SettingError, match=r"give --model.init_args.packed_attention=dense"):
            passed(folder, "block_sparse")


def test_dense_where_nothing_is_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    base = Decoder(save_decoder("llama", tmp_path)).base
    assert not takes_block_masks(base, "auto", torch.device("cpu"))

    def fails(*_: Any) -> float:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(packed_attention, "_trial", fails)
    with caplog.at_level("INFO"):
        assert not takes_block_masks(base, "auto", torch.device("cuda"))
    assert "packed rows are masked densely: FlexAttention fails here (RuntimeError)" in caplog.text
    assert base.config._attn_implementation == "sdpa"
    monkeypatch.setattr(packed_attention, "_trial", lambda *_: 0.001)
    assert takes_block_masks(base, "auto", torch.device("cuda"))
    assert base.config._attn_implementation == packed_attention.IMPLEMENTATION


def test_the_trial_compares_with_dense_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *_: None)
    monkeypatch.setattr(packed_attention, "_compiled", lambda: flex_attention.flex_attention)
    assert packed_attention._trial(4, 2, 16, torch.device("cpu")) < 0.02

    def wrong(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
        return value.repeat_interleave(2, 1) + 0 * (query + key.repeat_interleave(2, 1))

    monkeypatch.setattr(packed_attention, "_compiled", lambda: wrong)
    assert packed_attention._trial(4, 2, 16, torch.device("cpu")) > 0.05
