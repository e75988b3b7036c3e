"""Losses are those of one process, to four decimals, under every strategy.

The committed trajectories are of one process. Rounding differs between machines and orders of summation by about 1e-6 of a loss (seen:
1e-6 at most, taggers under ZeRO-1 and 2 against one process), and six steps do not carry it further. Gradients of half their size change
the losses of these steps by 1e-4 to 1e-2 (of soft prompts of the generator by 1e-5 only), gradients that were summed with those of other
parameters by 1e-3.

No strategy refuses any of these cells; what one cannot do is in `clinical_ie.modules.strategy_checks`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import in_ranks
from tests.invariant.cells import CELLS, CLIPS, STEPS, TRAJECTORIES, Cell, Places, record, train
from tests.invariant.trajectories import make_places
from tests.modules.step_gradients import made
from tests.modules.tiny_training import WARNINGS_OF_TRAINING

STRATEGIES = ("ddp", "zero1", "zero2", "zero3", "fsdp2")
_EQUAL = 5e-5
"""Half of the fourth decimal."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return make_places(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(TRAJECTORIES.read_text(encoding="utf-8"))
    return found


def differences(found: dict[str, Any], expected: dict[str, Any], cells: list[Cell]) -> list[str]:
    """What is not equal, a line for each cell."""
    lines = []
    for cell in map(str, cells):
        got, wanted = found[cell], expected[cell]
        if isinstance(got, str) or len(got) != STEPS or max(abs(a - b) for a, b in zip(got, wanted, strict=True)) >= _EQUAL:
            lines.append(f"{cell}: {got}, expected {wanted}")
    return lines


@WARNINGS_OF_TRAINING
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # PEFT's call
@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=str(cell), marks=[] if (cell.tuning, cell.accumulated) == ("lora", 1) else pytest.mark.slow) for cell in CELLS],
)
def test_one_process(cell: Cell, places: Places, expected: dict[str, Any]) -> None:
    found = train(cell, "auto", places)
    assert not differences({str(cell): found.losses}, expected, [cell])
    assert min(found.norms) < CLIPS[cell.kind, cell.tuning] < max(found.norms), f"the size of gradients counts: {found.norms}"


@pytest.mark.parametrize("kind", ["tagger", "relations"])
def test_ranks_differ_in_the_corpora_of_their_batches(kind: str, places: Places) -> None:
    """So that a head that one rank needs and the other does not is among what is compared."""
    data, _, _ = made(kind, *places)
    data.setup("fit")
    data.train_dataloader()
    plan = data.sampler.plan
    first, second = ([{plan.sources[index].corpus for index in batch} for batch in plan.epoch(0)[rank::2]] for rank in range(2))
    assert any(mine != theirs for mine, theirs in zip(first, second, strict=False))


def test_trajectories_are_of_these_cells(expected: dict[str, Any]) -> None:
    assert list(expected) == [str(cell) for cell in CELLS]


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(900)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_ranks(strategy: str, places: Places, expected: dict[str, Any], tmp_path: Path) -> None:
    """All cells in one pair of processes."""
    output = tmp_path / "losses.json"
    code, printed = in_ranks(record, strategy, str(output), CELLS, places, ranks=2, seconds=800)
    assert code == 0, printed[-4000:]
    wrong = differences(json.loads(output.read_text(encoding="utf-8")), expected, CELLS)
    assert not wrong, "\n".join(wrong)
