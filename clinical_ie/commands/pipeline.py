"""``clinical-ie pipeline``: an entity model, a relation model, an attribute model as one run, or one model for mentions and links.

A recipe names, for each stage (or, as ``both``, for one run of two tasks), the configuration files of an ordinary run, or the folder of a
run that exists. Runs are trained one after the other in folders of their own; then the relation stage links what the entity stage found,
and the attribute stage says what it can of the same mentions.
Every step is an ordinary command in a process of its own, so any strategy works, and the same command goes on where an interrupted one
stopped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeGuard

import yaml

from clinical_ie.commands import configurations
from clinical_ie.commands.arguments import Parser
from clinical_ie.commands.chain import Chain
from clinical_ie.commands.chain_tasks import tasks_of
from clinical_ie.corpora.yaml_file import YamlFile
from clinical_ie.errors import FileFormatError, RunError, SettingError, Stopped
from clinical_ie.extraction.pipeline_stages import BOTH, STAGES
from clinical_ie.files import write_text
from clinical_ie.reports.entry import Entry
from clinical_ie.reports.prediction_folder import folder_of, set_all_aside
from clinical_ie.reports.results import Results
from clinical_ie.reports.run_tables import show_run
from clinical_ie.strategies.checkpoint import Checkpoint
from clinical_ie.strategies.checkpoint_names import BEST
from clinical_ie.tasks.task import Task

_EXPECTED = "entities with relations, attributes or both of these, or both with or without attributes"
_BEST = f"checkpoints/{BEST}"
LINKED = "linked"
"""The folder of what the relation stage found, where the attribute stage follows."""


def run(arguments: Sequence[str]) -> int:
    """Train what is not trained yet, join, score; or annotate texts."""
    parser = Parser(
        prog="clinical-ie pipeline",
        example="clinical-ie pipeline demo --run_dir=runs/demo_pipeline",
        description="Train an entity model and a relation or attribute model, or one for both, score on gold entities and end to end;"
        " or annotate texts.",
        epilog="An option for a stage is one of `clinical-ie fit`, such as --both=--data.root=/data/notes",
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        help="a packaged recipe such as uw_social_history, or YAML: entities and relations, or both for one run, and attributes,"
        " each a list of configurations or the folder of a finished run",
    )
    parser.add_argument("--run_dir", required=True, help="where everything goes")
    parser.add_argument(
        "--texts", help="annotate the .txt files of this folder, or one .txt file, with a finished pipeline, and train nothing"
    )
    parser.add_argument("--output", metavar="DIR", help="where annotations of --texts go, instead of RUN_DIR/predictions/predict")
    for name in (*STAGES, BOTH):
        parser.add_argument(f"--{name}", action="append", default=[], metavar="OPTION", help=f"an option for {name}; repeatable")
    options = parser.parse_args(arguments[1:])
    run_dir = Path(options.run_dir)
    if options.output and not options.texts:
        raise SettingError("--output is for annotations; give the notes with --texts FOLDER")
    if options.texts:
        return _annotate(run_dir, options.texts, Path(options.output) if options.output else None)
    if options.recipe is None:
        raise SettingError("give a recipe to train, or --texts FOLDER to annotate with a finished pipeline")
    given = read_recipe(str(configurations.resolve(options.recipe, "pipeline")))
    for stage in STAGES:
        if getattr(options, stage) and stage not in given:
            whole = f"has one for both stages; give --{BOTH}=OPTION" if BOTH in given else f"has {', '.join(given)}"
            raise SettingError(f"--{stage} is for a recipe with a run for {stage}, and this one {whole}")
    more = {name: [*options.both, *(getattr(options, name) if name != BOTH else ())] for name in given}
    trained = {name: _stage(name, given[name], run_dir, more[name]) for name in given}
    write_text(run_dir / "config.yaml", yaml.safe_dump({name: _named(folder, run_dir) for name, folder in trained.items()}))
    (run_dir / "results.json").unlink(missing_ok=True)
    entities, following = _order(trained)
    mentions = _mentions_in(entities, entities / "predictions" / "test")
    for place, (stage, folder) in enumerate(following.items()):
        print(f"\nEnd to end: {stage} of predicted entities", flush=True)
        target = run_dir if place == len(following) - 1 else run_dir / LINKED
        _command(
            "test",
            *("-c", str(folder / "config.yaml"), f"--run_dir={target}", f"--ckpt_path={folder / _BEST}"),
            f"--data.mentions={mentions}",
            *(option for option in more.get(stage, more.get(BOTH, ())) if option.startswith("--trainer.")),
        )
        if target != run_dir:
            mentions = _links_in(folder, target / "predictions" / "test")
    if int(os.environ.get("SLURM_PROCID", "0")) == 0:
        show_run(_join(run_dir, trained, following))
        print(f"Annotated notes: {run_dir}/predictions/test/\nResults:         {run_dir}/results.json")
    return 0


def read_recipe(path: str) -> dict[str, list[str] | str]:
    """Stage, or ``both``, -> paths of configuration files, or the folder of a run.

    Raises:
        FileFormatError: Stages other than these two.
        SettingError: A configuration file or folder does not exist, or one run for both stages has not a task for each.
    """
    data = YamlFile(path, expected=_EXPECTED).data
    if not _has_stages(data) or not all(isinstance(value, list | str) for value in data.values()):
        raise FileFormatError(path, 0, "not a recipe", expected=f"{_EXPECTED}, each a list of files or the folder of a run")
    found: dict[str, list[str] | str] = {}
    for stage, value in data.items():
        if isinstance(value, str):
            if not Checkpoint(Path(value) / _BEST).exists:
                raise SettingError(f"{path}: {stage} names {value}, where there is no finished run ({_BEST})")
            if "test" not in Results.load(Path(value) / "results.json").splits:
                remedy = f"run `clinical-ie test -c {value}/config.yaml` first"
                raise SettingError(f"{path}: {stage} names {value}, a run that was not scored on its test split; {remedy}")
            found[stage] = value
            if stage == BOTH:
                _check_both(_tasks_of(Path(value)), path)
            continue
        try:
            found[stage] = [str(configurations.resolve(str(name))) for name in value]
        except SettingError as error:
            raise SettingError(f"{path}: {stage} names {error}") from None
        if stage == BOTH:
            _check_both(Chain([part for file in found[stage] for part in ("-c", file)]).tasks.kinds, path)
    return found


def _has_stages(data: Any) -> TypeGuard[dict[str, Any]]:
    first, *following = STAGES
    found = set(data) if isinstance(data, dict) else set()
    return found in ({BOTH}, {BOTH, "attributes"}) or (first in found and bool(found & {*following}) and found <= {*STAGES})


def _order(trained: Mapping[str, Path]) -> tuple[Path, dict[str, Path]]:
    """The run that finds mentions, and those that follow, by stage: relations before attributes."""
    entities = trained[BOTH if BOTH in trained else STAGES[0]]
    whole = {**trained, **({"relations": entities} if BOTH in trained else {})}
    return entities, {stage: whole[stage] for stage in STAGES[1:] if stage in whole}


def _check_both(kinds: Sequence[type[Task[Any]]], where: str | Path) -> None:
    """Make sure that one run can do both stages.

    Raises:
        SettingError: There is no task for one of them.
    """
    if len({kind.needs_mentions for kind in kinds}) < 2:
        raise SettingError(
            f"{where}: a run for both stages needs a task that finds mentions and one that links them, such as entity_instruction and"
            f" relation_instruction; it has {', '.join(kind.name for kind in kinds) or 'no task'}"
        )


def _tasks_of(run: Path) -> list[type[Task[Any]]]:
    return tasks_of(YamlFile(run / "config.yaml", expected="the settings of a run").data)


def _mentions_in(run: Path, predictions: Path) -> Path:
    """Where among the predictions of a run the mentions lie: of several tasks that find some, those of one that finds nothing else."""
    kinds = _tasks_of(run)
    finding = sorted((kind for kind in kinds if not kind.needs_mentions), key=lambda kind: kind.finds != "entities")
    return folder_of(predictions, finding[0].name, kinds) if finding else predictions


def _links_in(run: Path, predictions: Path) -> Path:
    """Where among the predictions of a run the links lie that it found between given mentions."""
    kinds = _tasks_of(run)
    linking = [kind for kind in kinds if kind.needs_mentions and kind.finds == "relations"]
    return folder_of(predictions, linking[0].name, kinds) if linking else predictions


def _stage(stage: str, given: list[str] | str, run_dir: Path, more: Sequence[str]) -> Path:
    """The folder of a trained stage."""
    if isinstance(given, str):
        return Path(given)
    folder = run_dir / stage
    print(f"\nTraining {stage}; the run goes to {folder}", flush=True)
    _command("fit", *(part for file in given for part in ("-c", file)), *more, f"--run_dir={folder}", "--resume=auto")
    return folder


def _named(folder: Path, run_dir: Path) -> str:
    """A stage's folder as the pipeline's ``config.yaml`` names it: from there where it lies inside, so that all of it can be moved."""
    inside, whole = folder.resolve(), run_dir.resolve()
    return inside.relative_to(whole).as_posix() if inside.is_relative_to(whole) else str(inside)


def _join(run_dir: Path, trained: Mapping[str, Path], following: Mapping[str, Path]) -> Results:
    """One table of results: links and attributes of gold entities, and all stages on text alone."""
    results = Results.load(run_dir / "results.json")
    on_gold: dict[str, dict[str, Entry]] = {}
    for stage, folder in following.items():
        asked = {kind.name for kind in _tasks_of(folder) if kind.needs_mentions and kind.finds == stage}
        for corpus, tasks in Results.load(folder / "results.json").splits["test"].items():
            on_gold.setdefault(corpus, {}).update({task: entry for task, entry in tasks.items() if task in asked})
    known = {corpus: tasks for corpus, tasks in on_gold.items() if corpus in results.splits["test"]}
    stages = {name: Results.load(folder / "results.json").run for name, folder in trained.items()}
    joined = Results({"test on gold entities": known, "test": results.splits["test"]}, {"stages": stages, **results.run})
    joined.write(run_dir / "results.json")
    return joined


def _annotate(run_dir: Path, texts: str, output: Path | None) -> int:
    config = run_dir / "config.yaml"
    data = YamlFile(config, expected=_EXPECTED).data
    if not _has_stages(data) or not all(isinstance(folder, str) for folder in data.values()):
        raise FileFormatError(
            config, 0, "not the configuration of a pipeline", expected="the --run_dir of a finished `clinical-ie pipeline`"
        )
    entities, following = _order({stage: run_dir / folder for stage, folder in data.items()})
    # mentions on their own texts stand beside the pipeline, so that a stage that serves others is left alone
    found = run_dir / "mentions" / "predictions" / "predict" if output is None else output / "mentions"
    target = output or run_dir / "predictions" / "predict"
    shared = (f"--data.texts={texts}",)
    try:
        _command(
            "predict",
            *("-c", str(entities / "config.yaml"), f"--run_dir={run_dir / 'mentions'}", f"--ckpt_path={entities / _BEST}"),
            *(f"--output={found}", *shared),
        )
    except (RunError, Stopped):
        if int(os.environ.get("SLURM_PROCID", "0")) == 0:
            set_all_aside(target)  # they are of the same notes, but not the answer to this command
        raise
    mentions = _mentions_in(entities, found)
    for place, folder in enumerate(following.values()):
        last = place == len(following) - 1
        where = run_dir if last else run_dir / LINKED
        goal = target if last else where / "predictions" / "predict" if output is None else output / LINKED
        _command(
            "predict",
            *("-c", str(folder / "config.yaml"), f"--run_dir={where}", f"--ckpt_path={folder / _BEST}"),
            *(f"--output={goal}", f"--data.mentions={mentions}", *shared),
        )
        if not last:
            mentions = _links_in(folder, goal)
    return 0


def _command(*arguments: str) -> None:
    """Run one of our commands.

    Raises:
        RunError: It failed; it has printed why.
        SettingError: It refused its input.
        Stopped: A signal ended it.
    """
    code = run_process([sys.executable, "-m", "clinical_ie", *arguments])
    if code == Stopped.exit_code:
        raise Stopped(f"`clinical-ie {arguments[0]}` was stopped")
    if code == 2:
        raise SettingError(f"`clinical-ie {arguments[0]}` refused its input (see above)")
    if code:
        raise RunError(f"`clinical-ie {arguments[0]}` stopped with exit code {code}; the same pipeline command goes on from there")


def run_process(line: Sequence[str], *, log: Path | None = None, inherited: Sequence[int] = ()) -> int:
    """Run a command to its end, whatever signals come: it is the one to act on them. Its exit code.

    A terminal sends Ctrl-C to both processes; what is sent to this one alone is passed on.

    Args:
        line: The command.
        log: A file for what it says, in place of our own output, behind what an earlier attempt said.
        inherited: File descriptors that it keeps open.
    """
    with contextlib.ExitStack() as opened:
        said = opened.enter_context(log.open("ab")) if log is not None else None
        process = subprocess.Popen(line, stdout=said, stderr=said, pass_fds=inherited)

    def pass_on(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        while True:
            # Of two signals at once the second may be taken by another thread, which does not wake this one: its handler would run only
            # when the command has ended.
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
