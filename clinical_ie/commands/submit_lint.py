"""What is wrong with a job script before SLURM sees it: most of it sbatch takes without a word, and the job shows it hours later.

These are the rules for scripts that are rendered from (`submit_scripts.py`), stricter than what `doctor` asks of a script of anybody's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from clinical_ie.commands.job_script import INTERACTIVE, JobScript, parsed

_EARLY = 60
"""Seconds by which SLURM may send a signal earlier than it is asked to."""


def gpus_of(value: str) -> tuple[str, int] | None:
    """GPUs of a node as sbatch reads them, N or TYPE:N; the type is empty where any will do. None for anything else.

    Example:
        >>> gpus_of("8"), gpus_of("a100:8"), gpus_of("a100"), gpus_of("a100:4,v100:4")
        (('', 8), ('a100', 8), None, None)
    """
    found = re.fullmatch(r"(?:([^\s:,=]+):)?(\d+)", value)
    return (found[1] or "", int(found[2])) if found else None


def seconds_of(time: str) -> float | None:
    """A time limit as sbatch reads it: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S; infinite where there is none, None for anything else.

    Example:
        >>> seconds_of("90"), seconds_of("90:30"), seconds_of("24:00:00"), seconds_of("2-12"), seconds_of("soon")
        (5400, 5430, 86400, 216000, None)
        >>> seconds_of("0"), seconds_of("00:00:00"), seconds_of("UNLIMITED")
        (inf, inf, inf)
    """
    if time.upper() in ("UNLIMITED", "INFINITE", "-1"):
        return math.inf
    days, hyphen, rest = time.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() for part in parts) or len(parts) > 3 or (hyphen and not days.isdecimal()):
        return None
    numbers = [int(part) for part in parts]
    if hyphen:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds or math.inf
    hours, minutes, seconds = {1: [0, *numbers, 0], 2: [0, *numbers], 3: numbers}[len(numbers)]
    return (hours * 60 + minutes) * 60 + seconds or math.inf


def problems(text: str) -> list[str]:
    """What is wrong with a job script, each as ``LINE: what; what to do``."""
    script = parsed(text)
    found = {(one.line, f"{one.what}; {one.remedy}") for one in script.misread}
    return [f"{line}: {what}" for line, what in sorted({*found, *_of_writing(script), *_of_options(script), *_of_commands(script)})]


def _of_writing(script: JobScript) -> Iterator[tuple[int, str]]:
    """Options that are not written as they are put in: by their full names, one a line."""
    lines = set()
    for one in script.directives:
        if one.line in lines:
            yield one.line, "several options; write one a line"
        elif not one.given.startswith("--"):
            yield one.line, f"not a long option; write --NAME=VALUE, as --nodes=2 for -N 2 (here --{one.name})"
        elif one.given != f"--{one.name}":
            yield one.line, f"{one.given} is not an option's full name; write --{one.name}"
        lines.add(one.line)


def _of_options(script: JobScript) -> Iterator[tuple[int, str]]:
    """Options that are missing, or that do something else than they look."""
    found, commands = script.options, "\n".join(command for _, command in script.commands)
    if "open-mode" not in found or found["open-mode"].value != "append":
        yield 1, "no --open-mode=append: a job that is queued again would begin its log anew"
    if "requeue" not in found and "no-requeue" not in found:
        yield 1, "no --requeue: the job would not be queued again after a preemption or the failure of a node (--no-requeue says so)"
    if "output" not in found:
        yield 1, "no --output: say where the log goes, by %j a file for each job"
    if "error" in found:
        yield found["error"].line, "--error divides the log into two files; leave it out, and both go to --output"
    if "job-name" in found and found["job-name"].value in INTERACTIVE:
        yield (
            found["job-name"].line,
            f"Lightning takes a job named {found['job-name'].value} for a shell, and starts one process; name it otherwise",
        )
    signal, longest = found.get("signal"), seconds_of(found["time"].value) if "time" in found else math.inf
    if longest is None:
        yield found["time"].line, f"--time={found['time'].value} is no time; write minutes, H:M:S or D-H:M:S, or 0 for no limit"
    if re.search(r"\b(fit|study run|\$@)", commands) and "study report" not in commands and signal is None:
        yield 1, "no --signal=USR1@SECONDS: at the end of its time the job would be killed where it stands"
    if signal is not None and not re.fullmatch(r"(SIG)?USR1@\d+", signal.value):
        yield signal.line, f"--signal={signal.value}; expected USR1@SECONDS, without B: (which tells the shell, not the processes)"
    elif signal is not None and longest is not None:
        ahead = int(signal.value.partition("@")[2]) + _EARLY
        if longest < 2 * ahead:
            what = f"--signal={signal.value} may come {ahead} s before the end of {longest:.0f} s, soon after the begin"
            yield signal.line, f"{what}; give a --time of {2 * ahead // 60} minutes or more, or an earlier signal"
    for name in ("gpus-per-task", "ntasks-per-gpu", "gpu-bind"):
        if name in found:
            yield found[name].line, f"--{name} shows a process one GPU only, and Lightning looks for all of the node; use --gpus-per-node"
    for name in ("gpus", "gpus-per-socket", "gres"):
        if name in found and (name != "gres" or "gpu" in found[name].value):
            yield found[name].line, f"--{name} asks for GPUs in another way than a submission does; write --gpus-per-node=N, or TYPE:N"
    tasks, gpus = found.get("ntasks-per-node"), found.get("gpus-per-node")
    if gpus and gpus_of(gpus.value) is None:
        yield gpus.line, f"--gpus-per-node={gpus.value}; expected N or TYPE:N, as a100:8"
    elif tasks and gpus and tasks.value != gpus.value.rpartition(":")[2]:
        yield tasks.line, f"{tasks.value} tasks and {gpus.value} GPUs on a node; there is one process for each GPU, so give the same number"
    if tasks is None:
        yield 1, "no --ntasks-per-node: the number of processes on a node, as many as it has GPUs for the job"


def _of_commands(script: JobScript) -> Iterator[tuple[int, str]]:
    """What a script does."""
    line, command = script.commands[-1] if script.commands else (1, "")
    if not re.match(r"(exec )?srun\s", command):
        yield line, "the last command is not srun: the job would end with its exit status instead of that of the processes"
