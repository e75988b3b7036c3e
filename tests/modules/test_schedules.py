from __future__ import annotations

import math

import pytest
import torch

from clinical_ie.modules.schedules import Schedule, warmup_schedule


def rates(schedule: Schedule, share: float, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = warmup_schedule(optimizer, schedule, share, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"] / 2.0)
        optimizer.step()
        scheduler.step()
    return found


def test_linear() -> None:
    found = rates("linear", 0.2, 10)
    assert found[:2] == pytest.approx([1 / 3, 2 / 3])
    assert found[2:] == pytest.approx([1 - k / 8 for k in range(8)])


def test_cosine_is_half_way_down_in_the_middle() -> None:
    found = rates("cosine", 0.0, 8)
    assert found[0] == pytest.approx(1.0)
    assert found[4] == pytest.approx(0.5)
    assert found[7] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_constant_after_the_warm_up() -> None:
    found = rates("constant", 0.5, 4)
    assert found[0] < found[1] < 1.0
    assert found[2:] == pytest.approx([1.0, 1.0])
