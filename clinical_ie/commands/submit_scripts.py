"""Job scripts as they are submitted: a script of ``slurm/`` with the options, arguments and site settings of one job put in.

What comes out is whole: it reads no other script, so what waits in the queue is what ``--dry-run`` has shown.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clinical_ie.commands.job_script import INTERACTIVE, parsed
from clinical_ie.commands.submit_lint import problems
from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.files import read_text

_SITE = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_CLUSTERS": "clusters",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_RESERVATION": "reservation",
    "SBATCH_TIMELIMIT": "time",
}
"""Variables that sbatch reads -> the options that they stand for."""
_ALTERNATIVES = ({"mem", "mem-per-cpu", "mem-per-gpu"}, {"requeue", "no-requeue"})
"""Options of which one replaces the others, the last that is given."""
_EXPORT = re.compile(r"\s*(?:export\s+)?SBATCH_[A-Z_]+=")
_SOURCE = re.compile(r"\. .*env\.sh.*")
_PROGRAM = "clinical_ie=(clinical-ie)"
_KEYS = "keys=()"
_BEGIN = re.compile(r"set -[a-z]+.*")


@dataclass(frozen=True, slots=True)
class Scripts:
    """Job scripts: those of a folder, and the packaged ones of those that it has not.

    Args:
        folder: It holds ``env.sh``, the site's settings, and may hold ``train.sbatch``, ``study.sbatch`` ...
    """

    folder: Path

    @classmethod
    def find(cls, given: str | None = None) -> Scripts:
        """Those of the folder that is given, else of ``slurm`` here, else the packaged ones.

        Raises:
            SettingError: The folder has no settings of a site.
        """
        if given:
            if not _is_ours(Path(given)):
                raise SettingError(f"--scripts={given}: there is no env.sh that names the program; copy {packaged()}, and edit it")
            return cls(Path(given))
        return cls(Path("slurm") if _is_ours(Path("slurm")) else packaged())

    def options(self, name: str) -> dict[str, str]:
        """The options that a script sets for itself."""
        return {name: one.value for name, one in parsed(read_text(self._path(name))).options.items()}

    def site(self) -> dict[str, str]:
        """Options that the site's settings give each job, else those of the surroundings."""
        found = {_SITE[name]: value for name, value in os.environ.items() if name in _SITE and value}
        file = self.folder / "env.sh"
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if not _EXPORT.match(line):
                continue
            try:
                words = shlex.split(line, comments=True)
            except ValueError:
                raise FileFormatError(file, number, "a quotation mark is missing", remedy="close it") from None
            for name, equals, value in (word.partition("=") for word in words):
                if equals and name not in _SITE:
                    raise FileFormatError(
                        file, number, f"{name} is not carried over", expected=f"one of {', '.join(_SITE)}", remedy="give --sbatch=OPTION"
                    )
                found |= {_SITE[name]: value} if equals else {}
        return {name: value for name, value in found.items() if value}

    def rendered(
        self, name: str, options: Mapping[str, str | None], arguments: Sequence[str], keys: Mapping[str, str] | None = None
    ) -> str:
        """The text of a job.

        Args:
            name: Of the script, without its ending.
            options: Of sbatch, by their names without hyphens; the value is empty for one that is merely there, and None takes one away.
            arguments: What the script hands on to the command.
            keys: The run of each task of an array -> what it is for.

        Raises:
            FileFormatError: The script has mistakes, or lacks a line where something belongs.
            SettingError: An option that must not be.
        """
        path = self._path(name)
        text = read_text(path)
        if found := problems(text):
            line, _, what = found[0].partition(": ")
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise FileFormatError(path, int(line), f"{what}{more}")
        if options.get("job-name") in INTERACTIVE:
            raise SettingError(f"--job-name={options['job-name']}: Lightning takes such a job for a shell; give another name")
        options = _settled(options)
        lines = _with_options(text.splitlines(), options)
        lines = _in_place(lines, _BEGIN, lambda line: [line, *_set(arguments)], path, "set -uo pipefail")
        lines = _in_place(lines, _SOURCE, lambda _: self._environment(), path, '. "${CLINICAL_IE_SLURM:-slurm}/env.sh"')
        if keys:
            whole = ["keys=(", *(f"  {key} # {number}: {what}" for number, (key, what) in enumerate(keys.items())), ")"]
            lines = _in_place(lines, re.compile(re.escape(_KEYS)), lambda _: whole, path, _KEYS)
        text = "\n".join(lines) + "\n"
        if found := problems(text):
            raise SettingError(f"the job would be no good: line {found[0]}")
        read = parsed(text).options
        for option, value in options.items():
            if value != (got := read[option].value if option in read else None):
                raise SettingError(f"--{option}={value}: sbatch would read {got!r} in its place; give another value")
        return text

    def _environment(self) -> list[str]:
        """The site's settings; where they name no other program, the one that is running now."""
        lines = read_text(self.folder / "env.sh").splitlines()
        program = f"clinical_ie=({shlex.quote(sys.executable)} -m clinical_ie)"
        inside = [program if line.strip() == _PROGRAM else line for line in lines if not line.startswith("# shellcheck shell")]
        return [f"# ----- {self.folder / 'env.sh'}", *inside, f"# ----- end of {self.folder / 'env.sh'}"]

    def _path(self, name: str) -> Path:
        own = self.folder / f"{name}.sbatch"
        return own if own.is_file() else packaged() / f"{name}.sbatch"


