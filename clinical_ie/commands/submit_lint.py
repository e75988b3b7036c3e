"""What is wrong with a job script before SLURM sees it: most of it sbatch takes without a word, and the job shows it hours later."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clinical_ie.errors import did_you_mean

OPTIONS = frozenset(
    re.findall(
        r"[a-z-]+",
        """account acctg-freq array batch bb bbf begin burst-buffer chdir cluster-constraint clusters comment constraint container
        container-id contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot
        dependency distribution error exclude exclusive export export-file extra extra-node-info get-user-env gid
        gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint hold ignore-pbs input
        job-name kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus
        network nice no-kill no-requeue nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node
        ntasks-per-socket oom-kill-step open-mode output overcommit oversubscribe parsable partition power prefer
        priority profile propagate qos quiet reboot requeue reservation resv-ports segment signal sockets-per-node
        spread-job stepmgr switches test-only thread-spec threads-per-core time time-min tmp tres-bind tres-per-task uid
        use-min-nodes verbose wait wait-all-nodes wckey wrap""",
    )
)
"""Long options of sbatch, as of its manual pages of 22.05 to 25.05."""
INTERACTIVE = ("bash", "interactive")
"""Names of jobs that Lightning takes for a shell in which nobody called srun."""
_DIRECTIVE = re.compile(r"#SBATCH\s+(.*)")
_NEARLY = re.compile(r"(# +SBATCH|#(?i:sbatch))\s+-")
_OPTION = re.compile(r"--([A-Za-z][A-Za-z-]*)(?:[= ]\s*(\S.*))?")


_EARLY = 60
"""Seconds by which SLURM may send a signal earlier than it is asked to."""


def seconds_of(time: str) -> int | None:
    """A time limit as sbatch reads it: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S; None for anything else.

    Example:
        >>> seconds_of("90"), seconds_of("90:30"), seconds_of("24:00:00"), seconds_of("2-12"), seconds_of("UNLIMITED")
        (5400, 5430, 86400, 216000, None)
    """
    days, hyphen, rest = time.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() for part in parts) or len(parts) > 3 or (hyphen and not days.isdecimal()):
        return None
    numbers = [int(part) for part in parts]
    if hyphen:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    hours, minutes, seconds = {1: [0, *numbers, 0], 2: [0, *numbers], 3: numbers}[len(numbers)]
    return (hours * 60 + minutes) * 60 + seconds


@dataclass(frozen=True, slots=True)
class Directive:
    """A ``#SBATCH`` line.

    Attributes:
        line: Where, from 1.
        name: The option, without its hyphens.
        value: What it is set to; empty for one that is merely there.
    """

    line: int
    name: str
    value: str


def directives(text: str) -> list[Directive]:
    """The options that sbatch reads from a script: those before its first command, one a line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            break
        directive = _DIRECTIVE.fullmatch(line.rstrip())
        option = directive and _OPTION.fullmatch(directive[1].partition(" #")[0].strip())
        if option:
            found.append(Directive(number, option[1], option[2] or ""))
    return found


def problems(text: str) -> list[str]:
    """What is wrong with a job script, each as ``LINE: what; what to do``."""
    return [f"{line}: {what}" for line, what in sorted({*_of_lines(text.splitlines()), *_of_options(text), *_of_commands(text)})]


def _of_lines(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Lines that sbatch passes over, or reads otherwise than they look."""
    if not lines or not lines[0].startswith("#!"):
        yield 1, "no interpreter; begin with #!/usr/bin/env bash"
    begun = 0
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            begun = begun or number
        if _NEARLY.match(line) and not line.startswith("#SBATCH"):
            yield number, "sbatch reads only lines that begin with #SBATCH in capitals and without a space"
        directive = _DIRECTIVE.fullmatch(line.rstrip())
        if directive is None:
            continue
        given = directive[1].partition(" #")[0].strip()
        option = _OPTION.fullmatch(given)
        if begun:
            yield number, f"sbatch ignores it, as it stands behind the first command (line {begun}); move it up"
        if "$" in given or "`" in given:
            yield number, "sbatch puts in no variables; write the value, or give the option on the command line"
        if option is None:
            yield number, "not a long option; write --NAME=VALUE, as --nodes=2 for -N 2"
        elif re.search(r"\s--?[A-Za-z]", option[2] or ""):
            yield number, "several options; write one a line"
        elif option[1] not in OPTIONS:
            whole = sorted(name for name in OPTIONS if name.startswith(option[1]))
            near = f"; did you mean --{whole[0]}?" if whole else did_you_mean(f"--{option[1]}", [f"--{name}" for name in OPTIONS])
            yield number, f"sbatch has no option --{option[1]} by its full name{near}"


def _of_options(text: str) -> Iterator[tuple[int, str]]:
    """Options that are missing, or that do something else than they look."""
    found = {one.name: one for one in directives(text)}
    if "open-mode" not in found or found["open-mode"].value != "append":
        yield 1, "no --open-mode=append: a job that is queued again would begin its log anew"
    if "requeue" not in found:
        yield 1, "no --requeue: the job would not be queued again after a preemption or the failure of a node"
    if "output" not in found:
        yield 1, "no --output: say where the log goes, by %j a file for each job"
    if "error" in found:
        yield found["error"].line, "--error divides the log into two files; leave it out, and both go to --output"
    if "job-name" in found and found["job-name"].value in INTERACTIVE:
        yield (
            found["job-name"].line,
            f"Lightning takes a job named {found['job-name'].value} for a shell, and starts one process; name it otherwise",
        )
    signal = found.get("signal")
    if re.search(r"\b(fit|study run|\$@)", _commands(text)) and "study report" not in _commands(text) and signal is None:
        yield 1, "no --signal=USR1@SECONDS: at the end of its time the job would be killed where it stands"
    if signal is not None and not re.fullmatch(r"(SIG)?USR1@\d+", signal.value):
        yield signal.line, f"--signal={signal.value}; expected USR1@SECONDS, without B: (which tells the shell, not the processes)"
    elif signal is not None and (longest := seconds_of(found["time"].value if "time" in found else "")) is not None:
        ahead = int(signal.value.partition("@")[2]) + _EARLY
        if longest < 2 * ahead:
            least = f"give a --time of {2 * ahead // 60} minutes or more, or an earlier signal"
            yield signal.line, f"--signal={signal.value} may come {ahead} s before the end of {longest} s, soon after the begin; {least}"
    for name in ("gpus-per-task", "ntasks-per-gpu", "gpu-bind"):
        if name in found:
            yield found[name].line, f"--{name} shows a process one GPU only, and Lightning looks for all of the node; use --gpus-per-node"
    tasks, gpus = found.get("ntasks-per-node"), found.get("gpus-per-node")
    if tasks and gpus and tasks.value != gpus.value.rpartition(":")[2]:
        yield tasks.line, f"{tasks.value} tasks and {gpus.value} GPUs on a node; there is one process for each GPU, so give the same number"
    if tasks is None:
        yield 1, "no --ntasks-per-node: the number of processes on a node, as many as it has GPUs for the job"


def _of_commands(text: str) -> Iterator[tuple[int, str]]:
    """What a script does."""
    lines = text.splitlines()
    commands = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]
    last = commands[-1][0] if commands else 1
    while last > 1 and lines[last - 2].rstrip().endswith("\\"):
        last -= 1
    if not re.match(r"(exec )?srun\s", lines[last - 1] if lines else ""):
        yield last, "the last command is not srun: the job would end with its exit status instead of that of the processes"


def _commands(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))
