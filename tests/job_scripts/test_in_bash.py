"""Job scripts run by bash, with commands of SLURM that note how they were called: what processes get, and how a job ends."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "slurm"
SRUN = """#!/bin/bash
echo ${*//$'\\n'/} | tee -a "$NOTES/srun" >>"$NOTES/calls"
while [[ $1 == --* ]]; do shift; done
case $1 in
  bash) [ -z "${COPYING:-}" ] || exit "$COPYING"; exec "$@" ;;
  rm) [[ $STATE != *PENDING* ]] || exit 1; exec "$@" ;; # no step starts once a job is requeued
esac
env >"$NOTES/environment"
exit "$STATUS"
"""
SCONTROL = """#!/bin/bash
case "$1 $2" in
  "show hostnames") if [ "$3" = "gpu[07-08]" ]; then printf 'gpu07\\ngpu08\\n'; else exit 1; fi ;;
  "show node") echo "NodeName=gpu07 State=MIXED "; echo "NodeName=gpu08 State=${NODE:-ALLOCATED} " ;;
  "show job") echo "JobId=$3 $STATE Dependency=(null) Requeue=${REQUEUE:-1} Restarts=0 BatchFlag=1" ;;
  *) echo "$@" | tee -a "$NOTES/scontrol" >>"$NOTES/calls" ;;
