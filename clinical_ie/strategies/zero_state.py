"""Whole weights and states of the optimizer out of DeepSpeed's engine, parameter by parameter, and back into its shards.

A checkpoint holds them as on one device: named weights, and the state of the optimizer numbered as torch numbers it. So any number of
ranks, and any strategy, goes on from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from clinical_ie.models.sharded_weights import gathered, is_partitioned, shard_of, whole_shape
from clinical_ie.strategies.streamed_checkpoint import Promises


class ZeroState:
    """The weights and the optimizer of an engine.

    Args:
        engine: DeepSpeed's, in training.
        optimizer: What it wraps.
        groups: The parameters of each group of the optimizer, before the engine flattened them.
    """

    def __init__(self, engine: Any, optimizer: Optimizer, groups: Sequence[Sequence[nn.Parameter]]) -> None:
        self._zero, self._optimizer, self._groups = engine.optimizer, optimizer, groups
        self._stage3 = hasattr(self._zero, "fp32_partitioned_groups_flat")
        self._trained = {id(parameter) for group in groups for parameter in group}

    def weight(self, parameter: nn.Parameter) -> Tensor:
        """A whole weight, in full precision where it is trained; every rank must ask for the same ones in the same order."""
        if id(parameter) in self._trained and (self._stage3 or parameter.dtype != torch.float32):
            return self._master(parameter)
        return whole_weight(parameter)

    def optimizer_state(self, promises: Promises) -> dict[str, Any]:
        """What torch's optimizer would hold on one device; tensors are promised."""
        self._link()
        groups = [{name: value for name, value in group.items() if name != "params"} for group in self._optimizer.param_groups]
        state: dict[int, dict[str, Any]] = {}
        number = 0
        for group, parameters in zip(groups, self._groups, strict=True):
            group["params"] = list(range(number, number + len(parameters)))
            for parameter in parameters:
                if self._stepped is not None:
                    state[number] = {
                        name: promises.promise(whole_shape(parameter), torch.float32, partial(self._moment, parameter, name))
                        if value.dim()
                        else value.detach().clone().cpu()
                        for name, value in self._stepped.items()
                    }
                number += 1
        return {"state": state, "param_groups": groups}

    @torch.no_grad()
    def take(self, saved: Mapping[str, Any], weights: Mapping[int, Tensor]) -> None:
        """Go on with a state as `optimizer_state` gives it; nothing is asked of other ranks.

        Args:
            saved: The state of the optimizer, as any strategy writes it.
            weights: Id of a parameter -> its whole weight, of which the engine may hold a rounded copy only.
        """
        for group, before in zip(self._optimizer.param_groups, saved["param_groups"], strict=True):
            group.update({name: value for name, value in before.items() if name != "params"})
        if saved["state"]:
            self._make_room(next(iter(saved["state"].values())))
        numbers = [number for group in saved["param_groups"] for number in group["params"]]
        parameters = [parameter for group in self._groups for parameter in group]
        for number, parameter in zip(numbers, parameters, strict=True):
            for name, value in saved["state"].get(number, {}).items():
                if value.dim() or value.shape == whole_shape(parameter) != torch.Size():
                    self._put(parameter, value, name)
            if id(parameter) in weights:
                self._put(parameter, weights[id(parameter)], None)

    @property
    def _stepped(self) -> dict[str, Tensor] | None:
        """The state of a flat shard, whose names are those of every parameter's; None before the first step."""
        return next((dict(state) for state in self._optimizer.state.values() if state), None)

    @property
    def _flat(self) -> list[Tensor]:
        """The shards of the masters, which the optimizer takes for its parameters."""
        found: list[Tensor] = self._zero.fp32_partitioned_groups_flat if self._stage3 else self._zero.single_partition_of_fp32_groups
        return found

    def _make_room(self, like: Mapping[str, Tensor]) -> None:
        for flat in self._flat:
            self._optimizer.state[flat] = {
                name: torch.zeros_like(flat) if value.dim() else value.to(flat.device, copy=True) for name, value in like.items()
            }
        self._link()

    def _link(self) -> None:
        """Let parameters know their parts of the flat states: the engine does so after the first step of the first group, too early."""
        if not self._stage3 and self._stepped is not None:
            self._zero._hp_optimizer_states_linked = False
            self._zero._lazy_init_hp_params_optimizer_state()

    def _master(self, parameter: nn.Parameter) -> Tensor:
        from deepspeed.utils import safe_get_full_fp32_param

        found: Tensor = safe_get_full_fp32_param(parameter)
        return found

    def _moment(self, parameter: nn.Parameter, name: str) -> Tensor:
        from deepspeed.utils import safe_get_full_optimizer_state

        found: Tensor = safe_get_full_optimizer_state(parameter, name)
        return found

    def _put(self, parameter: nn.Parameter, whole: Tensor, name: str | None) -> None:
        """Set this rank's share of a weight or, by its name, of a moment."""
        if self._stage3:
            place, _ = self._zero._get_fp32_opt_state_partition(parameter, release_swap_buffers=False, optim_state_key=name)
            place.copy_(shard_of(whole, parameter))
            return
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        if name is None:
            safe_set_full_fp32_param(parameter, whole)
        else:
            safe_set_full_optimizer_state(parameter, whole, name)


def whole_weight(parameter: nn.Parameter) -> Tensor:
    """A copy of a weight, gathered where it is sharded; every rank must ask for the same ones in the same order."""
    if not is_partitioned(parameter):
        return parameter.detach()
    with gathered([parameter]):
        return parameter.detach().clone()
