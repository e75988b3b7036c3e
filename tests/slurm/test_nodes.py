"""Jobs whose node fails, is taken down, or whose time is over: SLURM or the job itself puts them back, and nothing is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.fits import TWO_NODES, losses, same_weights, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FitLine = Callable[..., str]
PACED = "--trainer.callbacks+=tests.slurm.pacing.Paced"
STEPS = 54
"""Of one rank."""


@pytest.fixture(scope="module")
def limited(cluster: Cluster, fit: FitLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A job of two minutes on node1 that needs at least 108 s for its steps; the tests of node2 pass while it runs."""
    folder = tmp_path_factory.mktemp("limited")
    line = fit(folder / "run", PACED, "--trainer.callbacks.init_args.seconds=2", "--resume=auto", nodes=1, strategy="single")
    options = ("--nodes=1", "--ntasks-per-node=1", "--nodelist=node1", "--time=2", "--signal=USR1@30", "--requeue")
    yield cluster.submit(f". slurm/env.sh\n{line}", *options, log=folder / "log"), folder
    cluster.run("scancel", "--partition=main", check=False)


def wait_for_node(cluster: Cluster, node: str, *states: str, seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while not any(state in cluster.node(node) for state in states):
        assert time.monotonic() < end, f"{node} is {cluster.node(node)}, not {states}"
        time.sleep(0.2)


def test_a_node_that_fails_and_one_that_is_taken_down_give_the_job_back(
    cluster: Cluster, fit: FitLine, undisturbed: Path, limited: tuple[int, Path], tmp_path: Path
) -> None:
    """First without a word, as by a loss of power: the other rank waits for it until SLURM has noticed. Then by the administrator."""
    run, log = tmp_path / "run", tmp_path / "log"
    line = fit(run, PACED, "--trainer.callbacks.init_args.seconds=1", "--resume=auto")
    job = cluster.submit(f". slurm/env.sh\n{line}", *TWO_NODES, "--requeue", log=log)
    wait_for(log, "epoch 1/3")
    cluster.kill_node("node2")
    wait_for_node(cluster, "node2", "DOWN")
    cluster.start_node("node2")
    cluster.wait(job, ["RUNNING"], restarts=1)
    wait_for(log, "epoch 2/3")
    cluster.run("scontrol", "update", "nodename=node2", "state=down", "reason=test")
    ended = cluster.wait(job, restarts=2)  # a node that answers is taken back by itself (ReturnToService=2)
    said = log.read_text(encoding="utf-8")
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("COMPLETED", "0:0", "2"), said[-4000:]
    assert same_weights(run, undisturbed)
    assert losses(run) == losses(undisturbed)
    assert json.loads((run / "results.json").read_text(encoding="utf-8"))["run"]["steps"] == STEPS // 2, "two ranks share the batches"
    assert not list(run.rglob("*.partial"))
    assert "DOWN" not in cluster.node("node2")


def test_a_job_at_its_time_limit_goes_on_in_another(cluster: Cluster, limited: tuple[int, Path]) -> None:
    job, folder = limited
    ended = cluster.wait(job, restarts=1, seconds=400)
    said = (folder / "log").read_text(encoding="utf-8")
    assert (ended["JobState"], ended["ExitCode"]) == ("COMPLETED", "0:0"), said[-4000:]
    assert "stopped by SIGUSR1" in said
    assert f"job {job} is requeued" in said
    assert "TIMEOUT" not in said
    found = json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))
    assert found["run"]["steps"] == STEPS
    assert "test" in found["splits"]
    assert [step for step, _ in losses(folder / "run")] == list(range(STEPS))
