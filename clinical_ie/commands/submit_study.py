"""``clinical-ie study submit``: a study as arrays of SLURM jobs, one for each wave of runs that do not depend on each other.

A wave begins when that before it has ended, however its runs did (``afterany``): a run that fails must not keep those back that have
nothing to do with it. What begins with a run that failed is refused by ``study run`` itself, which reads off results what is done. With
``afterok`` one failure would cancel the whole rest of the study, and SLURM's word on a run would be a second one beside its results.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clinical_ie.commands import submit_queue
from clinical_ie.commands.submit_fit import place_of, tensorboard
from clinical_ie.commands.submit_options import Shape, Wanted
from clinical_ie.commands.submit_scripts import Scripts
from clinical_ie.errors import RunError, SettingError
from clinical_ie.files import write_text
from clinical_ie.studies.plan import Run, waves
from clinical_ie.studies.store import Store

Plan = Callable[[Sequence[str]], Sequence[Run]]
"""The runs of the study with more options for each of them."""


@dataclass(frozen=True, slots=True)
class Job:
    """A script that is to be submitted.

    Attributes:
        name: What its files are called.
        text: The script.
        shape: How large each of its runs is; None of the report.
        runs: How many runs it does.
        wave: From 1; the report comes behind the last.
    """

    name: str
    text: str
    shape: Shape | None
    runs: int
    wave: int


def submit(options: argparse.Namespace, study: str, store: Store, plan: Plan) -> int:
    """Submit what is missing of a study, or show it.

    Args:
        options: Of the command line.
        study: The study's name.
        store: Where its runs lie.
        plan: Makes the runs.
    """
    if not options.dry_run:
        submit_queue.require()
        submit_queue.refuse_second(_folder(store, study), f"the study {study}")
    wanted, scripts = Wanted.of(options), Scripts.find(options.scripts)
    more, runs = _sized(wanted, plan)
    if absent := sorted({name for run in runs for name in run.content.absent}):
        raise SettingError(f"no files of {', '.join(absent)}; --corpora=DIR names the folder that holds them (see `study plan`)")
    missing = waves(runs, lambda run: store.is_done(run.key))
    if not missing:
        print(f"All {len(runs)} runs of {study} are done; `clinical-ie study report` writes the tables.")
        return 0
    given = _given(options, more)
    largest = 1000 if options.dry_run else submit_queue.largest_array()
    jobs = [
        job
        for number, wave in enumerate(missing, 1)
        for job in arrays(wave, number, study, store, scripts, wanted, given, options.throttle, largest)
    ]
    version = runs[0].key.rpartition("-")[2]  # the report is of the runs that are submitted, whatever becomes of the code until then
    jobs.append(_report(study, store, scripts, wanted, [*given, f"--code={version}"], len(missing) + 1))
    if options.dry_run:
        _show(jobs)
        return 0
    return _submit(jobs, study, store, scripts)


def _sized(wanted: Wanted, plan: Plan) -> tuple[list[str], Sequence[Run]]:
    """Options that make runs as large as was asked for, where their settings say otherwise; and the runs."""
    runs = plan([])
    more = []
    if wanted.devices and any(run.content.devices != wanted.devices for run in runs):
        more.append(f"--trainer.devices={wanted.devices}")
    if wanted.nodes and any(run.content.nodes != wanted.nodes for run in runs):
        more.append(f"--trainer.num_nodes={wanted.nodes}")
    return more, plan(more) if more else runs


def _given(options: argparse.Namespace, more: Sequence[str]) -> list[str]:
    """The arguments of `study run` in the jobs."""
    corpora = [f"--corpora={options.corpora}"] if options.corpora else []
    return [str(options.study), f"--root={options.root}", *corpora, *(f"--with={option}" for option in (*options.more, *more))]


def arrays(
    wave: Sequence[Run],
    number: int,
    study: str,
    store: Store,
    scripts: Scripts,
    wanted: Wanted,
    given: Sequence[str],
    throttle: int | None,
    largest: int,
) -> list[Job]:
    """The arrays of a wave: one for runs of each size, in parts where the cluster takes no array as large."""
    script = scripts.options("study")
    by_shape: dict[Shape, list[Run]] = {}
    for run in wave:
        devices = run.content.devices or int(script.get("ntasks-per-node", "1"))
        by_shape.setdefault(wanted.shape(run.content.nodes, devices, script, gpus=run.content.gpus), []).append(run)
    found: list[Job] = []
    for shape, runs in by_shape.items():
        for begin in range(0, len(runs), largest):
            part = runs[begin : begin + largest]
            name = f"wave{number}" + (f"-{len(found) + 1}" if len(by_shape) > 1 or len(runs) > largest else "")
            array = f"0-{len(part) - 1}" + (f"%{throttle}" if throttle else "")
            own = {"job-name": f"{study}-{name}", "array": array}
            placed = place_of(_folder(store, study), f"{name}-%A_%a.out")
            text = scripts.rendered(
                "study",
                {**own, **scripts.site(), **placed, **shape.options(), **wanted.others},
                given,
                {run.key: run.cells[0] for run in part},
            )
            found.append(Job(name, text, shape, len(part), number))
    return found


def _report(study: str, store: Store, scripts: Scripts, wanted: Wanted, given: Sequence[str], wave: int) -> Job:
    kept = {name: value for name, value in wanted.others.items() if name in ("partition", "account", "qos", "clusters")}
    placed = place_of(_folder(store, study), "report-%j.out")
    return Job(
        "report", scripts.rendered("report", {"job-name": f"{study}-report", **scripts.site(), **placed, **kept}, given), None, 0, wave
    )


def _folder(store: Store, study: str) -> Path:
    """Where the jobs of a study and their logs lie."""
    return store.root / "slurm" / study


def _show(jobs: Sequence[Job]) -> None:
    """Each script, and the command that would submit it."""
    for job in jobs:
        before = [other.name for other in jobs if other.wave == job.wave - 1]
        depends = f"--dependency=afterany:{':'.join(name.upper() for name in before)} --kill-on-invalid-dep=yes " if before else ""
        print(f"# ===== {job.name.upper()}=$(sbatch --parsable {depends}{job.name}.sbatch)\n{job.text}")


def _submit(jobs: Sequence[Job], study: str, store: Store, scripts: Scripts) -> int:
    """Check all, then submit all, each behind those of the wave before it."""
    folder = _folder(store, study)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"--root={store.root}: {error.strerror}; give a folder of your own, which all nodes see") from None
    for job in jobs:
        write_text(folder / f"{job.name}.sbatch", job.text)
    for job in jobs:  # before any is in the queue
        submit_queue.check(folder / f"{job.name}.sbatch")
    ids: dict[str, str] = {}
    for job in jobs:
        after = [ids[other.name] for other in jobs if other.wave == job.wave - 1]
        try:
            ids[job.name] = submit_queue.submit(folder / f"{job.name}.sbatch", after=after)
        except RunError as error:
            begun = f"; in the queue already: `scancel {' '.join(ids.values())}` takes it back" if ids else ""
            raise RunError(f"{error}{begun}") from None
        finally:
            submit_queue.note(folder, list(ids.values()))
        print(
            f"Submitted {job.name} as {ids[job.name]}" + (f": {job.runs} run{'s' * (job.runs > 1)}, {job.shape} each" if job.runs else "")
        )
    rows = [
        ("jobs", f"{folder}/*.sbatch (from {scripts.folder})"),
        ("queue", f"squeue --jobs={','.join(ids.values())}"),
        ("logs", f"{folder}/*.out; of a run {store.root}/runs/KEY/log.txt"),
        ("state", shlex.join(["clinical-ie", "study", "plan", study, f"--root={store.root}"])),
        ("TensorBoard", tensorboard(store.root / "runs")),
        ("cancel", f"scancel {' '.join(ids.values())}"),
    ]
    for name, what in rows:
        print(f"  {name:<12}{what}")
    return 0
