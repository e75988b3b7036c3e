"""Merged adapters for inference: LoRA and its kin folded into the base weights, and weights cast to the autocast precision, once.

Without that every token would pay for the adapters' extra products and for casting. Everything is restored afterwards.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from clinical_ie.decoding.rank_synchronization import is_sharded
from clinical_ie.decoding.varlen_attention import use_varlen_attention
from clinical_ie.models.decoder import Decoder


@contextmanager
def merged_for_inference(backbone: Decoder) -> Iterator[None]:
    """Evaluation mode, merged adapters, weights in the precision of autocast while that is on, and variable-length attention."""
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    try:
        # a compiled backbone would be compiled again for every length of a batch
        with torch.compiler.set_stance("force_eager"), use_varlen_attention(backbone.base), _merged_and_cast(backbone):
            yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _merged_and_cast(backbone: nn.Module) -> Iterator[None]:
    """Merge adapters into the weights that they adapt, and cast all weights to the precision that autocast computes in.

    Layer by layer, so that beside the original weights there are copies in the lower precision only.
    """
    if is_sharded(backbone):  # a rank holds shards of weights, which are gathered for every pass
        yield
        return
    device_type = next(backbone.parameters()).device.type
    dtype = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else torch.float32
    uses = Counter(parameter for module in backbone.modules() for parameter in module.parameters(recurse=False))
    before: dict[nn.Parameter, Tensor] = {}
    layers: list[BaseTunerLayer] = []
    try:
        with torch.autocast(device_type, enabled=False):
            for layer in (module for module in backbone.modules() if isinstance(module, BaseTunerLayer)):
                if own := _mergeable_weights(layer, uses):
                    before.update((parameter, parameter.data) for parameter in own)
                    layers.append(layer)
                    for parameter in own:
                        parameter.data = parameter.data.clone()
                    layer.merge()
                    for parameter in own:
                        parameter.data = parameter.data.to(dtype)
            for parameter in backbone.parameters():
                if parameter.dtype == torch.float32 and parameter not in before:
                    before[parameter] = parameter.data
                    parameter.data = parameter.data.to(dtype)
            yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that unmerging IA3 is not exact: the weights come from `before`
            for merged in layers:
                if merged.merged:
                    merged.unmerge()
        for parameter, data in before.items():
            parameter.data = data


def _mergeable_weights(layer: BaseTunerLayer, uses: Counter[nn.Parameter]) -> list[nn.Parameter]:
    """The weights that a layer adapts, where they are unsharded and in full precision, so that merging rounds nothing away; or none."""
    if layer.merged or layer.disable_adapters:
        return []
    own: list[nn.Parameter] = list(layer.get_base_layer().parameters())
    # tied weights serve another layer that is not adapted; of sharded ones only a part is here
    mergeable = all(type(each) is nn.Parameter and each.dtype == torch.float32 and uses[each] == 1 and each.numel() for each in own)
    return own if mergeable else []
