"""The SLURM job that this process runs in: which it is, how often it was started, and how it gets back into the queue."""

from __future__ import annotations

import logging
import os
import subprocess
import time

_LOG = logging.getLogger(__name__)
_SECONDS_FOR_THE_FIRST = 5.0
"""Which the others give the first task to ask for the requeue: under ``srun --kill-on-bad-exit`` the end of one is the end of all."""


def job_id() -> str | None:
    """The cluster and the name of the job, the same in each of its restarts; None outside of SLURM."""
    job = _job()
    return job and f"{os.environ.get('SLURM_CLUSTER_NAME', '')}/{job}"


def _job() -> str | None:
    """The job as scontrol takes it. One task of an array has the id of the whole array, which would be requeued with it, so ``12_3``."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def is_restarted() -> bool:
    """Whether the job was put back into the queue and started again, by whomever."""
    return job_id() is not None and int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0


def is_first_task() -> bool:
    """Whether this is the task that acts for all."""
    return os.environ.get("SLURM_PROCID", "0") == "0"


def requeue(reached: str) -> None:
    """Put the job back into the queue, which ends it here; it keeps its id, and its script is started again.

    Nothing is done for a job that must not be restarted (``--no-requeue``), that is no batch job, whose nodes, or container, have no
    ``scontrol``, or that somebody has cancelled. ``scancel`` sends the signal of a preemption, and SLURM would requeue a cancelled job all
    the same; it is COMPLETING by then, as is one at its time limit, while one that is preempted or was sent a signal is still RUNNING.

    Args:
        reached: How far the run has come, for the log.
    """
    job = _job()
    if job is None or not is_first_task():
        return
    try:
        shown = _scontrol("show", "job", job, "--oneliner").splitlines()[0]
        facts = dict(part.split("=", 1) for part in shown.split() if "=" in part)
        state = facts.get("JobState")
        if facts.get("BatchFlag") != "1" or facts.get("Requeue") != "1":
            _LOG.info(f"job {job} is not to be requeued (no batch job, or --no-requeue)")
        elif state == "RUNNING" or facts.get("Reason") == "TimeLimit":
            _scontrol("requeue", job)
            _LOG.info(f"job {job} is requeued {reached}")
        elif state != "PENDING":  # that is one which is in the queue already
            _LOG.info(f"job {job} is not requeued from here: it is {state}, as one that was cancelled or whose node is lost")
    except (OSError, IndexError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        _LOG.warning(f"job {job} could not be requeued ({' '.join(str(said).split())}); `scontrol requeue {job}` or a new job goes on")


def requeue_early() -> None:
    """Put a job back into the queue whose tasks were stopped, each by itself, before they did anything together."""
    if is_first_task():
        requeue("as it began")
    elif job_id() is not None:
        time.sleep(_SECONDS_FOR_THE_FIRST)


def _scontrol(*arguments: str) -> str:
    """What scontrol says; deaf to the signals by which SLURM ends the processes of a job that it has just put back into the queue."""
    line = ["sh", "-c", 'trap "" TERM USR1; exec scontrol "$@"', "sh", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=120).stdout
