"""The resources that a job asks for: options of `fit --submit` and `study submit`, and what of sbatch they come to."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clinical_ie.commands.arguments import count
from clinical_ie.commands.job_script import OPTIONS
from clinical_ie.commands.submit_lint import gpus_of
from clinical_ie.errors import SettingError, did_you_mean

_VALUES = ("nodes", "gpus-per-node", "time", "partition", "account", "mem", "cpus-per-task", "scripts", "sbatch", "job-name", "gpu-memory")
FLAGS = ("submit", "dry-run", "unchecked", "help")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a parser."""
    parser.add_argument("--dry-run", action="store_true", help="print what would be submitted, and do nothing")
    parser.add_argument("--nodes", type=count, metavar="N", help="nodes of a run (default: trainer.num_nodes)")
    parser.add_argument(
        "--gpus-per-node", type=_gpus, metavar="[TYPE:]N", help="GPUs of a node, and so processes (default: trainer.devices)"
    )
    for name, text in (
        ("time", "longest time of a job, D-HH:MM:SS; a run that needs longer goes on when the job is queued again"),
        ("partition", "partition"),
        ("account", "account"),
        ("mem", "memory of a node"),
        ("cpus-per-task", "CPUs of a process"),
        ("job-name", "name in the queue"),
    ):
        parser.add_argument(f"--{name}", metavar=name.rpartition("-")[2].upper(), help=f"{text} (default: as slurm/ has it)")
    parser.add_argument("--sbatch", action="append", default=[], metavar="OPTION", help="another option of sbatch; repeatable")
    parser.add_argument("--scripts", metavar="DIR", help="the folder of job scripts (default: slurm/ here, else the packaged one)")


def _gpus(text: str) -> tuple[str, int]:
    """A type of GPU, empty for any, and how many, for `argparse`."""
    found = gpus_of(text)
    if found is None or found[1] < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of GPUs; expected N or TYPE:N, as a100:8")
    return found


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options of the submission, and all others, each in their order."""
    own: list[str] = []
    others: list[str] = []
    rest = list(arguments)
    while rest:
        token = rest.pop(0)
        name, equals, _ = token.removeprefix("--").partition("=")
        if token.startswith("--") and name in FLAGS and not equals:
            own.append(token)
        elif token.startswith("--") and name in _VALUES:
            own.append(token if equals or not rest else f"{token}={rest.pop(0)}")
        else:
            others.append(token)
            if token in ("-c", "--config") and rest:
                others.append(rest.pop(0))
    return own, others


@dataclass(frozen=True, slots=True)
class Shape:
    """How many processes a run has, and where.

    Attributes:
        nodes: Nodes.
        devices: Processes of a node, each with a GPU.
        gpus: Whether they need GPUs.
        kind: The type of GPUs, as the cluster calls it; empty for any.
    """

    nodes: int = 1
    devices: int = 1
    gpus: bool = True
    kind: str = ""

    def __str__(self) -> str:
        what = "GPU" if self.gpus else "process"
        plural = "" if self.devices == 1 else "es" if what == "process" else "s"
        kind = f" ({self.kind})" if self.gpus and self.kind else ""
        return f"{self.nodes} node{'s' * (self.nodes > 1)} x {self.devices} {what}{plural}{kind}"

    def options(self) -> dict[str, str | None]:
        """What it comes to in sbatch."""
        return {
            "nodes": str(self.nodes),
            "ntasks-per-node": str(self.devices),
            "gpus-per-node": f"{self.kind}:{self.devices}".removeprefix(":") if self.gpus else None,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line.

    Attributes:
        nodes: Nodes; None where the settings tell.
        devices: GPUs of a node; None where the settings tell.
        others: Options of sbatch by name.
        kind: The type of GPUs; empty where the job script tells, or any will do.
    """

    nodes: int | None
    devices: int | None
    others: dict[str, str | None] = field(default_factory=dict)
    kind: str = ""

    @classmethod
    def of(cls, options: argparse.Namespace) -> Wanted:
        """From parsed options.

        Raises:
            SettingError: ``--sbatch`` names what sbatch does not know by that name, or what the submission sets itself.
        """
        names = ("time", "partition", "account", "mem", "cpus_per_task", "job_name")
        others: dict[str, str | None] = {
            name.replace("_", "-"): getattr(options, name) for name in names if getattr(options, name) is not None
        }
        for given in options.sbatch:
            name, _, value = str(given).removeprefix("--").partition("=")
            if not str(given).startswith("--") or name not in OPTIONS:
                near = did_you_mean(f"--{name.lstrip('-')}", [f"--{one}" for one in OPTIONS])
                raise SettingError(f"--sbatch={given}: expected a long option of sbatch, as --sbatch=--exclude=node7{near}")
            if name in ("nodes", "ntasks", "ntasks-per-node", "gpus-per-node", "array", "wrap", "parsable", "test-only"):
                raise SettingError(f"--sbatch={given}: the submission sets it; --nodes and --gpus-per-node say how large a run is")
            others[name] = value
        if "dependency" in others:
            others.setdefault("kill-on-invalid-dep", "yes")
        kind, devices = options.gpus_per_node or ("", None)
        return cls(options.nodes, devices, others, kind)

    def shape(self, nodes: int, devices: int, script: Mapping[str, str], *, gpus: bool) -> Shape:
        """That of a run whose settings say so many, in a job script with these options."""
        kind, _ = gpus_of(script.get("gpus-per-node", "")) or ("", 0)
        return Shape(self.nodes or nodes, self.devices or devices, gpus, (self.kind or kind) if gpus else "")
