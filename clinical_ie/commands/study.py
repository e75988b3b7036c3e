"""``clinical-ie study plan | run | submit | report``: a grid of runs from one file."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from clinical_ie.commands import configurations
from clinical_ie.commands.arguments import Parser, count
from clinical_ie.commands.code_version import STUDY, code_version
from clinical_ie.commands.pipeline import run_process
from clinical_ie.commands.run_content import RunContent
from clinical_ie.commands.study_progress import StudyProgress
from clinical_ie.commands.study_ranks import Ranks, stopping, tasks_of
from clinical_ie.commands.submit_options import add_options
from clinical_ie.commands.submit_study import submit
from clinical_ie.errors import SettingError
from clinical_ie.reports.study_files import write_report
from clinical_ie.reports.study_rows import StudyCell
from clinical_ie.studies.estimate import estimates
from clinical_ie.studies.grid import Cell, cells
from clinical_ie.studies.plan import Run, distinct, plan
from clinical_ie.studies.runner import run_missing
from clinical_ie.studies.store import Store
from clinical_ie.studies.study import Study
from clinical_ie.studies.table import plan_data, plan_summary, plan_table


@dataclass(frozen=True, slots=True)
class _Planned:
    """A study, and where its runs are."""

    study: Study
    cells: list[Cell]
    of_cell: dict[str, Run]
    store: Store

    @property
    def runs(self) -> list[Run]:
        return distinct(self.of_cell.values())


def run(arguments: Sequence[str]) -> int:
    """Plan, run or report."""
    options = _parser().parse_args(arguments[1:])
    return int(options.command(options))


def _parser() -> Parser:
    parser = Parser(
        prog="clinical-ie study",
        example="clinical-ie study run smoke --root=runs/smoke",
        description="Many runs from one file: a grid of models, tunings, tasks, corpora, shots and seeds, each cell computed once.",
    )
    commands = parser.add_subparsers(required=True, metavar="plan | run | submit | report", parser_class=Parser)
    for name, what, command in (
        ("plan", "show the runs, what each depends on, what is done and what the rest will cost", _plan),
        ("run", "do what is missing, in order; the same command goes on after an interruption; ends with the report", _run),
        ("submit", "submit what is missing as arrays of SLURM jobs, one for each wave of runs that do not depend on each other", _submit),
        ("report", "write tables and figures from the results that are there", _report),
    ):
        own = commands.add_parser(name, help=what, description=what, prog=f"clinical-ie study {name}")
        own.set_defaults(command=command)
        own.add_argument("study", help="a packaged study (open, paper, smoke), or a YAML file")
        own.add_argument(
            "--root",
            default="runs/studies",
            metavar="DIR",
            help="where runs lie, those of other studies among them (default: runs/studies)",
        )
        own.add_argument("--corpora", metavar="DIR", help="the folder that holds the corpora, where they are not where their settings say")
        own.add_argument(
            "--with",
            dest="more",
            action="append",
            default=[],
            metavar="OPTION",
            help="an option of `clinical-ie fit` for every run; repeatable",
        )
        if name == "plan":
            own.add_argument("--json", action="store_true", help="print plain data")
        if name == "run":
            own.add_argument(
                "--only", action="append", default=[], metavar="KEY", help="do this run alone, and write no report; repeatable"
            )
        if name == "submit":
            own.add_argument("--throttle", type=count, metavar="N", help="at most so many runs of a wave at once (default: as many as fit)")
            add_options(own)
        if name in ("plan", "report"):
            own.add_argument("--code", metavar="VERSION", help="look at runs of this version of the code, not of the present one")
        if name == "report":
            own.add_argument("--output", metavar="FOLDER", help="where to write (default: ROOT/reports/NAME)")
    return parser


def _planned(options: argparse.Namespace, more: Sequence[str] = ()) -> _Planned:
    study = Study.load(configurations.resolve(options.study, "study"))
    store, code = Store(Path(options.root)), code_version(STUDY)
    corpora = Path(options.corpora) if options.corpora else None
    if corpora is not None and not corpora.is_dir():
        raise SettingError(f"--corpora={corpora}: no such folder; it holds a folder for each corpus")
    content = RunContent(store.root / "cache", code, corpora=corpora, more=[*options.more, *more])
    there = cells(study)
    return _Planned(study, there, plan(there, content, getattr(options, "code", None) or code), store)


def _plan(options: argparse.Namespace) -> int:
    planned = _planned(options)
    runs, store = planned.runs, planned.store
    data = plan_data(runs, {run.key: store.state(run) for run in runs}, estimates(runs, store), store)
    if options.json:
        print(json.dumps(data, indent=1, ensure_ascii=False))
        return 0
    Console().print(plan_table(data))
    print(plan_summary(data))
    _say_other_code(planned)
    return 0


def _run(options: argparse.Namespace) -> int:
    planned = _planned(options)
    runs, store = _fitting(_chosen(planned, options.only), options.only), planned.store
    if absent := sorted({name for run in runs for name in run.content.absent}):
        raise SettingError(f"no files of {', '.join(absent)}; --corpora=DIR names the folder that holds them (see `study plan`)")
    store.root.mkdir(parents=True, exist_ok=True)

    ranks = Ranks.of(os.environ, store.root)
    if ranks is not None and ranks.rank:
        by_key = {run.key: run for run in runs}
        with stopping():
            log = f"log.rank{ranks.rank}.txt"
            ranks.follow(lambda key: run_process(fit_command(by_key[key], store, options.more), log=store.folder(key) / log))
        return 0

    def start(run: Run, lock: int) -> int:
        if ranks is not None:
            ranks.begin(run.key)
        return run_process(fit_command(run, store, options.more), log=store.log(run.key), inherited=(lock,))

    try:
        with stopping(), StudyProgress(runs, estimates(runs, store)) as progress:
            outcomes = run_missing(runs, store, planned.study.name, start, begin=progress.begin, end=progress.end)
    finally:
        if ranks is not None:
            ranks.end()
    failed = [outcome for outcome in outcomes if outcome.state != "done"]
    for outcome in failed:
        print(f"{outcome.run.cells[0]}: {outcome.state}; {outcome.message} (see {store.log(outcome.run.key)})", file=sys.stderr)
    if not options.only:
        _write(planned, store.root / "reports" / planned.study.name)
    return 1 if failed else 0


def _chosen(planned: _Planned, only: Sequence[str]) -> list[Run]:
    """The runs of these keys, or all where there are none.

    Raises:
        SettingError: The study has no run of a key.
    """
    runs = planned.runs
    if strange := [key for key in only if key not in {run.key for run in runs}]:
        raise SettingError(
            f"--only={strange[0]}: {planned.study.name} has no such run; its settings, its data or the code have changed since the key was"
            " taken (`clinical-ie study plan --json` lists keys, `study submit` submits anew)"
        )
    return [run for run in runs if not only or run.key in only]


def _fitting(runs: Sequence[Run], only: Sequence[str]) -> list[Run]:
    """Under srun, the runs that have as many processes as it has started; others are left to jobs of their size.

    Raises:
        SettingError: A run that was asked for by its key is among the others.
    """
    tasks = tasks_of(os.environ)
    sizes = {run.key: run.content.nodes * run.content.devices for run in runs}
    others = [run for run in runs if tasks is not None and sizes[run.key] not in (0, tasks)]
    if others:
        size = sizes[others[0].key]
        if only:
            raise SettingError(f"--only={others[0].key}: the run has {size} processes, but srun has started {tasks}; give --ntasks={size}")
        print(
            f"{len(others)} runs are left to jobs of another size, as {others[0].cells[0]} with {size} processes (srun has started {tasks})"
        )
    return [run for run in runs if run not in others]


def _submit(options: argparse.Namespace) -> int:
    planned = _planned(options)
    return submit(options, planned.study.name, planned.store, lambda more: _planned(options, more).runs if more else planned.runs)


def fit_command(run: Run, store: Store, more: Sequence[str]) -> list[str]:
    """The command line of a run, for this machine."""
    chain = [part for one in run.chain for part in ([one] if one.startswith("-") else ["-c", one])]
    begins = [f"--init_from={store.folder(run.begins_with.key)}"] if run.begins_with else []
    own = [*more, *run.content.options, *begins, f"--run_dir={store.folder(run.key)}", "--resume=auto"]
    return [sys.executable, "-m", "clinical_ie", "fit", *chain, *own]


def _report(options: argparse.Namespace) -> int:
    planned = _planned(options)
    output = Path(options.output) if options.output else planned.store.root / "reports" / planned.study.name
    named = _named(planned, options.code)
    if len(named) < sum(not planned.store.is_done(planned.of_cell[cell.name].key) for cell in planned.cells):
        _say_other_code(planned)
    _write(planned, output, named)
    return 0


def _named(planned: _Planned, code: str | None) -> dict[str, str]:
    """Cell -> its run by name, where it cannot be known by its content: corpora are not here, or other code has done it."""
    store = planned.store
    absent = sorted({name for run in planned.runs for name in run.content.absent})
    if code is None and not absent:
        return {}
    there = store.named(planned.study.name, code or code_version(STUDY))
    found: dict[str, str] = {}
    several: list[str] = []
    for cell in planned.cells:
        run, keys = planned.of_cell[cell.name], there.get(cell.name, [])
        if store.is_done(run.key) or (code is None and not run.content.absent):
            continue
        if len(keys) == 1:
            found[cell.name] = keys[0]
        elif keys:
            several.append(f"{cell.name} ({', '.join(keys)})")
    why = f"there are no files of {', '.join(absent)} here" if absent else f"{code} has settings or data of its own"
    if found:
        print(f"{len(found)} cells are shown by their names: {why}, so that nobody can say whether their settings and data are still these")
    if several:
        print(f"Left out, as several runs were done for them: {'; '.join(several)} (move those that are not meant out of ROOT/runs)")
    return found


def _write(planned: _Planned, output: Path, named: Mapping[str, str] | None = None) -> None:
    begun = time.monotonic()
    study, store = planned.study, planned.store
    titles = {grid.name: grid.about for grid in study.grids}
    shown = []
    for cell in planned.cells:
        run = planned.of_cell[cell.name]
        key = (named or {}).get(cell.name, run.key)
        state = store.state(run) if key == run.key else "done"
        results = store.results(key) if state == "done" else None
        shown.append(StudyCell(titles[cell.grid], cell.axes, cell.tested, key, results, state, store.failure(key)))
    page = write_report(output, study.name, study.about, shown, study.repeats, study.controls, study.curve)
    print(f"Report: {page} ({time.monotonic() - begun:.0f} s)")


def _say_other_code(planned: _Planned) -> None:
    """Name versions of the code that have computed cells of this study which the present one has not."""
    known = planned.store.known()
    found = set()
    for run in planned.runs:
        if not planned.store.is_done(run.key):
            content = run.key.rpartition("-")[0]
            found |= {key.rpartition("-")[2] for key in known if key.startswith(f"{content}-") and planned.store.is_done(key)}
    if found:
        print(f"Runs that are missing here were done by other versions of the code: {', '.join(sorted(found))} (--code=VERSION shows them)")