def packaged() -> Path:
    """The folder of job scripts: beside the package in a checkout, inside it when installed.

    Raises:
        SettingError: Neither is there.
    """
    package = Path(__file__).parents[1]
    for place in (package / "slurm", package.parent / "slurm"):
        if _is_ours(place):
            return place
    raise SettingError("the job scripts are missing; was the package installed whole?")


def _is_ours(folder: Path) -> bool:
    file = folder / "env.sh"
    return file.is_file() and "clinical_ie=(" in read_text(file)


def _settled(options: Mapping[str, str | None]) -> dict[str, str | None]:
    """The options; of those that replace each other the last, as the command line comes behind the site's settings."""
    found = dict(options)
    for group in _ALTERNATIVES:
        given = [name for name in found if name in group and found[name] is not None]
        found |= dict.fromkeys(given[:-1])
    return found


def _with_options(lines: Sequence[str], options: Mapping[str, str | None]) -> list[str]:
    """The lines with other ``#SBATCH`` options: replaced where they stand, new ones behind the last; comments above them left out."""
    there = {one.line: one.name for one in parsed("\n".join(lines)).directives}
    left = {name: value for name, value in options.items() if value is not None}
    given = set(options)
    gone = {name for group in _ALTERNATIVES if group & left.keys() for name in group - left.keys()}
    found: list[str] = []
    last = max(there)
    for number, line in enumerate(lines, 1):
        name = there.get(number)
        if name is None:
            if number == 1 or number > last:
                found.append(line)
        elif name in left:
            found.append(_directive(name, left.pop(name)))
        elif name not in given | gone:
            found.append(line)
        if number == last:
            found += [_directive(name, value) for name, value in left.items()]
    return found


def _directive(name: str, value: str | None) -> str:
    return f"#SBATCH --{name}={_quoted(value)}" if value else f"#SBATCH --{name}"


def _quoted(value: str) -> str:
    """A value as one word. Not as shlex.quote has it: to sbatch a backslash stands for what follows in single quotes, too."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"' if re.search(r"""[\s"'\\#]""", value) else value


def _set(arguments: Sequence[str]) -> list[str]:
    """The arguments, as a script would get them on its command line; a file or option on each line."""
    rows: list[str] = []
    for one in arguments:
        if rows and rows[-1] == "-c":
            rows[-1] = f"-c {shlex.quote(one)}"
        else:
            rows.append(shlex.quote(one))
    return ["set -- \\", *(f"  {row} \\" for row in rows[:-1]), f"  {rows[-1]}"] if rows else []


def _in_place(lines: Sequence[str], place: re.Pattern[str], make: Callable[[str], list[str]], path: Path, expected: str) -> list[str]:
    """The lines with others in place of the first that fits.

    Raises:
        FileFormatError: None fits.
    """
    for number, line in enumerate(lines):
        if place.fullmatch(line):
            before = number - 1 if number and lines[number - 1].startswith("# shellcheck") else number
            return [*lines[:before], *make(line), *lines[number + 1 :]]
    raise FileFormatError(path, 0, "a line is missing where the settings of a job belong", expected=expected)
