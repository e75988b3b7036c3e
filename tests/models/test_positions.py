"""Encoders of other kinds read a text to the last position that they are said to have, and no further."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    CamembertConfig,
    CamembertModel,
    FunnelBaseModel,
    FunnelConfig,
    FunnelModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
    XLNetConfig,
    XLNetModel,
)

from clinical_ie.errors import SettingError
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.positions import most_positions

SIZES: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 2, "pad_token_id": 1,
    "max_position_embeddings": 34,
}  # fmt: skip
XLNET = XLNetConfig(vocab_size=50, d_model=16, n_head=2, d_inner=16, n_layer=2)
FUNNEL = FunnelConfig(vocab_size=50, d_model=16, n_head=2, d_head=8, d_inner=16, block_sizes=[1, 1], num_decoder_layers=1)


def ids_of(length: int) -> torch.Tensor:
    return torch.randint(2, 50, (2, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kind", "config"), [(CamembertModel, CamembertConfig), (MPNetModel, MPNetConfig), (RobertaModel, RobertaConfig)])
def test_tables_that_begin_behind_the_padding(kind: Any, config: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    kind(config(**SIZES)).save_pretrained(tmp_path)
    most = most_positions(config(**SIZES))
    assert most == 32
    encoder, ids = Encoder(str(tmp_path)).eval(), ids_of(most)
    mask = torch.ones_like(ids)
    torch.testing.assert_close(encoder(ids, mask), encoder(ids, mask, torch.arange(most).expand(2, most)))
    with pytest.raises((IndexError, RuntimeError)):
        encoder(ids_of(most + 1), torch.ones(2, most + 1))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("kind", "config"), [(XLNetModel, XLNET), (FunnelModel, FUNNEL)])
def test_relative_positions_have_no_end(kind: Any, config: Any, tmp_path: Path) -> None:
    """XLNet says -1; Funnel names a number that its relative positions do not end at, and has two classes of models."""
    torch.manual_seed(0)
    kind(config).save_pretrained(tmp_path)
    encoder = Encoder(str(tmp_path)).eval()
    for length in (9, 70):
        ids = ids_of(length)
        assert encoder(ids, torch.ones_like(ids)).shape == (2, length, 16), "each sub-word has a state"
    assert most_positions(XLNET) is None


def test_a_funnel_without_its_upper_half_is_refused(tmp_path: Path) -> None:
    """Such as funnel-transformer/small-base, which has a state for every other sub-word or fewer."""
    FunnelBaseModel(FUNNEL).save_pretrained(tmp_path)
    with pytest.raises(SettingError, match=r"lacks .* weights of the encoder"):
        Encoder(str(tmp_path))
