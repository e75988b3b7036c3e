"""The work of grounding, counted rather than timed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import pytest

from clinical_ie.prompts import text_index
from clinical_ie.prompts.grounding import ground
from clinical_ie.prompts.text_index import distance
from tests.prompts.grounding_cases import Said, drugs


def steps(text: str, said: Sequence[Said]) -> int:
    """Steps of the interpreter while grounding, so that no clock is needed."""
    count = 0

    def watch(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        ground(text, said)
    finally:
        sys.settrace(before)
    return count


WORK = {
    "each said once": lambda n: (" ".join(f"w{rank}" for rank in range(n)), drugs(*(f"w{rank}" for rank in range(n)))),
    "backwards": lambda n: (" ".join(f"w{rank}" for rank in range(n)), drugs(*(f"w{rank}" for rank in range(n, 0, -1)))),
    "all repeats said": lambda n: ("pain " * n, drugs(*["pain"] * n)),
    "half of the repeats said": lambda n: ("pain " * n, drugs(*["pain"] * (n // 2))),
    "all repeats but one said": lambda n: ("pain " * n, drugs(*["pain"] * (n - 1))),
    "more said than there are": lambda n: ("pain " * n, drugs(*["pain"] * (2 * n))),
    "all misspelt": lambda n: ("headache " * n, drugs(*["headacke"] * n)),
    "misspelt in many ways": lambda n: ("headache fever " * n, drugs(*(f"headache{chr(97 + rank % 26)} fever" for rank in range(n)))),
    "none there": lambda n: ("pain " * n, drugs(*(f"zz{rank} qq" for rank in range(n)))),
    "fragments": lambda n: ("left and right arm. " * n, drugs(*["left ... arm"] * n)),
    "one long misspelt mention": lambda n: ("pain in the arm " * n, drugs("paim in teh arm " * n)),
    "one long invention": lambda n: (
        "alpha " + " ".join(f"w{rank}" for rank in range(n)) + " omega",
        drugs("alpha", "zz yy " * n, "omega"),
    ),
}


@pytest.mark.parametrize("name", WORK)
def test_work_grows_with_the_number_of_mentions(name: str) -> None:
    """Twice as much of everything is at most three times the work (which would be four, were it quadratic)."""
    size = 400 if "repeats" in name else 60
    small, large = (steps(*WORK[name](factor * size)) for factor in (1, 2))
    assert large < 3 * small, f"{large / small:.1f} times the steps"


def test_a_long_invention_is_not_compared_with_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that does not come to an end says one mention of thousands of characters."""
    compared = watched(monkeypatch)
    text = "alpha " + " ".join(f"w{rank}x" for rank in range(60)) + " omega"
    found = ground(text, drugs("alpha", "zz yy " * 60))
    assert found[1].status == "none"
    assert sum(compared) < 20 * len(text)


@pytest.mark.parametrize("words", ["pain in the arm", "paim in teh arm", "the the the"])
@pytest.mark.parametrize("repeats", [1, 5, 22])
def test_repeated_words_are_compared_a_few_times(words: str, repeats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer took 17 minutes for 355 characters of repeated words."""
    compared = watched(monkeypatch)
    text = "pain in the arm " * 22
    ground(text, [("S", " ".join([words] * repeats))] * 20)
    assert len(compared) <= 200


def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Characters of every comparison from here on."""
    compared: list[int] = []

    def counting(one: str, other: str) -> int:
        compared.append(len(other))
        return distance(one, other)

    monkeypatch.setattr(text_index, "distance", counting)
    return compared
