"""Rows one behind the other give what padded rows give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    RobertaConfig,
    RobertaModel,
)

from clinical_ie.models.encoder import Encoder

SMALL = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 9, 9, 1, 14])
    mask = (torch.arange(14) < lengths.unsqueeze(1)).long()
    return torch.randint(5, 60, (5, 14), generator=generator) * mask + 1 - mask, mask


@pytest.mark.parametrize(("kind", "config"), [(BertModel, BertConfig(**SMALL)), (RobertaModel, RobertaConfig(**SMALL, pad_token_id=1))])
@pytest.mark.parametrize("bf16", [False, True])
def test_packed_rows_are_padded_rows(kind: type, config: object, bf16: bool) -> None:
    torch.manual_seed(0)
    encoder = Encoder("tiny", base=kind(config), freeze=True).eval()
    ids, mask = batch()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        expected = encoder(ids, mask)
        reversed_positions = torch.arange(14).flip(0).expand(5, 14)
        moved = encoder(ids, mask, reversed_positions)
        assert encoder.use_packing()
        found, found_moved = encoder(ids, mask), encoder(ids, mask, reversed_positions)
    places = mask.bool()
    close = {"atol": 0.05, "rtol": 0.05} if bf16 else {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(found[places].float(), expected[places].float(), **close)
    torch.testing.assert_close(found_moved[places].float(), moved[places].float(), **close)
    assert not torch.allclose(expected[places].float(), moved[places].float(), atol=0.05)
    assert not found[~places].any()


def test_what_looks_at_columns_is_left_as_it_is() -> None:
    windows = ModernBertConfig(**SMALL, local_attention=4, pad_token_id=1, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3)
    no_positions = DistilBertConfig(vocab_size=60, dim=32, n_layers=1, n_heads=4, hidden_dim=48)
    ids, mask = batch()
    for base in (ModernBertModel(windows), DistilBertModel(no_positions)):
        encoder = Encoder("tiny", base=base, freeze=True).eval()
        with torch.inference_mode():
            expected = encoder(ids, mask)
            encoder.use_packing()
            torch.testing.assert_close(encoder(ids, mask)[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=1e-4)
    assert not Encoder("tiny", base=ModernBertModel(windows), freeze=True).eval().use_packing()
    assert not Encoder("tiny", base=BertModel(BertConfig(**SMALL)), freeze=True).train().use_packing()


def test_kernels_are_made_for_few_lengths() -> None:
    encoder = Encoder("tiny", base=BertModel(BertConfig(**SMALL)), freeze=True).eval()
    assert encoder.use_packing()
    seen: set[int] = set()
    encoder.base.register_forward_pre_hook(lambda _, __, given: seen.add(given["inputs_embeds"].shape[1]), with_kwargs=True)
    with torch.inference_mode():
        for length in range(1, 140, 3):
            encoder(torch.full((1, length), 7), torch.ones(1, length, dtype=torch.long))
    assert seen == {64, 128, 192}
