"""Tied weights: one parameter in several modules, such as a decoder's input embedding and its output layer."""

from __future__ import annotations

import copy
from collections import Counter

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


def tied_weights(model: nn.Module) -> set[nn.Parameter]:
    """The parameters that several modules use."""
    uses = Counter(parameter for module in model.modules() for parameter in module.parameters(recurse=False))
    return {parameter for parameter, count in uses.items() if count > 1}


def untie_adapted(model: nn.Module) -> bool:
    """Give each adapted layer weights of its own, so that merging its adapter changes no other layer; whether any were tied."""
    tied, found = tied_weights(model), False
    for layer in (module for module in model.modules() if isinstance(module, BaseTunerLayer)):
        base = layer.get_base_layer()
        for name, parameter in list(base.named_parameters(recurse=False)):
            if parameter in tied:
                setattr(base, name, copy.deepcopy(parameter))
                found = True
    return found
