"""How many positions a backbone has for text."""

from __future__ import annotations

import copy

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig

from clinical_ie.models.sharded_weights import unsharded

_TABLES = ("position_embeddings", "wpe", "embed_positions")


def most_positions(config: PreTrainedConfig) -> int | None:
    """Most sub-words that a text may have, special ones included; None where positions are relative and have no end.

    What the configuration says, less the rows of the table that no sub-word uses: RoBERTa, CamemBERT and MPNet count from behind their
    padding id, which the table itself knows. And no more than those that rotate alike whatever stands beside: the frequencies of LongRoPE
    (Phi-3 with 128k, Phi-4-mini) are others for all rows of a pass, and for all examples of a row, as soon as one is longer.
    """
    text = config.get_text_config()
    stated = getattr(text, "max_position_embeddings", getattr(text, "max_seq_len", None))  # MPT's biases end there
    if not isinstance(stated, int) or stated < 1:  # XLNet has -1
        return None
    rotary = getattr(text, "rope_parameters", None) or {}
    for each in (rotary, *rotary.values()):  # of all layers, or of each kind of layer
        if isinstance(each, dict) and each.get("rope_type") == "longrope":
            stated = min(stated, int(each["original_max_position_embeddings"]))
    table = _table(config)
    return stated if table is None or table.padding_idx is None else stated - int(table.padding_idx) - 1


def _table(config: PreTrainedConfig) -> nn.Embedding | None:
    """The table of learned positions, as shapes only: a model of one layer without storage; None where there is none."""
    small = copy.deepcopy(config)
    for name in ("num_hidden_layers", "encoder_layers", "decoder_layers"):
        if isinstance(getattr(small.get_text_config(), name, None), int):
            setattr(small.get_text_config(), name, 1)
    try:
        with unsharded(), torch.device("meta"):
            model = AutoModel.from_config(small, trust_remote_code=False)  # type: ignore[no-untyped-call]
    except Exception:  # architectures with lists of layers do not shrink; they have no such table
        return None
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _TABLES:
            return module
    return None
