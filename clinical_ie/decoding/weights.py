"""Weights as generation wants them: adapters merged and precision lowered once, not at every token; all as before afterwards."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


@contextmanager
def ready_to_generate(backbone: nn.Module) -> Iterator[None]:
    """Evaluation mode, merged adapters, and the precision of autocast while that is on."""
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    try:
        # a compiled backbone would be compiled again for every width of a batch
        with torch.compiler.set_stance("force_eager"), _merged(backbone), _lowered(backbone):
            yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _merged(backbone: nn.Module) -> Iterator[None]:
    """Adapters inside of the weights that they adapt, where these are whole and in full precision, so that nothing is rounded away."""
    uses = Counter(parameter for module in backbone.modules() for parameter in module.parameters(recurse=False))
    with ExitStack() as stack:
        for layer in list(backbone.modules()):
            if not isinstance(layer, BaseTunerLayer) or layer.merged or layer.disable_adapters:
                continue
            own = list(layer.get_base_layer().parameters())
            # tied weights serve another layer that is not adapted; sharded ones are not here
            if any(type(each) is not nn.Parameter or each.dtype != torch.float32 or uses[each] > 1 or not each.numel() for each in own):
                continue
            stack.enter_context(_layer_merged(layer, own))
        yield


@contextmanager
def _layer_merged(layer: BaseTunerLayer, own: list[nn.Parameter]) -> Iterator[None]:
    before = [parameter.data for parameter in own]
    for parameter in own:
        parameter.data = parameter.data.clone()
    try:
        layer.merge()
        yield
    finally:
        if layer.merged:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that IA3 is not exact, which does not matter here
                layer.unmerge()
        for parameter, data in zip(own, before, strict=True):
            parameter.data = data  # unmerging leaves a rounding error behind


@contextmanager
def _lowered(backbone: nn.Module) -> Iterator[None]:
    kind = next(backbone.parameters()).device.type
    if not torch.is_autocast_enabled(kind):
        yield
        return
    dtype = torch.get_autocast_dtype(kind)
    full = {parameter: parameter.data for parameter in backbone.parameters() if parameter.dtype == torch.float32}
    try:
        for parameter, data in full.items():
            parameter.data = data.to(dtype)
        with torch.autocast(kind, enabled=False):
            yield
    finally:
        for parameter, data in full.items():
            parameter.data = data
