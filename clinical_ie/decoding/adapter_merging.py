"""Merged adapters for inference: LoRA and its kin folded into the base weights, and weights cast to the autocast precision, once a pass.

Without that every token would pay for the adapters' extra products and for casting. The weights that are trained are back in their places
between two steps of a pass, so that checkpoints, averages and losses never see the others.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from clinical_ie.decoding.rank_synchronization import is_sharded
from clinical_ie.decoding.varlen_attention import use_varlen_attention
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.tied_weights import tied_weights

_ROOM = 0.5
"""The most of a GPU's free memory that copies of weights may take."""


class InferenceWeights:
    """Merged adapters and weights in the precision of autocast while that is on, made when they are first put in place.

    Args:
        backbone: The decoder, whose weights must not change as long as this is used.
    """

    def __init__(self, backbone: Decoder) -> None:
        self._backbone = backbone
        self._made: dict[nn.Parameter, Tensor] | None = None
        self._merged: dict[BaseTunerLayer, list[str]] = {}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The decoder with these weights, in evaluation mode and with variable-length attention; afterwards all is as before."""
        modes = {module: module.training for module in self._backbone.modules()}
        self._backbone.eval()
        try:
            # a compiled backbone would be compiled again for every length of a batch
            with torch.compiler.set_stance("force_eager"), use_varlen_attention(self._backbone.base), self._exchanged():
                yield
        finally:
            for module, training in modes.items():
                module.training = training

    @contextmanager
    def _exchanged(self) -> Iterator[None]:
        if is_sharded(self._backbone):  # a rank holds shards of weights, which are gathered for every pass
            yield
            return
        if self._made is None:
            self._made = self._make()
        trained = {parameter: parameter.data for parameter in self._made}
        try:
            for parameter, data in self._made.items():
                parameter.data = data
            for layer, adapters in self._merged.items():
                layer.merged_adapters = adapters
            yield
        finally:
            for layer in self._merged:
                layer.merged_adapters = []
            for parameter, data in trained.items():
                parameter.data = data

    def _make(self) -> dict[nn.Parameter, Tensor]:
        """The weights that differ from those that are trained; beside these there are copies of one layer in full precision only.

        None where a GPU has no room for them beside the keys and values of a batch: adapters are computed for each token then.
        """
        device = next(self._backbone.parameters()).device
        dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32
        tied = tied_weights(self._backbone)
        layers = [module for module in self._backbone.modules() if isinstance(module, BaseTunerLayer)]
        mergeable = {layer: own for layer in layers if (own := _mergeable_weights(layer, tied, {torch.float32, dtype}))}
        merged = {parameter for own in mergeable.values() for parameter in own}
        left = {each for each in self._backbone.parameters() if each.dtype == torch.float32 != dtype and each not in merged}
        if sum(parameter.numel() for parameter in merged | left) * dtype.itemsize > _ROOM * _free_bytes(device):
            return {}
        made: dict[nn.Parameter, Tensor] = {}
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            for layer, own in mergeable.items():
                made |= self._merge(layer, own, dtype)
            made |= {parameter: parameter.data.to(dtype) for parameter in left}
        return made

    def _merge(self, layer: BaseTunerLayer, own: list[nn.Parameter], dtype: torch.dtype) -> dict[nn.Parameter, Tensor]:
        trained = {parameter: parameter.data for parameter in own}
        try:
            for parameter in own:
                parameter.data = parameter.data.to(torch.float32, copy=True)
            layer.merge()
            self._merged[layer] = list(layer.merged_adapters)
            return {parameter: parameter.data.to(dtype, copy=True) for parameter in own}  # unmerging works in place
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that unmerging IA3 is not exact: the weights come from `trained`
                if layer.merged:
                    layer.unmerge()
            for parameter, data in trained.items():
                parameter.data = data


def _mergeable_weights(layer: BaseTunerLayer, tied: set[nn.Parameter], dtypes: set[torch.dtype]) -> list[nn.Parameter]:
    """The weights that a layer adapts, where they are unsharded and merging rounds nothing away that each pass would not; or none."""
    if layer.merged or layer.disable_adapters:
        return []
    own: list[nn.Parameter] = list(layer.get_base_layer().parameters())
    # tied weights serve another layer that is not adapted; of sharded ones only a part is here
    mergeable = all(type(each) is nn.Parameter and each.dtype in dtypes and each not in tied and each.numel() for each in own)
    return own if mergeable else []


def _free_bytes(device: torch.device) -> float:
    """What can still be allocated on a GPU; no limit elsewhere."""
    if device.type != "cuda":
        return math.inf
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(torch.cuda.mem_get_info(device)[0] + unused)
