"""What DeepSpeed is told, and what is refused before it is asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from clinical_ie.errors import SettingError
from clinical_ie.strategies import zero
from clinical_ie.strategies.process_group import set_timeout
from clinical_ie.strategies.zero_precision import ZeroPrecision


def test_without_deepspeed_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"strategy zero3 needs the package deepspeed: pip install 'clinical_ie\[deepspeed\]'"):
        zero.Zero(stage=3)


@pytest.mark.parametrize(
    ("precision", "told"),
    [("32-true", {}), ("bf16-mixed", {"torch_autocast": True}), ("bf16-true", {"bf16": True}), ("16-mixed", {"fp16": True})],
)
def test_mixed_bfloat16_is_autocast_and_leaves_weights_in_full_precision(precision: Any, told: dict[str, bool]) -> None:
    settings = ZeroPrecision(precision).settings()
    assert {name: value["enabled"] for name, value in settings.items()} == told
    if "torch_autocast" in settings:
        assert settings["torch_autocast"]["lower_precision_safe_modules"] == [], "nothing is sent between ranks in less precision"


def test_ranks_wait_for_each_other_as_long_as_it_is_set() -> None:
    strategy = DDPStrategy()
    set_timeout(strategy, 90)
    assert strategy._timeout == timedelta(hours=1.5)
    set_timeout(SingleDeviceStrategy(), 90)  # has nobody to wait for
