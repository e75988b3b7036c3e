"""Training on two nodes, and what interrupts it: a job comes back and ends as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.fits import TWO_NODES, losses, same_weights, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FitLine = Callable[..., str]


def test_two_nodes_train_together(undisturbed: Path) -> None:
    log = undisturbed.with_name("log").read_text(encoding="utf-8")
    assert "GLOBAL_RANK: 0, MEMBER: 1/2" in log
    assert "GLOBAL_RANK: 1, MEMBER: 2/2" in log
    found = json.loads((undisturbed / "results.json").read_text(encoding="utf-8"))
    assert found["run"]["steps"] == 27
    assert [step for step, _ in losses(undisturbed)] == list(range(27))


@pytest.mark.parametrize("strategy", ["zero2", "zero3"])
def test_two_nodes_share_out_a_model(strategy: str, cluster: Cluster, fit: FitLine, undisturbed: Path, tmp_path: Path) -> None:
    pytest.importorskip("deepspeed")
    run, log = tmp_path / "run", tmp_path / "log"
    ended = cluster.wait(cluster.submit(fit(run, strategy=strategy), *TWO_NODES, log=log))
    said = log.read_text(encoding="utf-8")
    assert (ended["JobState"], ended["ExitCode"]) == ("COMPLETED", "0:0"), said[-4000:]
    assert [step for step, _ in losses(run)] == list(range(27))
    first = [[loss for _, loss in losses(folder)][:9] for folder in (run, undisturbed)]
    assert first[0] == pytest.approx(first[1], abs=5e-5), "the first epoch, before differences in the last digit can grow"


@pytest.mark.parametrize("cause", ["USR1", "preemption"])
def test_a_job_is_requeued_and_goes_on_exactly(cause: str, cluster: Cluster, fit: FitLine, undisturbed: Path, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    partition = "low" if cause == "preemption" else "main"
    script = f". slurm/env.sh\n{fit(run)}" if cause == "preemption" else fit(run)  # by the packaged settings too, which have a say in it
    job = cluster.submit(script, *TWO_NODES, f"--partition={partition}", log=log)
    after = cluster.submit("true", f"--dependency=afterok:{job}", "--kill-on-invalid-dep=yes", log=tmp_path / "after")
    wait_for(log, "epoch 1/3")
    config = (run / "config.yaml").stat().st_mtime_ns
    if cause == "preemption":
        cluster.submit("true", "--nodes=2", "--exclusive", log=tmp_path / "urgent")
    else:
        cluster.run("scancel", "--signal=USR1", str(job))
    wait_for(log, f"job {job} is requeued")
    assert cluster.job(after)["JobState"] == "PENDING", "what waits for the end of the run goes on waiting"
    ended = cluster.wait(job, restarts=1)
    said = log.read_text(encoding="utf-8")
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("COMPLETED", "0:0", "1"), said[-4000:]
    assert same_weights(run, undisturbed)
    assert losses(run) == losses(undisturbed)
    assert (run / "config.yaml").stat().st_mtime_ns == config
    assert not list(run.rglob("*.partial"))
    assert cluster.wait(after)["JobState"] == "COMPLETED"
