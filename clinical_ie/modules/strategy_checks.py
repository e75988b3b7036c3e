"""What a strategy cannot do with a model, refused before anything is loaded."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy, Strategy

from clinical_ie.errors import SettingError
from clinical_ie.strategies.sharding import FullySharded
from clinical_ie.strategies.zero import Zero


def check_strategy(module: Any, strategy: Strategy) -> None:
    """Hold a module's settings against the strategy that is to train or use it.

    Args:
        module: With its settings; nothing is loaded.
        strategy: The trainer's.

    Raises:
        SettingError: Weights are sharded in a way that is not prepared here, or the module's cannot be.
    """
    if isinstance(strategy, FSDPStrategy | ModelParallelStrategy) and not isinstance(strategy, FullySharded):
        raise SettingError(f"{type(strategy).__name__} would not shard these models; give -c strategy/fsdp2 (FSDP2)")
    if isinstance(strategy, DeepSpeedStrategy) and not isinstance(strategy, Zero):
        raise SettingError(
            "Lightning's own DeepSpeedStrategy would not train these models rightly; give -c strategy/zero2 or strategy/zero3"
        )
    if module.quantized is not None and (isinstance(strategy, FullySharded) or (isinstance(strategy, Zero) and strategy.stage == 3)):
        raise SettingError("weights in few bits are not sharded here; give -c strategy/ddp or strategy/zero2, or quantized: null")
    if getattr(module.peft, "use_dora", False) and isinstance(strategy, Zero) and strategy.stage == 3:
        raise SettingError(
            "DoRA reads the weights that it adapts outside of their own passes, where ZeRO-3 has not gathered them; take -c peft/lora, or"
            " -c strategy/zero2 or strategy/fsdp2"
        )
    if getattr(module, "compiled", False) and isinstance(strategy, Zero) and strategy.stage == 3:
        raise SettingError(
            "layers cannot be compiled around the hooks by which ZeRO-3 gathers their weights (docs/large_models.md); give compiled: false,"
            " or -c strategy/zero2 or strategy/fsdp2"
        )
