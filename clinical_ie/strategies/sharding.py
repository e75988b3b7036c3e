"""Weights, gradients and optimizer states that are sharded over ranks (FSDP2); a layer is gathered while it computes.

Reference: Zhao et al., PyTorch FSDP: experiences on scaling fully sharded data parallel (VLDB 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from clinical_ie.errors import SettingError
from clinical_ie.strategies.checkpoint import Checkpoint
from clinical_ie.strategies.streamed_checkpoint import Promises, save_streamed

_STEPS = ("training_step", "validation_step", "test_step", "predict_step", "remaining_outputs")


class FullySharded(ModelParallelStrategy):
    """Fully sharded data parallel training (FSDP2) over all ranks, with checkpoints in one file that any strategy reads.

    A checkpoint holds what was trained, as under every strategy, and is read as such: what it lacks of a frozen base stays as it is.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)
        self._promises = Promises()

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Weights are sharded when the model is made, so they are restored before the setup, as under all strategies here."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Lightning hands over the state of the optimizer, as it does for strategies without shards."""
        return True

    def setup_environment(self) -> None:
        """All ranks shard the same weights.

        Raises:
            SettingError: Mixed float16, whose scaler would have to know of shards.
        """
        if self.precision_plugin.precision == "16-mixed":
            raise SettingError("strategy fsdp2 does not train in 16-mixed; give --trainer.precision=bf16-mixed, or -c strategy/ddp")
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """The whole checkpoint, mapped into memory: each rank reads its shards of it."""
        return Checkpoint(checkpoint_path).whole()

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Give each rank its shards of whole weights; those that are shards already are the model's own."""
        whole = {name: value for name, value in checkpoint["state_dict"].items() if not isinstance(value, DTensor)}
        assert self.model is not None
        set_model_state_dict(self.model, whole, options=StateDictOptions(full_state_dict=True, strict=False))

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Names and shapes of the weights; they are gathered when a file is written, and those of a frozen base never."""
        assert self.lightning_module is not None
        self._promises = Promises()
        return self._promised(self.lightning_module.state_dict(keep_vars=True))

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state, numbered as the optimizer itself numbers it, as any strategy reads it; gathered when a file is written."""
        plain = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        state = plain.state_dict()
        return {**state, "state": {number: self._promised(values) for number, values in state["state"].items()}}

    def _promised(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """With a promise for each tensor that ranks hold shards of, one for all names of tied weights."""
        made: dict[int, Tensor] = {}
        for value in values.values():
            if isinstance(value, DTensor) and id(value) not in made:
                made[id(value)] = self._promises.promise(value.shape, value.dtype, value.full_tensor)
        return {name: made.get(id(value), value) for name, value in values.items()}

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Write one file on the first rank, tensor by tensor; all ranks take part.

        Raises:
            RunError: It cannot be written; on all ranks.
        """
        save_streamed(checkpoint, filepath, self._promises, self)
        self._promises = Promises()

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give each rank its shards of the optimizer's state."""
        assert self.model is not None
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            ordered = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
            named = _renamed(state, dict(enumerate(ordered)))
            set_optimizer_state_dict(self.model, optimizer, named, options=StateDictOptions(full_state_dict=True))


def _renamed(state: Mapping[str, Any], names: Mapping[Any, Any]) -> dict[str, Any]:
    """A state of an optimizer whose parameters are called otherwise."""
    groups = [{**group, "params": [names[name] for name in group["params"]]} for group in state["param_groups"]]
    return {"state": {names[name]: value for name, value in state["state"].items()}, "param_groups": groups}


StrategyRegistry.register("fsdp2", FullySharded, description="FSDP2 over all ranks")


def shard(module: nn.Module, backbone: nn.Module, mesh: DeviceMesh) -> None:
    """Shard the layers of a backbone one by one, and all else of its module as one unit, which is whole during a step.

    Args:
        module: What Lightning trains. Its weights are the same on all ranks.
        backbone: The pretrained model in it.
        mesh: Lightning's, of ``data_parallel`` and ``tensor_parallel`` ranks.
    """
    ranks = mesh["data_parallel"]
    for layer in _layers(backbone):
        fully_shard(layer, mesh=ranks)
    fully_shard(module, mesh=ranks)
    for name in _STEPS:
        register_fsdp_forward_method(module, name)  # Lightning calls these and never `forward`


def _layers(backbone: nn.Module) -> list[nn.Module]:
    """The layers of a transformer: the list of modules with the most weights."""
    lists = [part for part in backbone.modules() if isinstance(part, nn.ModuleList)]
    sizes = [sum(weight.numel() for weight in part.parameters()) for part in lists]
    return list(lists[sizes.index(max(sizes))]) if lists else []
