"""DeepSpeed ZeRO: optimizer states (stage 1), gradients too (2), weights too (3) are sharded over ranks; on GPUs, and on CPUs for tests.

Lightning's own strategy is made for models that it shards itself and for checkpoints in folders of shards. Here transformers shards a
model while it loads it (stage 3), so that pretrained weights, fresh heads and adapters begin as on one device; gradients are accumulated
as Lightning counts them; and a checkpoint is one file, as under every strategy: it is tested, exported and resumed by any of them, with
any number of ranks.

Reference: Rajbhandari et al., ZeRO: memory optimizations toward training trillion parameter models (SC 2020); Ren et al., ZeRO-Offload
(USENIX ATC 2021).
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import DeepSpeedPrecision, Precision
from lightning.pytorch.strategies import DeepSpeedStrategy, ParallelStrategy, StrategyRegistry
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from clinical_ie.errors import SettingError
from clinical_ie.models.sharded_weights import set_weights, whole_shape
from clinical_ie.strategies.checkpoint import Checkpoint
from clinical_ie.strategies.streamed_checkpoint import Promises, save_streamed
from clinical_ie.strategies.zero_precision import ZeroPrecision
from clinical_ie.strategies.zero_state import ZeroState, whole_weight

REDUCED_AT_ONCE = 200_000_000
"""Most gradients that are reduced at a time, as in Lightning."""


class Zero(DeepSpeedStrategy):
    """DeepSpeed ZeRO over all ranks, with checkpoints in one file that any strategy reads.

    Args:
        stage: 1 shards the states of the optimizer, 2 gradients too, 3 weights too.
        offload: Keep the states of the optimizer, and under stage 3 the weights, in the host's memory.

    Raises:
        SettingError: DeepSpeed is not installed.
    """

    def __init__(self, stage: Literal[1, 2, 3] = 2, offload: bool = False) -> None:
        if find_spec("deepspeed") is None:
            raise SettingError(
                f"strategy zero{stage} needs the package deepspeed: pip install 'clinical_ie[deepspeed]'; a trained model can be used"
                " without it (--trainer.strategy=auto)"
            )
        self.stage = stage
        zero: dict[str, Any] = {"stage": stage, "contiguous_gradients": True, "overlap_comm": True}
        if offload:
            zero["offload_optimizer"] = {"device": "cpu"}
        if offload and stage == 3:
            zero["offload_param"] = {"device": "cpu"}
        super().__init__(
            config={
                "train_micro_batch_size_per_gpu": 1,  # only DeepSpeed's own log of its speed divides by it
                "zero_allow_untested_optimizer": True,
                "zero_force_ds_cpu_optimizer": False,  # torch's AdamW runs on both devices and needs no compiler
                "zero_optimization": zero,
            }
        )
        self._promises = Promises()
        self._state: ZeroState | None = None
        self._groups: list[list[nn.Parameter]] = []
        self._of_transformers: Any = None

    @property
    def precision_plugin(self) -> Precision:
        """See `ZeroPrecision`."""
        return super().precision_plugin

    @precision_plugin.setter
    def precision_plugin(self, plugin: Precision | None) -> None:
        self._precision_plugin = ZeroPrecision(cast("Any", plugin.precision)) if isinstance(plugin, DeepSpeedPrecision) else plugin

    @property
    def handles_gradient_accumulation(self) -> bool:
        """Lightning counts: it steps at the end of an epoch, too, where fewer batches than wanted were accumulated."""
        return False

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Nothing to block: the engine knows when a step follows, and reduces what it must."""
        yield

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Weights are restored before the engine takes them over, and everything else in the order of other strategies."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Lightning hands over the state of the optimizer, as it does for strategies without shards."""
        return True

    def setup_environment(self) -> None:
        """Find the ranks; prepare DeepSpeed for a CPU, which Lightning's strategy refuses."""
        if self.root_device.type == "cpu":
            os.environ["DS_ACCELERATOR"] = "cpu"
            from deepspeed.ops import __compatible_ops__ as operations

            # an all-reduce in shared memory that would be compiled first; gloo does the same
            operations["deepspeed_shm_comm"] = False
            assert self.parallel_devices is not None
            self.parallel_devices = [torch.device("cpu", number) for number in range(len(self.parallel_devices))]
        super(DeepSpeedStrategy, self).setup_environment()  # past its refusal of CPUs

    def _format_config(self) -> None:
        self._format_batch_size_and_grad_accum_config()
        cast("dict[str, Any]", self.config).update(cast("ZeroPrecision", self.precision_plugin).settings())

    @contextmanager
    def model_sharded_context(self) -> Iterator[None]:
        """Under stage 3, let transformers shard what it loads, and PEFT gather what it reads, until the strategy is torn down."""
        self._init_config_if_needed()
        if self.zero_stage_3:
            from transformers.integrations.deepspeed import HfDeepSpeedConfig

            self._of_transformers = cast("Any", HfDeepSpeedConfig)(copy.deepcopy(self.config))  # transformers keeps a weak reference
        yield

    def setup(self, trainer: pl.Trainer) -> None:
        """Move what transformers has not sharded to the device; make the engine."""
        assert self.lightning_module is not None
        self.lightning_module.to(self.root_device)
        super().setup(trainer)

    def _init_optimizers(self) -> tuple[Optimizer, LRSchedulerConfig | None]:
        optimizer, scheduler = super()._init_optimizers()
        self._groups = [list(group["params"]) for group in optimizer.param_groups]
        self._own_optimizer = optimizer
        return optimizer, scheduler

    def _initialize_deepspeed_train(self, model: nn.Module) -> None:
        trained = sum(math.prod(whole_shape(parameter)) for group in self._groups for parameter in group)
        # buffers of that size are allocated whatever is trained: by default one or two of 2 GB beside the adapters of LoRA, which have 0.2
        cast("dict[str, Any]", self.config)["zero_optimization"]["reduce_bucket_size"] = max(1, min(REDUCED_AT_ONCE, trained))
        super()._initialize_deepspeed_train(model)
        self._state = ZeroState(self.model, self._own_optimizer, self._groups)

    def _initialize_deepspeed_inference(self, model: nn.Module) -> None:
        """Only weights that are sharded need an engine, which gathers them."""
        if not self.zero_stage_3:
            self.model = model
            return
        import deepspeed

        config = {name: value for name, value in cast("dict[str, Any]", self.config).items() if name != "gradient_clipping"}
        self.model = deepspeed.initialize(config=config | {"gradient_accumulation_steps": 1}, model=model, dist_init_required=False)[0]

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Names and shapes of the weights; they are gathered when a file is written."""
        assert self.lightning_module is not None
        self._promises = Promises()
        made: dict[nn.Parameter, Tensor] = {}
        found: dict[str, Any] = {}
        for name, value in self.lightning_module.state_dict(keep_vars=True).items():
            if isinstance(value, nn.Parameter) and value not in made:
                dtype = torch.float32 if value.requires_grad else value.dtype
                made[value] = self._promises.promise(whole_shape(value), dtype, partial(self._weight, value))
            found[name] = made[value] if isinstance(value, nn.Parameter) else value
        return found

    def _weight(self, parameter: nn.Parameter) -> Tensor:
        return whole_weight(parameter) if self._state is None else self._state.weight(parameter)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state, as on one device; it is gathered when a file is written."""
        assert self._state is not None
        return self._state.optimizer_state(self._promises)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Write one file on the first rank, tensor by tensor; all ranks take part.

        Raises:
            RunError: It cannot be written; on all ranks.
        """
        checkpoint |= {"loss_scale": scale} if (scale := self._precision.state_of(self.model)) else {}
        save_streamed(checkpoint, filepath, self._promises, self)
        self._promises = Promises()

    @property
    def _precision(self) -> ZeroPrecision:
        return cast("ZeroPrecision", self.precision_plugin)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """The whole checkpoint, mapped into memory: each rank reads its shards of it."""
        return Checkpoint(checkpoint_path).whole()

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Give the model its weights, each rank its shards; what a frozen base brings along is left as it is."""
        assert self.lightning_module is not None
        own = self.lightning_module.state_dict(keep_vars=True)
        whole = {name: value for name, value in checkpoint["state_dict"].items() if value.shape == whole_shape(own[name])}
        set_weights(self.lightning_module, whole)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give each rank its shards of the optimizer's state, and of the weights in full precision."""
        assert self.lightning_module is not None
        assert self._state is not None
        state = checkpoint["state_dict"]
        named = {id(weight): state[name] for name, weight in self.lightning_module.named_parameters() if name in state}
        self._state.take(checkpoint["optimizer_states"][0], named)
        self._precision.restore(self.model, checkpoint.get("loss_scale", {}))

    def teardown(self) -> None:
        """Take the engine's hooks off the model, and let go of its memory."""
        engine, self._state, self._groups = self.model, None, []
        super().teardown()
        self._of_transformers = None
        if engine is not self.lightning_module and hasattr(engine, "destroy"):
            self.optimizers, self.lr_scheduler_configs = [], []
            self.model = self.lightning_module
            cast("Any", engine).destroy()

    @contextmanager
    def tensor_init_context(self, empty_init: bool | None = None) -> Iterator[None]:
        """Models are made on the device; under stage 3 transformers places the shards."""
        with nullcontext() if self.zero_stage_3 else ParallelStrategy.tensor_init_context(self, empty_init=empty_init):
            yield


for _stage in (1, 2, 3):
    StrategyRegistry.register(f"zero{_stage}", Zero, description=f"DeepSpeed ZeRO, stage {_stage}", stage=_stage)
StrategyRegistry.register("zero3_offload", Zero, description="DeepSpeed ZeRO, stage 3, in the host's memory", stage=3, offload=True)
