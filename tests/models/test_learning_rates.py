"""Layer-wise rates of real layouts: embeddings at the bottom, heads at the top, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clinical_ie.models.decoder import Decoder
from clinical_ie.models.learning_rates import parameter_groups
from tests.models.decoder_families import save_family

TABLES = {
    "Llama": ["model.embed_tokens.weight"],
    "GPT-2": ["transformer.wte.weight", "transformer.wpe.weight"],
    "GPT-J": ["transformer.wte.weight"],
    "GPT-BigCode": ["transformer.wte.weight", "transformer.wpe.weight"],
    "GPT-NeoX": ["gpt_neox.embed_in.weight"],
    "MPT": ["transformer.wte.weight"],
    "OPT": ["model.decoder.embed_tokens.weight", "model.decoder.embed_positions.weight"],
}
HEADS = {"Llama": "lm_head.weight", "GPT-J": "lm_head.weight", "GPT-NeoX": "lm_head.weight"}
"""Those that are not tied to the embeddings."""


@pytest.mark.parametrize("family", TABLES)
def test_rates_by_depth(family: str, tmp_path: Path) -> None:
    """Two layers and a decay of a half: 1/8 for embeddings, 1/4 and 1/2 for the layers, 1 for what stands above them."""
    decoder = Decoder(save_family(family, tmp_path))
    groups = parameter_groups(
        decoder, torch.nn.Module(), learning_rate=1.0, head_learning_rate=7.0, adapter_learning_rate=5.0, layer_decay=0.5, weight_decay=0.0
    )
    rates = {parameter: group["lr"] for group in groups for parameter in group["params"]}  # type: ignore[attr-defined]
    found = {name.removeprefix("model."): rates[parameter] for name, parameter in decoder.named_parameters()}
    assert [name for name, rate in found.items() if rate == 0.125] == TABLES[family]
    assert {rate for name, rate in found.items() if ".0." in name} == {0.25}
    assert {rate for name, rate in found.items() if ".1." in name} == {0.5}
    assert {found[HEADS[family]]} == {1.0} if family in HEADS else "lm_head.weight" not in found
