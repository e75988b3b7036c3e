"""Turns of two processes, which are two threads with a barrier here."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from clinical_ie.strategies.in_turn import in_turn


def test_without_a_strategy_nobody_waits() -> None:
    with in_turn(None):
        pass


@pytest.mark.parametrize("fails", [None, 0, 1])
def test_one_after_another_even_where_one_fails(fails: int | None) -> None:
    barrier, said, failed = threading.Barrier(2, timeout=20), list[str](), list[int]()

    def load(place: int) -> None:
        strategy: Any = SimpleNamespace(num_processes=2, local_rank=place, barrier=barrier.wait)
        try:
            with in_turn(strategy):
                said.append(f"{place} begins")
                if place == fails:
                    raise ValueError("no such model")
                said.append(f"{place} ends")
        except ValueError:
            failed.append(place)

    threads = [threading.Thread(target=load, args=(place,)) for place in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert said == [word for place in (0, 1) for word in (f"{place} begins", f"{place} ends") if word != f"{fails} ends"]
    assert failed == ([] if fails is None else [fails])
