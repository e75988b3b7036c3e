"""A job script of anybody's, read before it is submitted: what fails only after hours in the queue."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from clinical_ie.commands.doctor_findings import Finding
from clinical_ie.commands.doctor_slurm import MASTER, Layout, is_loopback
from clinical_ie.commands.job_script import INTERACTIVE, Directive, JobScript, parsed
from clinical_ie.errors import printable
from clinical_ie.files import read_text

_PROGRAM = r"""(\bclinical-ie|-m\s+clinical_ie|\bclinical_ie\[@\]\}"?)\s+"""
"""The command itself, or the array of words in which a script holds it."""
_TRAINS = re.compile(_PROGRAM + r"(fit|validate|test|predict|pipeline)\b")
_ASSIGNED = re.compile(r"\bMASTER_ADDR=(\S+)")


@dataclass
class _Script:
    """A script, and what is found in it."""

    path: str
    parts: JobScript
    findings: list[Finding] = field(default_factory=list)

    def note(self, level: str, line: int, text: str, remedy: str) -> None:
        self.findings.append(
            Finding("problem" if level == "problem" else "warning", f"{self.path}:{line}" if line else self.path, text, remedy)
        )

    @property
    def options(self) -> dict[str, Directive]:
        return self.parts.options

    @property
    def commands(self) -> list[tuple[int, str]]:
        return self.parts.commands

    def value(self, option: str) -> str:
        return self.options[option].value if option in self.options else ""

    def line(self, *options: str) -> int:
        """Of the first of these options that is there; 0 where none is."""
        return next((self.options[option].line for option in options if option in self.options), 0)

    def number(self, option: str) -> int | None:
        value = self.value(option)
        return int(value) if value.isdecimal() else None


def check_script(path: Path, layout: Layout | None = None) -> list[Finding]:
    """Read a script.

    Args:
        path: The file.
        layout: Of the run that it starts, where that is known.

    Raises:
        InputError: There is no such file, or it is no text.
    """
    script = _Script(printable(path), parsed(read_text(path)))
    for one in script.parts.misread:
        script.note("problem" if one.stops else "warning", one.line, one.what, one.remedy)
    _check_launch(script, layout)
    _check_requeue(script)
    _check_output(script)
    _check_environment(script)
    return script.findings or [Finding("ok", printable(path), "no mistake found in the script")]


def _check_launch(script: _Script, layout: Layout | None) -> None:
    nodes = script.number("nodes") or 1
    per_node = script.number("ntasks-per-node")
    tasks = script.number("ntasks") or (nodes * per_node if per_node else nodes)
    runs = [(line, command) for line, command in script.commands if _TRAINS.search(command)]
    for line, command in runs:
        if "srun" not in command and tasks > 1:
            remedy = "put srun before it: srun clinical-ie fit ..."
            script.note(
                "problem", line, f"the job has {tasks} tasks, but no srun starts the run: one rank would wait for the others", remedy
            )
    by_task = tasks > 1 or script.value("job-name") not in INTERACTIVE  # else fit starts processes for its devices itself
    gpus = _gpus(script)
    if gpus is not None and runs and by_task and tasks // nodes != gpus:
        place = script.line("ntasks-per-node", "gres", "gpus-per-node")
        remedy = f"one task a GPU: #SBATCH --ntasks-per-node={gpus}"
        script.note("problem", place, f"{tasks // nodes} tasks a node, but {gpus} GPUs a node", remedy)
    if "gpus-per-task" in script.options and tasks > 1:
        remedy = "ask by node: #SBATCH --gpus-per-node=N, or add --gpu-bind=none to srun"
        if not any("--gpu-bind" in command for _, command in script.commands):
            text = "--gpus-per-task shows each task its own GPU only: ranks above 0 look for device 1, 2, ... and fail"
            script.note("problem", script.line("gpus-per-task"), text, remedy)
    if layout is not None and layout.devices is not None and by_task and per_node is not None and per_node != layout.devices:
        text = f"{per_node} tasks a node, but the run has {layout.devices} devices a node (trainer.devices)"
        script.note("problem", script.line("ntasks-per-node"), text, f"#SBATCH --ntasks-per-node={layout.devices}")
    if layout is not None and "nodes" in script.options and nodes != layout.nodes:
        text = f"{nodes} nodes, but the run is for {layout.nodes} (trainer.num_nodes)"
        script.note("problem", script.line("nodes"), text, f"#SBATCH --nodes={layout.nodes}, or --trainer.num_nodes={nodes}")
    for line, command in script.commands:
        found = _ASSIGNED.search(command)
        if found and nodes > 1 and is_loopback(found[1].strip("\"'")):
            script.note("problem", line, f"MASTER_ADDR={found[1]} is another machine on each of {nodes} nodes", MASTER)
    if (
        "cpus-per-task" in script.options
        and runs
        and not _sources(script)
        and not script.parts.mentions("SRUN_CPUS_PER_TASK")
        and not any("--cpus-per-task" in command for _, command in runs)
    ):
        text = "since SLURM 22.05 srun does not take over --cpus-per-task: each task would get one core"
        remedy = "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK before srun"
        script.note("warning", script.line("cpus-per-task"), text, remedy)


