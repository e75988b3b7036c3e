"""A job script as sbatch reads it: its ``#SBATCH`` options, its commands, and the lines that sbatch reads otherwise than they look.

As `sbatch` of SLURM 22.05 does it (`tests/slurm/test_submission.py` asks it): options are read from lines that begin with ``#SBATCH``, up
to the first command; words are split as a shell would split them, but for comments, and no variable is put in.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

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
_SHORT = {
    "A": "account", "B": "extra-node-info", "C": "constraint", "D": "chdir", "F": "nodefile", "G": "gpus", "H": "hold", "J": "job-name",
    "L": "licenses", "M": "clusters", "N": "nodes", "O": "overcommit", "Q": "quiet", "S": "core-spec", "W": "wait", "a": "array",
    "b": "begin", "c": "cpus-per-task", "d": "dependency", "e": "error", "i": "input", "k": "no-kill", "m": "distribution", "n": "ntasks",
    "o": "output", "p": "partition", "q": "qos", "s": "oversubscribe", "t": "time", "v": "verbose", "w": "nodelist", "x": "exclude",
}  # fmt: skip
INTERACTIVE = ("bash", "interactive")
"""Names of jobs in which Lightning takes no notice of SLURM (`SLURMEnvironment.detect`): it takes them for a shell."""
_MARK = "#SBATCH"
_NEARLY = re.compile(r"\s*(#\s*SBATCH|#(?i:sbatch))\s+-")


@dataclass(frozen=True, slots=True)
class Directive:
    """An option of a ``#SBATCH`` line.

    Args:
        line: Where, from 1.
        name: In full, without its hyphens.
        value: What it is set to; empty for one that is merely there.
        given: The option as it is written, such as ``-N``.
    """

    line: int
    name: str
    value: str
    given: str


@dataclass(frozen=True, slots=True)
class Misread:
    """A line that sbatch refuses, passes over, or reads otherwise than it looks.

    Args:
        line: Where, from 1.
        what: What sbatch makes of it.
        remedy: What to write.
        stops: Whether it spoils the job; else it may be meant so.
    """

    line: int
    what: str
    remedy: str
    stops: bool = True


@dataclass(slots=True)
class JobScript:
    """The parts of a script.

    Args:
        directives: Options in their order.
        commands: Line where each begins, and the command without comment, joined where it goes on over several lines.
        misread: Lines that are not what they look like.
    """

    directives: list[Directive] = field(default_factory=list)
    commands: list[tuple[int, str]] = field(default_factory=list)
    misread: list[Misread] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Directive]:
        """By name; of one that is given twice the last, as sbatch takes it."""
        return {one.name: one for one in self.directives}

    def mentions(self, word: str) -> bool:
        """Whether a command holds a word."""
        return any(word in command for _, command in self.commands)


def parsed(text: str) -> JobScript:
    """The parts of a script's text."""
    script, going_on = JobScript(), ""
    rows = text.splitlines()
    if "\r\n" in text:
        script.misread.append(Misread(1, "lines end as on Windows, which sbatch refuses", "convert it (dos2unix, or sed -i 's/\\r$//')"))
    if not rows or not rows[0].startswith("#!"):
        script.misread.append(Misread(1, "no interpreter in the first line, which sbatch refuses", "begin with #!/bin/bash"))
    begin = 0
    for number, row in enumerate(rows, 1):
        plain = row.strip()
        if row.startswith(_MARK):
            _read_options(script, number, row.removeprefix(_MARK))
        elif _NEARLY.match(row):
            what = "sbatch reads only lines that begin with #SBATCH in capitals and without a space, so this one is a comment"
            script.misread.append(Misread(number, what, "write #SBATCH at the line's begin", stops=False))
        elif plain and not plain.startswith("#"):
            begin = begin if going_on else number
            going_on += re.sub(r"\s#.*$", "", plain)
            if going_on.endswith("\\"):
                going_on = going_on[:-1] + " "
                continue
            script.commands.append((begin, going_on))
            going_on = ""
    if going_on:
        script.commands.append((begin, going_on))
    return script


def _read_options(script: JobScript, number: int, text: str) -> None:
    if script.commands:
        line, command = script.commands[0]
        what = f"sbatch ignores it, as it stands behind the first command ({command.split()[0][:40]}, line {line})"
        script.misread.append(Misread(number, what, f"move it above line {line}"))
        return
    try:
        words = shlex.split(text, comments=True)  # as sbatch, which takes # inside of a word for the begin of a comment, too
    except ValueError:
        script.misread.append(Misread(number, "a quotation mark is missing", "close it"))
        return
    if any("$" in word or "`" in word for word in words):
        remedy = "write the value itself (%j is the job, %a the array's task), or give it on the command line of sbatch"
        script.misread.append(Misread(number, "sbatch puts in no variables: the one here stays as it is", remedy))
    while words:
        given, equals, value = words.pop(0).partition("=")
        if given[:1] == "-" and given[1:2] != "-" and len(given) > 2:
            given, value, equals = given[:2], given[2:] + equals + value, "="
        if not equals and words and not words[0].startswith("-"):
            value = words.pop(0)
        name = _full_name(given)
        if name is None:
            script.misread.append(_unknown(number, given))
        else:
            script.directives.append(Directive(number, name, value, given))


def _full_name(given: str) -> str | None:
    """The name of an option, which sbatch also takes by its first letters."""
    if not given.startswith("--"):
        return _SHORT.get(given[1:]) if given.startswith("-") else None
    name = given[2:]
    begun = [option for option in OPTIONS if option.startswith(name)]
    return name if name in OPTIONS else begun[0] if len(begun) == 1 else None


def _unknown(number: int, given: str) -> Misread:
    if not given.startswith("-"):
        return Misread(number, f"{given[:40]} is no option", "write --NAME=VALUE")
    whole = sorted(name for name in OPTIONS if name.startswith(given.removeprefix("--")))
    near = f"did you mean --{whole[0]}?" if whole else did_you_mean(given, [f"--{name}" for name in OPTIONS]).removeprefix("; ")
    return Misread(number, f"sbatch has no option {given}", near or "see man sbatch")
