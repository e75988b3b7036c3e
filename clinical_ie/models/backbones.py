"""Pretrained encoders and the learning rates of their layers."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.folders import locate

_LAYER = re.compile(r"(?:^|\.)(?:layer|layers|h|block)\.(\d+)\.")


def load_encoder(name: str, *, dropout: float | None = None) -> PreTrainedModel:
    """A pretrained encoder without pooler, in training mode and full precision.

    Args:
        name: Hub name, local folder, or ``package:NAME/FOLDER``.
        dropout: Replaces the dropout of hidden states and attention where the architecture names it.

    Raises:
        SettingError: Nothing that transformers can load under that name.
    """
    folder = locate(name)
    try:
        config = copy.deepcopy(AutoConfig.from_pretrained(folder, trust_remote_code=False))
        if dropout is not None:
            for key in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
                if hasattr(config, key):
                    setattr(config, key, dropout)
        options = {}
        kind: Any = AutoModel._model_mapping[type(config)]  # an unused pooler would stop distributed training
        if "add_pooling_layer" in inspect.signature(kind).parameters:
            options["add_pooling_layer"] = False
        model: PreTrainedModel = AutoModel.from_pretrained(folder, config=config, dtype=torch.float32, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError) as error:
        raise SettingError(f"{name}: cannot be loaded as an encoder ({str(error).partition(chr(10))[0]})") from error
    model.train()  # from_pretrained returns evaluation mode, and Lightning leaves it there
    return model


def depth_of(name: str, layers: int) -> int:
    """How far a parameter lies from the input: 0 for embeddings, ``layers`` + 1 for what stands above all layers."""
    match = _LAYER.search(name)
    if match:
        return int(match[1]) + 1
    return 0 if "embed" in name else layers + 1


def parameter_groups(
    backbone: nn.Module, head: nn.Module, *, learning_rate: float, head_learning_rate: float, layer_decay: float, weight_decay: float
) -> Iterator[dict[str, object]]:
    """Optimizer groups: each layer's rate is its upper neighbour's times `layer_decay`; biases and norms do not decay.

    Reference: layer-wise decay as in Howard & Ruder, Universal language model fine-tuning (ACL 2018).
    """
    layers = int(getattr(getattr(backbone, "config", None), "num_hidden_layers", 0))
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            rate = learning_rate * layer_decay ** (layers + 1 - depth_of(name, layers))
            groups.setdefault((rate, weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    for parameter in head.parameters():
        if parameter.requires_grad:
            groups.setdefault((head_learning_rate, weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    for (rate, decay), parameters in groups.items():
        yield {"params": parameters, "lr": rate, "weight_decay": decay}
