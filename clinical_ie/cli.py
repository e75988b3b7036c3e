"""``clinical-ie``: finds the subcommand and leaves the rest to it.

Nothing heavy is imported here; importing torch and Lightning alone takes longer than reading the help.

Exit codes: 0 fine; 2 bad usage or input; 75 stopped by a signal before it was done (Ctrl-C, SIGTERM, SIGUSR1), so that the same command may
be started again; 1 anything else.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from clinical_ie.errors import ClinicalIEError, InputError, Stopped, did_you_mean

COMMANDS: dict[str, tuple[str, str]] = {
    "fit": ("runs", "train a model; -c adds a configuration, later ones win"),
    "validate": ("runs", "score a run's best checkpoint on the development split"),
    "test": ("runs", "score a run's best checkpoint on the test split"),
    "predict": ("runs", "annotate texts with a run's best checkpoint"),
    "extract": ("extract", "annotate raw notes of any number with a trained model, in several processes"),
    "pipeline": ("pipeline", "train an entity and a relation model as one run, or annotate texts with both"),
    "study": ("study", "plan, run, submit and report many runs from one file: a grid of models, corpora, shots and seeds"),
    "corpus": ("corpus", "check, describe and convert corpora; survival of gold"),
    "score": ("score", "compare predicted with gold annotations under official rules"),
    "view": ("view", "annotated notes as one page to look at: gold beside predicted, errors, filters, search"),
    "errors": ("error_analysis", "what a run gets wrong: by kind, type, boundary, length, section, seen in training"),
    "export": ("export", "write a trained model as a folder that stands alone or that other software loads, or the cards of a run"),
    "doctor": ("doctor", "check a run before it waits in a queue: settings, files, model, versions, SLURM"),
    "demo": ("demo", "train and test on the embedded corpus, in a few minutes"),
}

_GOING_ON = {
    "fit": "; the same command with --resume=auto goes on from there",
    "extract": "; the same command goes on from there",
    "pipeline": "; the same command goes on from there",
    "study": "; the same command goes on from there",
}

_HELP = """usage: clinical-ie COMMAND [options]

Clinical notes to structured patient information.

{commands}

Start with `clinical-ie demo`; `clinical-ie COMMAND --help` shows the options of a command.
Exit codes: 0 fine, 2 bad usage or input, 75 stopped by a signal before it was done, 1 anything else.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    _leave_no_core()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        rows = [f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()]
        print(_HELP.format(commands="\n".join(rows)), end="", file=sys.stdout if given else sys.stderr)
        if not given:
            from clinical_ie.commands.next_step import next_step

            print(f"\n{next_step(Path.cwd())}", end="", file=sys.stderr)
        return 0 if given else 2
    if given[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"clinical_ie {version('clinical_ie')}")
        return 0
    if given[0] not in COMMANDS:
        near = did_you_mean(given[0], COMMANDS) or f"; known are {', '.join(COMMANDS)}"
        print(f"clinical-ie: no command {given[0][:100]!r}{near}", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a job's log has each line as it comes
    module = importlib.import_module(f"clinical_ie.commands.{COMMANDS[given[0]][0]}")
    try:
        return int(module.run(given) or 0)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as stopped:
        print(f"clinical-ie {given[0]}: {str(stopped) or 'interrupted'}{_GOING_ON.get(given[0], '')}", file=sys.stderr)
        return Stopped.exit_code
    except Exception as error:
        own = _own(error)
        if own is None:
            raise
        print(f"clinical-ie {given[0]}: {own}", file=sys.stderr)
        return 2 if isinstance(own, InputError) else 1


def _leave_no_core() -> None:
    """Let no crash write this process' memory, and the notes in it, to a disk."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _own(error: BaseException | None) -> ClinicalIEError | None:
    """The error of ours that another library has wrapped into its own, as jsonargparse does with what a constructor raises."""
    while error is not None and not isinstance(error, ClinicalIEError):
        error = error.__cause__
    return error