esac
"""
JOB = {
    "SLURM_JOB_ID": "30017", "SLURM_JOB_NODELIST": "gpu[07-08]", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_CPUS_PER_TASK": "6", "RANK": "3", "LOCAL_RANK": "1", "STATUS": "0", "STATE": "JobState=RUNNING Reason=None",
}  # fmt: skip


class Job:
    """A job script in bash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(FOLDER, folder / "slurm")
        for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
            file = folder / "bin" / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "HF_"))}
        environment = {**kept, **JOB, **variables, "NOTES": str(self.folder), "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        line = ["bash", f"slurm/{script}.sbatch", *arguments]
        return subprocess.run(line, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def noted(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def edit(self, before: str, after: str, name: str = "env.sh") -> None:
        file = self.folder / "slurm" / name
        text = file.read_text(encoding="utf-8")
        assert before in text
        file.write_text(text.replace(before, after, 1), encoding="utf-8")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_processes_find_each_other(job: Job) -> None:
    assert job.run("train", "-c", "my model", "--run_dir=r").returncode == 0
    assert job.noted("srun") == ["clinical-ie fit -c my model --run_dir=r --resume=auto --trainer.num_nodes=2 --trainer.devices=4"]
    found = dict(line.partition("=")[::2] for line in job.noted("environment"))
    expected = {"MASTER_ADDR": "gpu07", "MASTER_PORT": "20017", "SRUN_CPUS_PER_TASK": "6", "OMP_NUM_THREADS": "6", "HF_HUB_OFFLINE": "1"}
    assert expected.items() <= found.items()
    assert {"RANK", "LOCAL_RANK"}.isdisjoint(found), "left over from a launcher"


@pytest.mark.parametrize(
    ("status", "state", "requeue", "goes_back"),
    [
        ("0", "JobState=RUNNING Reason=None", "1", False),
        ("2", "JobState=RUNNING Reason=None", "1", False),
        ("75", "JobState=RUNNING Reason=None", "1", True),
        ("143", "JobState=RUNNING Reason=None", "1", True),
        ("75", "JobState=RUNNING Reason=None", "0", False),
        ("75", "JobState=COMPLETING Reason=None", "1", False),  # cancelled
        ("75", "JobState=COMPLETING Reason=TimeLimit", "1", True),
        ("75", "JobState=PENDING Reason=BeginTime", "1", False),  # its processes have seen to it
    ],
)
def test_a_job_ends_as_its_processes_do_and_goes_back_when_they_were_stopped(
    status: str, state: str, requeue: str, goes_back: bool, job: Job
) -> None:
    assert job.run("train", STATUS=status, STATE=state, REQUEUE=requeue).returncode == int(status)
    assert job.noted("scontrol") == ["requeue 30017"] * goes_back


@pytest.mark.parametrize(
    ("status", "node", "goes_back"),
    [
        ("1", "MIXED+NOT_RESPONDING", True),  # as SLURM 22.05 has it
        ("137", "DOWN*", True),
        ("1", "ALLOCATED*", True),  # as older versions have it
        ("1", "ALLOCATED", False),
        ("2", "DOWN*", False),  # a wrong setting
        ("0", "DOWN*", False),
    ],
)
def test_a_job_that_lost_a_node_goes_back(status: str, node: str, goes_back: bool, job: Job) -> None:
    """The other ranks end long before SLURM takes a node for lost."""
    assert job.run("train", STATUS=status, NODE=node).returncode == int(status)
    assert job.noted("scontrol") == ["requeue 30017"] * goes_back
    assert job.run("train", STATUS=status, NODE=node, REQUEUE="0").returncode == int(status)
    assert job.noted("scontrol") == ["requeue 30017"] * goes_back


@pytest.fixture
def staging(job: Job) -> Job:
    """A job that copies the caches of ``shared`` to ``local``."""
    shared = job.folder / "shared"
    (shared / "hub").mkdir(parents=True)
    (shared / "hub" / "model").write_text("weights", encoding="utf-8")
    job.edit("#node_local=${TMPDIR:-/tmp}", f"node_local={job.folder / 'local'}")
    return job


def test_caches_are_copied_once_to_a_nodes_disk_and_removed_in_the_end(staging: Job) -> None:
    shared, staged = staging.folder / "shared", staging.folder / "local" / "huggingface-30017"
    assert staging.run("evaluate", "test", HF_HOME=str(shared), STATUS="3").returncode == 3
    first, command, last = staging.noted("srun")
    assert first.startswith("--ntasks=2 --ntasks-per-node=1 bash -c ")
    assert command.startswith("clinical-ie test ")
    assert last == f"--ntasks=2 --ntasks-per-node=1 rm -rf -- {staged}"
    assert f"HF_HOME={staged}" in staging.noted("environment")
    assert not staged.exists()
    assert (shared / "hub" / "model").exists()


@pytest.mark.parametrize("script", ["train", "study", "evaluate"])
@pytest.mark.parametrize(("status", "goes_back"), [("138", True), ("143", True), ("1", False)])
def test_a_job_that_is_stopped_while_it_copies_goes_back(script: str, status: str, goes_back: bool, staging: Job) -> None:
    """USR1 and SIGTERM end `cp`, which cannot listen to them; a full disk ends it with 1."""
    done = staging.run(script, "smoke", HF_HOME=str(staging.folder / "shared"), COPYING=status)
    assert done.returncode == int(status)
    assert staging.noted("scontrol") == ["requeue 30017"] * goes_back
    assert not any("clinical-ie" in call for call in staging.noted("srun")), "nothing starts without its caches"


def test_copies_are_removed_before_the_job_goes_back(staging: Job) -> None:
    """As no step starts on a job that is in the queue again; where its processes have put it there, the first node's copy goes at least."""
    given = {"HF_HOME": str(staging.folder / "shared"), "STATUS": "75"}
    assert staging.run("train", **given).returncode == 75
    *_, removed, requeued = staging.noted("calls")
    assert (" rm -rf -- " in removed, requeued) == (True, "requeue 30017")
    assert staging.run("train", **given, STATE="JobState=PENDING Reason=BeginTime").returncode == 75
    assert list((staging.folder / "local").iterdir()) == []


def test_what_other_jobs_have_left_on_a_node_is_removed(staging: Job) -> None:
    local = staging.folder / "local"
    own, left, fresh, used, other = (local / f"huggingface-{name}" for name in ("30017", "999001", "999002", "999003", "hub"))
    for folder in (own, left, fresh, used, other):
        folder.mkdir(parents=True)
        (folder / "old").touch()
        if folder != fresh:
            os.utime(folder, (1, 1))
    other.rename(local / "elses")
    with subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], "SLURM_JOB_ID": "999003"}) as neighbour:
        done = staging.run("train", HF_HOME=str(staging.folder / "shared"), STATUS="0")
        neighbour.kill()
    assert done.returncode == 0, done.stderr
    assert {folder.name for folder in local.iterdir()} == {fresh.name, used.name, "elses"}
    assert staging.noted("environment")


@pytest.mark.parametrize(("keys", "index", "only"), [("keys=()", None, ""), ("keys=(a b c)", "1", " --only=b")])
def test_a_task_of_an_array_does_its_run(keys: str, index: str | None, only: str, job: Job) -> None:
    job.edit("keys=()", keys, "study.sbatch")
    assert job.run("study", "smoke", "--root=r", **({"SLURM_ARRAY_TASK_ID": index} if index else {})).returncode == 0
    assert job.noted("srun") == [f"clinical-ie study run smoke --root=r{only}"]


def test_what_is_missing_ends_the_job_before_anything_starts(job: Job) -> None:
    done = job.run("train", SLURM_JOB_NODELIST="unknown")
    assert (done.returncode, job.noted("srun")) == (1, [])
    assert "scontrol does not tell the nodes of job 30017 (nodes: unknown)" in done.stderr
    (job.folder / "slurm" / "env.sh").unlink()
    assert (job.run("report").returncode, job.noted("srun")) == (1, [])
