"""Ranks under SLURM: who they are, where they meet, and whether they are as many as the trainer wants."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from clinical_ie.errors import SettingError

_LOOPBACK = re.compile(r"localhost(\..*)?|127\..*|::1")
_SRUN_IS_MISSING = "srun is missing"
_REMEDY = "begin the command's line in the job script with `srun`"


class Slurm(SLURMEnvironment):
    """Lightning's environment, deaf to signals, and strict about tasks.

    On SIGUSR1 Lightning's own writes a checkpoint of its own inside the signal handler, where another rank may be in a collective
    operation of the next step, puts the job back into the queue and trains on (issue #21406). `SafeInterruption` does that here.
    """

    def __init__(self) -> None:
        super().__init__(auto_requeue=False)

    @staticmethod
    def detect() -> bool:
        """Whether SLURM started this process as one of its tasks.

        In a shell (jobs that are called as ``salloc`` and ``srun --pty bash`` call theirs) a command is no task unless srun starts
        several; it may start processes for its devices by itself.
        """
        tasks = _number("SLURM_NTASKS")
        several = tasks is not None and tasks > 1 and _is_started_by_srun()
        return several or (tasks is not None and SLURMEnvironment.job_name() not in ("bash", "interactive"))

    @staticmethod
    def _validate_srun_used() -> None:
        """Say nothing: where srun is missing, `check_tasks` refuses the run."""

    @staticmethod
    def _validate_srun_variables() -> None:
        """Take any option that gives every node equally many tasks."""

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Hold the ranks that the trainer wants against the tasks that there are."""
        check_tasks(num_devices, num_nodes)

    @property
    def main_address(self) -> str:
        """The node of rank 0: MASTER_ADDR, or the first of the step's nodes."""
        nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "127.0.0.1")
        return os.environ.setdefault("MASTER_ADDR", self.resolve_root_node_address(nodes))

    @property
    def main_port(self) -> int:
        """MASTER_PORT, or one by job and step, so that steps side by side on a node do not meet each other."""
        mixed = int(os.environ.get("SLURM_JOB_ID", "0")) + 1009 * (_number("SLURM_STEP_ID") or 0)
        return int(os.environ.setdefault("MASTER_PORT", str(15000 + mixed % 10000)))

    @staticmethod
    def resolve_root_node_address(nodes: str) -> str:
        """The first host of a list as SLURM shortens it; Lightning's own takes ``rack[1-2]n[1-2]`` for ``rack1``.

        Example:
            >>> [Slurm.resolve_root_node_address(nodes) for nodes in ("rack[1-2]n[1-2]", "n[07,09-11],m3", "gpu1")]
            ['rack1n1', 'n07', 'gpu1']
        """
        return re.split(r"[ ,]", re.sub(r"\[([^],-]+)[^]]*\]", r"\1", nodes))[0]


def for_slurm(plugins: Sequence[Any]) -> list[Any]:
    """A trainer's plugins, with our environment where SLURM started this process and nothing else is to find its rank."""
    return [*plugins, *([Slurm()] if not _is_chosen(plugins) and Slurm.detect() else [])]


def check_trainer(plugins: Sequence[Any], devices: int, nodes: int) -> None:
    """Make sure that the ranks a trainer wants are those that SLURM started, unless something else is to find them; see `check_tasks`."""
    if not _is_chosen(plugins):
        check_tasks(devices, nodes)


def _is_chosen(plugins: Sequence[Any]) -> bool:
    others = (isinstance(plugin, ClusterEnvironment) and not isinstance(plugin, Slurm) for plugin in plugins)
    return any(others) or TorchElasticEnvironment.detect()


def check_tasks(devices: int, nodes: int) -> None:
    """Make sure that SLURM started a task for each device of each node, no more and no fewer.

    Without that ranks would wait for others that never come, or train the same run side by side.

    Args:
        devices: The trainer's devices on each node.
        nodes: The trainer's nodes.

    Raises:
        SettingError: There are others, or srun did not start them, or they would look for rank 0 on their own node.
    """
    tasks = _number("SLURM_NTASKS") or 1
    wanted = f"trainer.num_nodes={nodes} and trainer.devices={devices}"
    if not Slurm.detect():
        if nodes > 1 and os.environ.get("SLURM_JOB_ID") is not None:
            raise SettingError(f"{_SRUN_IS_MISSING}: this process is on one node, but trainer.num_nodes is {nodes}; {_REMEDY}")
        return
    if not _is_started_by_srun():
        if max(tasks, devices * nodes) > 1:
            raise SettingError(f"{_SRUN_IS_MISSING}: this process is alone, but the job's tasks are {tasks}, and {wanted}; {_REMEDY}")
        return
    step_nodes = _number("SLURM_STEP_NUM_NODES") or _number("SLURM_NNODES") or 1
    shares = _tasks_per_node(os.environ.get("SLURM_STEP_TASKS_PER_NODE") or os.environ.get("SLURM_TASKS_PER_NODE") or str(tasks))
    if step_nodes != nodes or shares != {devices}:
        there = f"{'/'.join(map(str, sorted(shares)))} a node"
        raise SettingError(
            f"SLURM started {tasks} tasks on {step_nodes} nodes, {there}, but {wanted}; give"
            + (
                f" --trainer.num_nodes={step_nodes} --trainer.devices={min(shares)} with -c strategy/ddp or another of several ranks, or"
                if len(shares) == 1
                else ""
            )
            + f" `#SBATCH --nodes={nodes} --ntasks-per-node={devices}`"
        )
    address = os.environ.get("MASTER_ADDR", "")
    if nodes > 1 and _LOOPBACK.fullmatch(address):
        raise SettingError(
            f"MASTER_ADDR is {address}, where every node finds itself; leave it unset, or"
            ' export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
        )


def _is_started_by_srun() -> bool:
    return os.environ.get("SLURM_STEP_ID") is not None


def _tasks_per_node(text: str) -> set[int]:
    """The numbers in SLURM's form ``2(x3),1``."""
    return {int(part.partition("(")[0]) for part in text.split(",")}


def _number(name: str) -> int | None:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else None