def gpus_in(value: str) -> int | None:
    """How many GPUs a node has by ``--gres`` or ``--gpus-per-node``; None where it names none.

    Example:
        >>> [gpus_in(value) for value in ("gpu:4", "gpu:2080ti:4", "gpu:1g.10gb:7,nvme:1", "gpu:nvidia-a100:2(S:0-1)", "gpu", "nvme:1")]
        [4, 4, 7, 2, 1, None]
    """
    counts = []
    for part in re.sub(r"\([^)]*\)", "", value).split(","):
        name, *rest = part.strip().split(":")
        if name == "gpu":  # then its type, which may begin with a digit, and its number; one of both may be missing
            counts.append(int(rest[-1]) if rest and rest[-1].isdecimal() else 1)
    return sum(counts) if counts else None


def _gpus(script: _Script) -> int | None:
    of_node = ",".join(f"gpu:{part}" for part in script.value("gpus-per-node").split(",") if part)
    return next((found for value in (script.value("gres"), of_node) if (found := gpus_in(value)) is not None), None)


def memory_of_node(path: Path) -> float | None:
    """Bytes of a node's own memory that a job gets by its script; None where it does not say, or gets all of it."""
    script = _Script(printable(path), parsed(read_text(path)))
    tasks = script.number("ntasks-per-node") or (script.number("ntasks") or 1) // (script.number("nodes") or 1) or 1
    each = (
        ("mem", 1), ("mem-per-cpu", tasks * (script.number("cpus-per-task") or 1)), ("mem-per-gpu", _gpus(script) or 0),
    )  # fmt: skip
    for option, times in each:
        found = re.fullmatch(r"(\d+)([KMGT]?)B?", script.value(option), re.IGNORECASE)
        if found and int(found[1]) and times:
            return int(found[1]) * 1024.0 ** (" KMGT".index(found[2].upper()) if found[2] else 2) * times
    return None


def _check_requeue(script: _Script) -> None:
    requeues = "requeue" in script.options or any("scontrol requeue" in command for _, command in script.commands)
    if requeues and script.value("open-mode") != "append":
        line = script.line("requeue")
        script.note(
            "problem", line, "when the job is requeued, its log begins anew and what was in it is lost", "add #SBATCH --open-mode=append"
        )
    signal = script.value("signal")
    if signal.startswith("B:") and not script.parts.mentions("trap "):
        text = f"--signal={signal} goes to the shell only, which ends without telling fit"
        script.note(
            "problem", script.line("signal"), text, f"leave out B: (#SBATCH --signal={signal[2:]}), so that the tasks of srun get it"
        )
    if script.value("dependency").startswith("after") and script.value("kill-on-invalid-dep") != "yes":
        text = "a job whose dependency failed waits in the queue for ever"
        script.note("warning", script.line("dependency"), text, "add #SBATCH --kill-on-invalid-dep=yes")
    launches = [place for place, (_, command) in enumerate(script.commands) if re.search(r"\bsrun\b", command)]
    if launches and (behind := script.commands[launches[-1] + 1 :]) and not _keeps_status(script):
        line, command = behind[-1]
        what = command.split()[0][:40]
        text = f"the job ends with the exit status of {what}, not with that of srun: a failed run counts as completed"
        script.note("warning", line, text, "keep it: status=$? behind srun and exit $status at the end, or set -e above")


def _keeps_status(script: _Script) -> bool:
    strict = any(re.match(r"set\s+-\w*e", command) for _, command in script.commands)
    return strict or bool(script.commands and re.match(r"(exit|\[|test|fi|done|\}|esac)\b|\}", script.commands[-1][1]))


def _check_output(script: _Script) -> None:
    for option in ("output", "error"):
        folder = Path(script.value("chdir"), script.value(option)).parent  # relative ones begin where the job works
        if script.value(option) and "%" not in str(folder) and "$" not in str(folder) and not folder.is_dir():
            text = f"--{option}={script.value(option)}: there is no folder {folder} here, so the job fails without a log"
            script.note("problem", script.line(option), text, f"mkdir -p {folder} before sbatch")


def _check_environment(script: _Script) -> None:
    runs = [line for line, command in script.commands if _TRAINS.search(command)]
    if runs and not _sources(script) and not script.parts.mentions("HF_HUB_OFFLINE"):
        text = "HF_HUB_OFFLINE is not set: without a network every rank waits for the hub"
        script.note("warning", runs[0], text, "export HF_HUB_OFFLINE=1, with the model fetched beforehand")


def _sources(script: _Script) -> bool:
    """Whether it reads settings from another file, which may say what is missing here."""
    return any(re.match(r"(source|\.)\s", command) for _, command in script.commands)
