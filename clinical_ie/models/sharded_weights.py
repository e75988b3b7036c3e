"""Weights that ZeRO-3 has sharded over ranks, outside of the passes of DeepSpeed's engine: gathered to look at, and set shard by shard.

transformers shards a model while it loads it, so that no rank ever holds it whole. Until the engine is there nothing gathers the weights
that a pass needs, and after it nothing those that no pass reads.

Reference: Rajbhandari et al., ZeRO: memory optimizations toward training trillion parameter models (SC 2020), stage 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn


def is_partitioned(parameter: Tensor) -> bool:
    """Whether a rank holds a shard of a weight only, as ZeRO-3 has it."""
    return hasattr(parameter, "ds_id")


def whole_shape(parameter: Tensor) -> torch.Size:
    """The shape of a weight, also where this rank has a shard of it only."""
    return cast("torch.Size", parameter.ds_shape) if is_partitioned(parameter) else parameter.shape  # type: ignore[attr-defined]


@contextmanager
def gathered(parameters: Iterable[Tensor]) -> Iterator[None]:
    """These weights whole, to be read; every rank must ask for the same ones."""
    partitioned = [parameter for parameter in parameters if is_partitioned(parameter)]
    if not partitioned:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(partitioned):
        yield


@contextmanager
def gathered_for_passes(model: nn.Module) -> Iterator[None]:
    """The weights of each module whole while it computes, for passes before there is an engine; every rank must make the same ones."""
    opened: dict[nn.Module, Any] = {}

    def before(module: nn.Module, _: Any) -> None:
        if module not in opened:
            opened[module] = gathered(module.parameters(recurse=False))
            opened[module].__enter__()

    def after(module: nn.Module, *_: Any) -> None:
        if module in opened:
            opened.pop(module).__exit__(None, None, None)

    own = [module for module in model.modules() if any(is_partitioned(parameter) for parameter in module.parameters(recurse=False))]
    handles = [module.register_forward_pre_hook(before) for module in own]
    handles += [module.register_forward_hook(after, always_call=True) for module in own]
    try:
        yield
    finally:
        for module in reversed(list(opened)):
            after(module)
        for handle in handles:
            handle.remove()


@contextmanager
def loading() -> Iterator[None]:
    """While a model is loaded: under ZeRO-3 the first rank alone initialises weights, and would draw other dropout masks ever after."""
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    if not is_deepspeed_zero3_enabled():  # type: ignore[no-untyped-call]
        yield
        return
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
        yield


@contextmanager
def unsharded() -> Iterator[None]:
    """While a model is made that is only looked at: transformers would shard it, too, and draw random numbers on the first rank alone."""
    from transformers.integrations import deepspeed as integration

    held = integration._hf_deepspeed_config_weak_ref
    integration.unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        integration._hf_deepspeed_config_weak_ref = held


def shard_of(whole: Tensor, parameter: Tensor) -> Tensor:
    """This rank's shard of a tensor that is sharded as a weight is; the last one is filled up with zeros.

    Shape:
        - whole: as the weight; result: ``(N,)``, as long as the shard of each other rank.
    """
    partitioned = cast("Any", parameter)
    size = int(partitioned.partition_numel())
    start = size * int(partitioned.ds_zero_partition_rank)
    held = whole.flatten()[start : start + size]
    return torch.cat([held, held.new_zeros(size - len(held))])


@torch.no_grad()
def set_weight(parameter: Tensor, whole: Tensor) -> None:
    """Give a weight new values, of which each rank keeps its shard where it is sharded."""
    if not is_partitioned(parameter):
        parameter.copy_(whole)
        return
    cast("Any", parameter).ds_tensor.copy_(shard_of(whole, parameter))
    if parameter.shape == whole.shape:  # gathered at the moment, or small enough to stay so
        parameter.copy_(whole)


def hold_in(parameter: Tensor, dtype: torch.dtype) -> None:
    """Hold a weight in another type, or the shard of it that this rank has; DeepSpeed gathers it in the type of the shards."""
    parameter.data = parameter.data.to(dtype)
    if is_partitioned(parameter):
        shard = cast("Tensor", cast("Any", parameter).ds_tensor)
        held = shard.data.to(dtype)
        shard.data = held.pin_memory() if shard.is_pinned() else held  # it keeps what DeepSpeed has noted on it


def set_weights(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Give a module the weights of a state by their names; what the state lacks stays as it is.

    Raises:
        KeyError: It holds a weight that the module has not.
    """
    own = module.state_dict(keep_vars=True)
    for name, value in state.items():
        set_weight(own[name], value)
