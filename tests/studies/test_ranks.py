"""A study that srun started as several tasks: which runs the others take part in, and when they end."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from clinical_ie.commands.study_ranks import Ranks, stopping
from clinical_ie.errors import RunError, Stopped

STEP = {"SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4", "SLURM_PROCID": "2"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (STEP, (2, "0.17.0.0")),
        ({**STEP, "SLURM_RESTART_COUNT": "3"}, (2, "0.17.0.3")),
        ({**STEP, "SLURM_CLUSTER_NAME": "site"}, (2, "site.17.0.0")),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1"}, None),
        ({**STEP, "SLURM_NTASKS": "1"}, None),
        ({name: value for name, value in STEP.items() if name != "SLURM_STEP_ID"}, None),  # the batch script itself
        ({}, None),
    ],
)
def test_tasks_are_told_from_the_variables_of_a_step(environment: dict[str, str], expected: tuple[int, str] | None, tmp_path: Path) -> None:
    found = Ranks.of(environment, tmp_path)
    assert (found and (found.rank, found.path.name)) == expected


def test_the_others_do_what_the_first_begins(tmp_path: Path) -> None:
    first, other = (Ranks.of({**STEP, "SLURM_PROCID": str(rank)}, tmp_path) for rank in (0, 1))
    assert first is not None
    assert other is not None
    begun: list[str] = []
    thread = threading.Thread(target=lambda: other.follow(lambda key: begun.append(key) or 1, pause=0.01))  # type: ignore[func-returns-value]
    thread.start()
    for key in ("a", "b"):
        first.begin(key)
    first.end()
    thread.join(timeout=60)
    assert begun == ["a", "b"], "a failure is the first one's to tell"


def test_a_line_that_is_half_written_is_waited_for(tmp_path: Path) -> None:
    ranks = Ranks(1, tmp_path / "step")
    ranks.path.write_text("a\nhal", encoding="utf-8")
    begun: list[str] = []

    def start(key: str) -> int:
        begun.append(key)
        ranks.path.write_text("a\nhalf\nend\n", encoding="utf-8")
        return 0

    ranks.follow(start, pause=0.01)
    assert begun == ["a", "half"]


def test_the_others_stop_with_the_run_and_know_what_the_first_knows(tmp_path: Path) -> None:
    ranks = Ranks(1, tmp_path / "step")
    ranks.begin("a")
    with pytest.raises(Stopped):
        ranks.follow(lambda key: 75)
    with pytest.raises(RunError, match="do all nodes see the same files"):
        ranks.follow(lambda key: {"b": 0}[key])


def test_a_signal_stops_who_waits(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(Stopped, match="SIGUSR1"), stopping():
        signal.raise_signal(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == before
