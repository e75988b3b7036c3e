"""Jobs that can't do what they are for: each ends once, in the right state, and says what to do; nothing that was saved is lost."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.slurm.cluster import Cluster
from tests.slurm.fits import TWO_NODES, same_weights, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FitLine = Callable[..., str]
ONE_NODE = ("--nodes=1", "--ntasks-per-node=1")


def test_mistakes_are_told_by_every_rank_and_nobody_waits(cluster: Cluster, fit: FitLine, undisturbed: Path, tmp_path: Path) -> None:
    sealed = tmp_path / "sealed"
    sealed.mkdir()
    without = fit(tmp_path / "forgotten").removeprefix("srun --kill-on-bad-exit=1 ")
    # name -> script, options, messages: as many as there are processes to tell them
    jobs: dict[str, tuple[str, tuple[str, ...], list[str]]] = {
        "tasks": (fit(tmp_path / "tasks"), ("--nodes=1", "--ntasks=2"), ["SLURM started 2 tasks on 1 nodes, 2 a node"] * 2),
        "nodes": (fit(tmp_path / "nodes"), ONE_NODE, ["SLURM started 1 tasks on 1 nodes, 1 a node, but trainer.num_nodes=2"]),
        "srun": (without, TWO_NODES, ["srun is missing: this process is alone, but the job's tasks are 2"]),
        "address": (f"export MASTER_ADDR=127.0.0.1\n{fit(tmp_path / 'address')}", TWO_NODES, ["MASTER_ADDR is 127.0.0.1"] * 2),
        "setting": (fit(tmp_path / "setting", "--trainer.max_epoch=3"), ONE_NODE, ["unknown option --trainer.max_epoch;"]),
        "sealed": (f"mount -t tmpfs -o ro tmpfs {sealed}\n{fit(sealed / 'run')}", ONE_NODE, ["cannot be written to"]),
        # as after a requeue, but by another job: its checkpoints are not ours
        "held": (f"export SLURM_RESTART_COUNT=1\n{fit(undisturbed)}", TWO_NODES, ["holds a run already"] * 2),
    }
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}
    numbers = {
        # where one rank's end doesn't end the others, all must come to it by themselves
        name: cluster.submit(script.replace(" --kill-on-bad-exit=1", ""), *options, log=tmp_path / f"{name}.log")
        for name, (script, options, _) in jobs.items()
    }
    for name, number in numbers.items():
        ended, said = cluster.wait(number), (tmp_path / f"{name}.log").read_text(encoding="utf-8")
        assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("FAILED", "2:0", "0"), f"{name}: {said[-4000:]}"
        for message in jobs[name][2]:
            assert said.count(message) == len(jobs[name][2]), f"{name}: {said[-4000:]}"
        assert "Traceback" not in said
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")} == before


def test_a_killed_rank_ends_the_job_and_another_job_goes_on(cluster: Cluster, fit: FitLine, undisturbed: Path, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    line = fit(run, "--resume=auto").replace(" --kill-on-bad-exit=1", "")
    job = cluster.submit(line, *TWO_NODES, log=log)
    wait_for(log, "epoch 1/3")
    os.kill(rank_of(cluster, job, 1), signal.SIGKILL)
    ended, said = cluster.wait(job), log.read_text(encoding="utf-8")
    assert (ended["JobState"], ended["Restarts"]) == ("FAILED", "0"), said[-4000:]
    assert "task 1: Killed" in said
    assert "another process of the run has ended" in said
    assert "Traceback" not in said
    again = cluster.submit(line, *TWO_NODES, log=log)
    assert cluster.wait(again)["JobState"] == "COMPLETED", log.read_text(encoding="utf-8")[-4000:]
    assert same_weights(run, undisturbed)


def test_a_full_disk_leaves_the_state_before(cluster: Cluster, fit: FitLine, tmp_path: Path) -> None:
    disk, kept, log = tmp_path / "disk", tmp_path / "kept", tmp_path / "log"
    disk.mkdir()
    script = f"mount -t tmpfs -o size=2500k tmpfs {disk}\n{fit(disk / 'run', nodes=1)}\nstatus=$?\ncp -r {disk}/run {kept}; exit $status"
    ended = cluster.wait(cluster.submit(script, *ONE_NODE, log=log))
    said = log.read_text(encoding="utf-8")
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("FAILED", "1:0", "0"), said[-4000:]
    assert "cannot be written (No space left on device)" in said
    assert torch.load(kept / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] > 0


def test_tasks_of_an_array_go_back_one_by_one(cluster: Cluster, tmp_path: Path) -> None:
    """One of them has the id of the whole array."""
    asking = "from clinical_ie.strategies.slurm_job import requeue; requeue('here')"
    requeueing = f'[ -n "${{SLURM_RESTART_COUNT:-}}" ] || {sys.executable} -c "{asking}"'
    script = f'if [ "$SLURM_ARRAY_TASK_ID" = 0 ]; then sleep 5; else {requeueing}; fi'
    array = cluster.submit(script, "--array=0-2", log=tmp_path / "log_%a")
    for task, restarts in enumerate((0, 1, 1)):
        ended = cluster.wait(f"{array}_{task}", restarts=restarts)
        assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", str(restarts))


def test_who_cancels_a_job_is_obeyed(cluster: Cluster, tmp_path: Path) -> None:
    """SLURM sends what it sends before a preemption, and would requeue a job that is being cancelled."""
    log, loading = tmp_path / "log", tmp_path / "loading.py"
    lines = (
        "from clinical_ie.strategies.stop_signals import stopping_at_once\nimport logging, time\nlogging.basicConfig(level=logging.INFO)\n"
    )
    loading.write_text(f"{lines}with stopping_at_once():\n    print('loading', flush=True)\n    time.sleep(100)\n", encoding="utf-8")
    job = cluster.submit(f"srun {sys.executable} {loading}", log=log)
    wait_for(log, "loading")
    cluster.run("scancel", str(job))
    ended = cluster.wait(job)
    assert (ended["JobState"], ended["Restarts"]) == ("CANCELLED", "0"), log.read_text(encoding="utf-8")
    assert f"job {job} is not requeued from here: it is COMPLETING" in log.read_text(encoding="utf-8")


def rank_of(cluster: Cluster, job: int, rank: int) -> int:
    """The process of a rank."""
    wanted = {f"SLURM_JOB_ID={job}", f"SLURM_PROCID={rank}", "SLURM_STEP_ID=0", f"SLURM_CONF={cluster.folder}/etc/slurm.conf"}
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
            found = {part.decode(errors="replace") for part in (folder / "environ").read_bytes().split(b"\0")}
        except OSError:
            continue
        if wanted <= found and b"clinical_ie" in line:
            return int(folder.name)
    raise AssertionError("no such process")
