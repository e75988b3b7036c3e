"""What a strategy cannot do with a model is refused, with a remedy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, ModelParallelStrategy, SingleDeviceStrategy
from peft import LoraConfig

from clinical_ie.errors import SettingError
from clinical_ie.modules.strategy_checks import check_strategy
from clinical_ie.strategies.sharding import FullySharded
from clinical_ie.strategies.zero import Zero

PLAIN = {"quantized": None, "peft": None, "compiled": False, "base_dtype": "auto"}


def strategy(kind: type, **attributes: Any) -> Any:
    """One without its libraries."""
    found = object.__new__(kind)
    vars(found).update(attributes)
    return found


@pytest.mark.parametrize(
    ("of", "given", "remedy"),
    [
        (strategy(DeepSpeedStrategy), {}, "strategy/zero2"),
        (strategy(ModelParallelStrategy), {}, "strategy/fsdp2"),
        (strategy(Zero, stage=3), {"quantized": "nf4"}, "strategy/zero2"),
        (strategy(FullySharded), {"quantized": "nf4"}, "strategy/ddp"),
        (strategy(Zero, stage=3), {"compiled": True}, "compiled: false"),
        (strategy(Zero, stage=3), {"peft": LoraConfig(use_dora=True)}, "peft/lora"),
    ],
)
def test_what_cannot_be_done_is_refused(of: Any, given: dict[str, Any], remedy: str) -> None:
    with pytest.raises(SettingError, match=remedy):
        check_strategy(SimpleNamespace(**PLAIN | given), of)


@pytest.mark.parametrize("of", [SingleDeviceStrategy(), DDPStrategy(), strategy(Zero, stage=3), strategy(FullySharded)])
def test_plain_models_go_with_every_strategy(of: Any) -> None:
    check_strategy(SimpleNamespace(**PLAIN | {"peft": LoraConfig()}), of)


def test_weights_in_few_bits_and_compiled_layers_go_where_weights_are_whole() -> None:
    check_strategy(SimpleNamespace(**PLAIN | {"quantized": "nf4", "compiled": True}), strategy(Zero, stage=2))


@pytest.mark.parametrize("of", [SingleDeviceStrategy(), DDPStrategy(), strategy(FullySharded), strategy(Zero, stage=3)])
def test_a_base_in_bfloat16_goes_everywhere(of: Any) -> None:
    check_strategy(SimpleNamespace(**PLAIN | {"base_dtype": "bfloat16"}), of)
