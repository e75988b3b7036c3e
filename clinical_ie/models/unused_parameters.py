"""Which parameters an output depends on, and those that no text ever uses: they get no gradient, and distributed training would stop."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from clinical_ie.models.encoder_classes import WORDS, small_copy

_LAYER = re.compile(r"(?<=\.)\d+(?=\.)")


def used_parameters(output: Tensor) -> set[Tensor]:
    """The parameters that a backward pass from an output would reach; nothing is computed."""
    found: set[Tensor] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # where the graph ends, in a parameter
            found.add(node.variable)
        waiting += [following for following, _ in node.next_functions]
    return found


def unused_parameters(encoder: PreTrainedModel) -> set[nn.Parameter]:
    """The trainable parameters of an encoder that no text uses, such as Longformer's global attention or XLNet's mask."""
    config: Any = encoder.config
    patterns = _unused_patterns(cast("Any", type(config)), json.dumps(config.to_dict(), sort_keys=True, default=str))
    return {parameter for name, parameter in encoder.named_parameters() if parameter.requires_grad and _LAYER.sub("*", name) in patterns}


@lru_cache(maxsize=8)
def _unused_patterns(kind: type[PreTrainedConfig], values: str) -> frozenset[str]:
    """Names of parameters, layers as ``*``, that are used in no layer of a small copy."""
    try:
        model = small_copy(kind.from_dict(json.loads(values)))
    except Exception:  # of an architecture that has no small copy nothing is known
        return frozenset()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        ids = torch.arange(8, device="cpu").unsqueeze(0) + WORDS // 2
        used = used_parameters(model(input_ids=ids, attention_mask=torch.ones_like(ids))[0])
    names = {True: set[str](), False: set[str]()}
    for name, parameter in model.named_parameters():
        names[parameter in used].add(_LAYER.sub("*", name))
    return frozenset(names[False] - names[True])
