"""Jobs under SLURM: Lightning finds the ranks, and leaves signals and queues to us."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment


def without_requeue(plugins: Sequence[Any]) -> list[Any]:
    """A trainer's plugins, with SLURM's environment where Lightning would choose it, but deaf to signals.

    On SIGUSR1 Lightning's own writes a checkpoint of its own, puts the job back into the queue, and trains on.
    """
    chosen = any(isinstance(plugin, ClusterEnvironment) for plugin in plugins) or TorchElasticEnvironment.detect()
    return [*plugins, *([SLURMEnvironment(auto_requeue=False)] if not chosen and SLURMEnvironment.detect() else [])]
