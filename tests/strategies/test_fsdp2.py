from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from clinical_ie.errors import SettingError
from clinical_ie.strategies.sharding import FullySharded


def test_a_scaled_loss_is_refused() -> None:
    """Before processes wait for each other; Lightning takes no float16 on a CPU."""
    strategy, precision = FullySharded(), cast("Any", SimpleNamespace(precision="16-mixed"))
    strategy.precision_plugin = precision
    with pytest.raises(SettingError, match=r"give --trainer.precision=bf16-mixed"):
        strategy.setup_environment()
