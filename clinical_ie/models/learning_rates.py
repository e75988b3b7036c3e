"""Layer-wise learning rate decay (discriminative fine-tuning), and separate rates for heads and adapters.

Reference: Howard & Ruder, Universal language model fine-tuning (ACL 2018).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel

from clinical_ie.models.decoder import Decoder
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.sharded_weights import whole_shape

_LAYER = re.compile(r"(?:^|\.)(?:layer|layers|h|block|blocks)\.(\d+)\.")


def depth_of(name: str, layers: int, *, is_embedding: bool | None = None) -> int:
    """How far a parameter lies from the input: 0 for embeddings, ``layers`` + 1 for what stands above all layers.

    Args:
        name: Of the parameter.
        layers: How many there are.
        is_embedding: Whether it belongs to an embedding, or to a head; None where that is not known, and the name says it.
    """
    match = _LAYER.search(name)
    if match:
        return int(match[1]) + 1
    return 0 if is_embedding or (is_embedding is None and "embed" in name) else layers + 1


def tells_layers_apart(model: PreTrainedModel) -> bool:
    """Whether each layer of a model has weights of its own, by whose names it is known: not in ALBERT, nor where layers stand in blocks."""
    layers = int(getattr(model.config, "num_hidden_layers", 0))
    found = [(match.string[: match.start()], int(match[1])) for name, _ in model.named_parameters() if (match := _LAYER.search(name))]
    return len({place for place, _ in found}) == 1 and {number for _, number in found} == set(range(layers))


def _embeddings_and_heads(base: PreTrainedModel) -> dict[nn.Parameter, bool]:
    """True for tables of embeddings, whatever an architecture calls them (GPT-2's ``wte``, ``wpe``), false for heads."""
    head = cast("Any", base).get_output_embeddings()
    found = {} if head is None else dict.fromkeys(head.parameters(), False)
    tables = (module for module in base.modules() if isinstance(module, nn.Embedding))
    return found | {parameter: True for table in tables for parameter in table.parameters()}  # a tied head is an embedding


def parameter_groups(
    backbone: Encoder | Decoder,
    heads: nn.Module,
    *,
    learning_rate: float,
    head_learning_rate: float,
    adapter_learning_rate: float,
    layer_decay: float,
    weight_decay: float,
) -> Iterator[dict[str, object]]:
    """Optimizer groups: each layer's rate is its upper neighbour's times `layer_decay`; biases and norms do not decay."""
    layers = int(getattr(backbone.base.config, "num_hidden_layers", 0))
    known = _embeddings_and_heads(backbone.base)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            if name in backbone.adapters:
                rate = adapter_learning_rate
            elif name.startswith("markers."):
                rate = head_learning_rate
            else:
                rate = learning_rate * layer_decay ** (layers + 1 - depth_of(name, layers, is_embedding=known.get(parameter)))
            groups.setdefault((rate, weight_decay if len(whole_shape(parameter)) > 1 else 0.0), []).append(parameter)
    for parameter in heads.parameters():
        if parameter.requires_grad:
            groups.setdefault((head_learning_rate, weight_decay if len(whole_shape(parameter)) > 1 else 0.0), []).append(parameter)
    for (rate, decay), parameters in groups.items():
        yield {"params": parameters, "lr": rate, "weight_decay": decay}
