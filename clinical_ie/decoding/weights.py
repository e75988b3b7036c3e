"""Weights as generation wants them: adapters merged and precision lowered once, not at every token; all as before afterwards."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from clinical_ie.decoding.attention import apart
from clinical_ie.decoding.lockstep import spread
from clinical_ie.models.decoder import Decoder


@contextmanager
def ready_to_generate(backbone: Decoder) -> Iterator[None]:
    """Evaluation mode, merged adapters, the precision of autocast while that is on, and attention that keeps rows apart."""
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    try:
        # a compiled backbone would be compiled again for every width of a batch
        with torch.compiler.set_stance("force_eager"), apart(backbone.base), _rewritten(backbone):
            yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _rewritten(backbone: nn.Module) -> Iterator[None]:
    """Adapters inside of the weights that they adapt, and all weights in the precision that autocast computes in.

    Layer by layer, so that beside the model's own weights there are copies in the lower precision only.
    """
    if spread(backbone):  # what is here are parts of weights, which are put together for every pass
        yield
        return
    kind = next(backbone.parameters()).device.type
    lowered = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    uses = Counter(parameter for module in backbone.modules() for parameter in module.parameters(recurse=False))
    before: dict[nn.Parameter, Tensor] = {}
    layers: list[BaseTunerLayer] = []
    try:
        with torch.autocast(kind, enabled=False):
            for layer in (module for module in backbone.modules() if isinstance(module, BaseTunerLayer)):
                if own := _own(layer, uses):
                    before.update((parameter, parameter.data) for parameter in own)
                    layers.append(layer)
                    for parameter in own:
                        parameter.data = parameter.data.clone()
                    layer.merge()
                    for parameter in own:
                        parameter.data = parameter.data.to(lowered)
            for parameter in backbone.parameters():
                if parameter.dtype == torch.float32 and parameter not in before:
                    before[parameter] = parameter.data
                    parameter.data = parameter.data.to(lowered)
            yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that taking IA3 out again is not exact: the weights come from `before`
            for merged in layers:
                if merged.merged:
                    merged.unmerge()
        for parameter, data in before.items():
            parameter.data = data


def _own(layer: BaseTunerLayer, uses: Counter[nn.Parameter]) -> list[nn.Parameter]:
    """The weights that a layer adapts, where these are whole and in full precision, so that merging rounds nothing away; or none."""
    if layer.merged or layer.disable_adapters:
        return []
    own: list[nn.Parameter] = list(layer.get_base_layer().parameters())
    # tied weights serve another layer that is not adapted; sharded ones are not here
    fit = all(type(each) is nn.Parameter and each.dtype == torch.float32 and uses[each] == 1 and each.numel() for each in own)
    return own if fit else []
