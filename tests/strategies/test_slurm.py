"""What SLURM says of tasks, held against what a trainer wants; variables as SLURM 22.05 sets them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from clinical_ie.errors import SettingError, Stopped
from clinical_ie.strategies.slurm import Slurm, check_tasks, for_slurm
from clinical_ie.strategies.slurm_job import is_restarted, job_id, requeue
from clinical_ie.strategies.stop_signals import stopping_at_once

_BATCH = {"JOB_ID": "7", "JOB_NAME": "train", "NTASKS": "4", "NNODES": "2", "TASKS_PER_NODE": "2(x2)", "NODELIST": "n[1-2]", "PROCID": "0"}
_STEP = {**_BATCH, "STEP_ID": "0", "STEP_NUM_NODES": "2", "STEP_TASKS_PER_NODE": "2(x2)", "STEP_NODELIST": "rack[1-2]n[1-2]"}
_SHELL = {**_STEP, "JOB_NAME": "bash", "NTASKS": "1", "STEP_NUM_NODES": "1", "STEP_TASKS_PER_NODE": "1"}


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM_", "MASTER_"))]:
        monkeypatch.delenv(name)


def inside(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], **more: str) -> None:
    for name, value in {**variables, **more}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


@pytest.mark.parametrize(
    ("variables", "more", "devices", "nodes"),
    [
        ({}, {}, 8, 1),  # no SLURM at all
        (_STEP, {}, 2, 2),
        (_STEP, {"JOB_NAME": "interactive"}, 2, 2),  # srun in a shell that salloc gave; Lightning would train four runs
        (_SHELL, {}, 2, 1),  # a shell starts processes by itself
        ({"JOB_ID": "7", "JOB_NAME": "train"}, {}, 2, 1),  # so does a job without tasks
        (_BATCH, {"NTASKS": "1", "NNODES": "1", "TASKS_PER_NODE": "1"}, 1, 1),
    ],
)
def test_what_works(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], more: dict[str, str], devices: int, nodes: int) -> None:
    inside(monkeypatch, variables, **more)
    check_tasks(devices, nodes)


@pytest.mark.parametrize(
    ("variables", "more", "devices", "nodes", "problem"),
    [
        (_STEP, {}, 1, 2, "started 4 tasks on 2 nodes, 2 a node, but trainer.num_nodes=2 and trainer.devices=1"),
        (_STEP, {}, 2, 1, "--trainer.num_nodes=2 --trainer.devices=2 .* `#SBATCH --nodes=1 --ntasks-per-node=2`"),
        (_STEP, {"STEP_TASKS_PER_NODE": "3,1"}, 2, 2, "1/3 a node"),
        (_BATCH, {}, 2, 2, "srun is missing: this process is alone, but the job's tasks are 4"),
        (_BATCH, {}, 1, 1, "srun is missing"),
        ({"JOB_ID": "7", "JOB_NAME": "train"}, {}, 1, 2, "srun is missing: this process is on one node, but trainer.num_nodes is 2"),
        (_SHELL, {}, 1, 2, "srun is missing"),
    ],
)
def test_what_would_hang(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], more: dict[str, str], devices: int, nodes: int, problem: str
) -> None:
    inside(monkeypatch, variables, **more)
    with pytest.raises(SettingError, match=problem):
        check_tasks(devices, nodes)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "127.0.1.1", "::1"])
def test_no_node_finds_another_at_its_own_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    inside(monkeypatch, _STEP)
    monkeypatch.setenv("MASTER_ADDR", address)
    with pytest.raises(SettingError, match=f"MASTER_ADDR is {address}"):
        check_tasks(2, 2)


def test_ranks_meet_at_the_first_node_at_a_port_of_their_step(monkeypatch: pytest.MonkeyPatch) -> None:
    inside(monkeypatch, _STEP)
    (environment,) = for_slurm([])
    assert isinstance(environment, Slurm)
    assert (environment.main_address, environment.main_port) == ("rack1n1", 15007)
    monkeypatch.delenv("MASTER_PORT")
    inside(monkeypatch, _STEP, STEP_ID="1")
    assert environment.main_port != 15007


def test_outside_of_slurm_nothing_is_added_and_lightning_finds_srun_without_a_word() -> None:
    assert for_slurm([]) == []
    Slurm()  # warnings are errors here, and srun is on the PATH


_SHOWN = "JobId=7 JobState={} Reason={} Requeue={} BatchFlag={}"


@pytest.mark.parametrize(
    ("shown", "asked"),
    [
        (_SHOWN.format("RUNNING", "None", 1, 1), True),  # a signal, or the grace time of a preemption
        (_SHOWN.format("COMPLETING", "TimeLimit", 1, 1), True),
        (_SHOWN.format("COMPLETING", "None", 1, 1), False),  # scancel
        (_SHOWN.format("PENDING", "BeginTime", 1, 1), False),
        (_SHOWN.format("RUNNING", "None", 0, 1), False),
        (_SHOWN.format("RUNNING", "None", 1, 0), False),
    ],
)
def test_a_job_is_requeued_by_cause(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: str, asked: bool) -> None:
    """States as a real slurmctld 22.05.8 told them to a task that had got SIGTERM."""
    calls = fake_scontrol(monkeypatch, tmp_path, shown)
    inside(monkeypatch, _STEP)
    requeue("at step 3")
    assert calls.read_text(encoding="utf-8").split() == ["show", *(["requeue"] if asked else [])]
    inside(monkeypatch, _STEP, PROCID="1")
    requeue("at step 3")
    assert calls.read_text(encoding="utf-8").split() == ["show", *(["requeue"] if asked else [])], "one task asks for all"


def test_a_signal_while_loading_requeues_and_one_without_scontrol_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = fake_scontrol(monkeypatch, tmp_path, _SHOWN.format("RUNNING", "None", 1, 1))
    inside(monkeypatch, _STEP)
    with pytest.raises(Stopped), stopping_at_once():
        os.kill(os.getpid(), signal.SIGUSR1)
    assert calls.read_text(encoding="utf-8").split() == ["show", "requeue"]
    with pytest.raises(Stopped), stopping_at_once():
        os.kill(os.getpid(), signal.SIGINT)
    assert calls.read_text(encoding="utf-8").split() == ["show", "requeue"], "nobody presses Ctrl-C to begin again"
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    requeue("at step 3")
    assert "could not be requeued" in caplog.text


def test_a_restarted_job_knows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (job_id(), is_restarted()) == (None, False)
    inside(monkeypatch, _STEP, CLUSTER_NAME="site", RESTART_COUNT="2")
    assert (job_id(), is_restarted()) == ("site/7", True)
    inside(monkeypatch, _STEP, ARRAY_JOB_ID="7", ARRAY_TASK_ID="2")
    assert job_id() == "site/7_2", "the array is called 7"


def fake_scontrol(monkeypatch: pytest.MonkeyPatch, folder: Path, shown: str) -> Path:
    """A file of what was asked of ``scontrol``."""
    calls, program = folder / "calls", folder / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho $1 >> {calls}\necho '{shown}'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return calls
