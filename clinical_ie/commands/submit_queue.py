"""Talking to SLURM: a script is checked by ``sbatch --test-only`` before it is submitted, and refusals come with what to do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from clinical_ie.commands.submit_environment import of_job, outside
from clinical_ie.errors import FileFormatError, RunError, SettingError
from clinical_ie.files import read_text, write_text

_NO_GPU = " (--trainer.accelerator=cpu asks for no GPU)"
_REMEDIES = (
    ("partition", "`sinfo --summarize` lists partitions; name one by --partition, or SBATCH_PARTITION in slurm/env.sh"),
    ("account", "`sacctmgr show associations user=$USER` lists yours; name one by --account, or SBATCH_ACCOUNT in slurm/env.sh"),
    ("qos", "`sacctmgr show qos` lists them; name one by --sbatch=--qos=NAME, or SBATCH_QOS in slurm/env.sh"),
    ("time limit", "`sinfo` shows the longest time of each partition; ask for less by --time, the job goes on when it is queued again"),
    ("memory", "`sinfo --format='%P %m'` shows the megabytes of a node; ask for less by --mem"),
    ("job array", "`scontrol show config | grep MaxArraySize` shows the largest array; submit the study in parts"),
    ("feature", "`sinfo --format='%P %f'` lists the features of nodes; see SBATCH_CONSTRAINT in slurm/env.sh"),
    (
        "node configuration",
        "`sinfo --format='%P %D %c %m %G'` shows nodes, CPUs, memory and GPUs of each partition; ask for less of them" + _NO_GPU,
    ),
    ("generic resource", "`sinfo --format='%P %G'` shows the GPUs of each partition; ask for less by --gpus-per-node" + _NO_GPU),
    ("node count", "`sinfo --format='%P %D'` shows the nodes of each partition; ask for less by --nodes"),
    ("more processors", "`sinfo --format='%P %c'` shows the CPUs of a node; ask for less by --cpus-per-task"),
    ("contact slurm controller", "is this a login node? `scontrol ping` says whether SLURM answers"),
    ("configuration", "is this a login node? SLURM's configuration is not here"),
)
"""A part of what sbatch says -> what to do."""
_JOBS = "jobs.json"


def require() -> None:
    """Make sure that there is a queue.

    Raises:
        SettingError: sbatch is not on the PATH.
    """
    if shutil.which("sbatch") is None:
        raise SettingError("sbatch is not on the PATH: submit on a login node of the cluster; --dry-run shows the job anywhere")


def examine(arguments: Sequence[str], site: Path) -> None:
    """Let `clinical-ie doctor` look at a run, with the variables that its job will have; it prints what it finds.

    Args:
        arguments: Of doctor.
        site: The ``env.sh`` of the job.

    Raises:
        SettingError: A problem stands.
    """
    environment, told = of_job(site)
    if told:
        print(told, file=sys.stderr, flush=True)
    line = [sys.executable, "-m", "clinical_ie", "doctor", *arguments, "--elsewhere"]
    sys.stdout.flush()
    if subprocess.run(line, check=False, env=environment).returncode:
        raise SettingError("`clinical-ie doctor` found problems (above); mend them, or submit all the same with --unchecked")


def check(script: Path) -> str:
    """When the job could begin, as ``sbatch --test-only`` has it; nothing where it does not tell.

    Raises:
        SettingError: It never could.
    """
    done = _call(["sbatch", "--test-only", str(script)])
    said = _said(done.stderr)
    if done.returncode:
        raise SettingError(f"{script}: sbatch would refuse it: {said}{_remedy(said)}")
    begin = re.search(r"to start at (\S+)", said)
    return begin[1] if begin else ""


def submit(script: Path, *, after: Sequence[str] = ()) -> str:
    """Put a job into the queue; its id.

    Args:
        script: The job.
        after: Jobs that must have ended, however they did.

    Raises:
        RunError: It was refused although it had been checked.
    """
    depends = [f"--dependency=afterany:{':'.join(after)}", "--kill-on-invalid-dep=yes"] if after else []
    done = _call(["sbatch", "--parsable", *depends, str(script)])
    found = re.match(r"(\d+)(;|$)", done.stdout.strip())
    if done.returncode or found is None:
        said = _said(done.stderr or done.stdout)
        raise RunError(f"{script}: sbatch refused it: {said}{_remedy(said)}")
    return found[1]


def note(folder: Path, jobs: Sequence[str]) -> None:
    """Keep which jobs were submitted for what lies in a folder."""
    write_text(folder / _JOBS, json.dumps({"jobs": list(jobs)}) + "\n")


def refuse_second(folder: Path, what: str) -> None:
    """Make sure that the jobs that were submitted before are over.

    Raises:
        SettingError: Some wait or run.
    """
    try:
        jobs = [str(job) for job in json.loads(read_text(folder / _JOBS))["jobs"]]
    except (FileFormatError, ValueError, KeyError, TypeError):  # none were, or nothing tells
        return
    live = set()
    for job in jobs:  # squeue refuses a list with a job that it has forgotten
        done = _call(["squeue", "--noheader", "--format=%A", f"--jobs={job}"])
        live |= {job} if done.returncode == 0 and done.stdout.strip() else set()
    if live:
        names = [job for job in jobs if job in live]
        raise SettingError(f"{what} is in the queue already, as {', '.join(names)}; wait for it, or `scancel {' '.join(names)}` first")


def largest_array() -> int:
    """Most tasks of an array that the cluster takes."""
    done = _call(["scontrol", "show", "config"])
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return max(1, int(found[1]) - 1) if found and done.returncode == 0 else 1000


def _call(line: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of SLURM."""
    try:
        return subprocess.run(line, capture_output=True, text=True, check=False, env=outside())
    except OSError as error:
        return subprocess.CompletedProcess(list(line), 127, "", str(error))


def _said(text: str) -> str:
    return " ".join(text.replace("sbatch: ", "").replace("error: ", "").split()) or "no message"


def _remedy(said: str) -> str:
    return next((f"; {remedy}" for part, remedy in _REMEDIES if part in said.lower()), "")
