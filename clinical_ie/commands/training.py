"""``clinical-ie fit | validate | test | predict``: LightningCLI with a run directory.

A run directory holds ``config.yaml`` (replays the run alone), ``checkpoints/``, ``tensorboard/``,
``splits.json`` (which documents the run learned from), ``predictions/`` and ``results.json``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import lightning.pytorch as pl
import yaml
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import LightningArgumentParser

from clinical_ie.callbacks.board import Board, GroupedTensorBoard
from clinical_ie.callbacks.checkpoints import Checkpoints, Patience
from clinical_ie.callbacks.evaluation import Evaluation
from clinical_ie.callbacks.interruption import SafeInterruption
from clinical_ie.callbacks.learned import LearnedRecord
from clinical_ie.callbacks.mixture import Mixture
from clinical_ie.callbacks.predictions import PredictionWriter
from clinical_ie.callbacks.progress import ProgressBar, ProgressLines
from clinical_ie.callbacks.random_state import RandomState
from clinical_ie.callbacks.run_record import RunRecord
from clinical_ie.callbacks.split_facts import SplitFacts
from clinical_ie.callbacks.splits import NAME as SPLITS
from clinical_ie.callbacks.splits import SplitRecord
from clinical_ie.callbacks.throughput import Throughput
from clinical_ie.callbacks.trace import Trace
from clinical_ie.commands.chain import Chain
from clinical_ie.commands.config_text import config_text
from clinical_ie.commands.corpus_settings import check_different, name_of, place_roots
from clinical_ie.commands.early_checks import check_extent, check_fixed_steps, check_modes, check_monitors, check_numbers, check_settings
from clinical_ie.commands.parse_errors import explain
from clinical_ie.commands.precision import default_precision
from clinical_ie.commands.quiet import quieten
from clinical_ie.commands.results_cli import ResultsCLI
from clinical_ie.commands.resuming import check_end, check_scores_kept, check_settings_kept, flat, identity, is_trained, taken_up
from clinical_ie.commands.run_cost import versions
from clinical_ie.commands.run_directory import RunDirectory, make_paths_absolute, run_of
from clinical_ie.commands.run_lock import training_in
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.errors import SettingError
from clinical_ie.files import write_text
from clinical_ie.modules.strategy_checks import check_strategy
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.reports.results import Results
from clinical_ie.strategies.atomic_checkpoint import AtomicCheckpointIO
from clinical_ie.strategies.checkpoint import Checkpoint
from clinical_ie.strategies.checkpoint_names import LAST
from clinical_ie.strategies.lost_ranks import as_lost_rank
from clinical_ie.strategies.process_group import set_timeout
from clinical_ie.strategies.slurm import check_trainer, for_slurm
from clinical_ie.strategies.slurm_job import is_restarted, job_id

_PLACED = ("evaluation", "predictions", "checkpoints", "interruption", "trace")
"""Callbacks that write into the run's folder."""

CommandLine = TypeVar("CommandLine", bound="TrainingCLI")


class TrainingCLI(ResultsCLI):
    """Adds the run directory and the callbacks that every run has.

    Args:
        held: What is held until the command ends.
        given: See LightningCLI.
    """

    def __init__(self, *given: Any, held: ExitStack, **named: Any) -> None:
        self._held = held
        super().__init__(*given, **named)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Options beside trainer, model and data; and the links between data and model."""
        parser.add_argument("--run_dir", type=str | None, default=None, help="Where all files of the run go.")
        parser.add_argument("--data.root", type=str | None, default=None, help="The folder of the corpus, where there is one corpus.")
        parser.add_argument("--data.roots", type=dict[str, str] | None, default=None, help="Corpus -> its folder.")
        more = "Task, or all -> arguments of those before it; --data.task_args.TASK.window=512."
        parser.add_argument("--data.task_args", type=dict[str, dict[str, Any]] | None, default=None, help=more)
        parser.add_argument("--init_from", type=str | None, default=None, help="A run or checkpoint whose weights a new run begins with.")
        waiting = "Minutes that a process waits for the others in one collective operation before it fails."
        parser.add_argument("--process_group_timeout", type=float, default=30.0, metavar="MINUTES", help=waiting)
        parser.add_argument("--test_after_fit", type=bool, default=True, help="Score the best checkpoint on the test split after fit.")
        parser.add_lightning_class_args(Evaluation, "evaluation")
        parser.add_lightning_class_args(PredictionWriter, "predictions")
        parser.add_lightning_class_args(Checkpoints, "checkpoints")
        parser.add_lightning_class_args(Patience, "patience")
        parser.add_lightning_class_args(SafeInterruption, "interruption")
        parser.add_lightning_class_args(Trace, "trace")
        for name in _PLACED:
            parser.link_arguments("run_dir", f"{name}.run_dir")
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("model.init_args.backbone", "data.tokenizer")
        parser.link_arguments("data.schemas", "model.init_args.schemas", apply_on="instantiate")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser: LightningArgumentParser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":
            how = "Begin, or go on where the run in --run_dir stopped; done when it is finished and scored."
            parser.add_argument("--resume", type=Literal["auto"] | None, default=None, help=how)
        if subcommand == "predict":
            where = "Where annotations go, instead of RUN_DIR/predictions/predict."
            parser.add_argument("--output", type=str | None, default=None, metavar="DIR", help=where)
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Settings from the command line; what is wrong with them in a line.

        Raises:
            SettingError: A setting that does not exist, or a value of another type.
        """
        chain = Chain(sys.argv[2:])
        if not any(option.startswith(("--print_config", "--help", "--model.help", "--data.help")) for option in chain.arguments):
            chain.require_axes()
        self.added_by = chain.added_by
        try:
            self.config = parser.parse_args([sys.argv[1], *chain.arguments])
        except ArgumentError as error:
            options = [name[2:] for action in self._parser(sys.argv[1])._actions for name in action.option_strings if name[:2] == "--"]
            raise SettingError(explain(str(error), options, chain.origins)) from None
        given = self.config[sys.argv[1]]
        if given.get("resume") and given.ckpt_path:
            raise SettingError("--resume=auto finds the checkpoint itself; leave out one of --resume and --ckpt_path")

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: a run's ``config.yaml`` says all that its checkpoint would."""

    def _set_seed(self) -> None:
        check_numbers({"seed_everything": self.config[self.subcommand].seed_everything})
        super()._set_seed()

    def before_instantiate_classes(self) -> None:
        """Find the run, and refuse what another run's files or settings forbid, before anything is loaded."""
        config = self.config[self.subcommand]
        root = config.data.pop("root", None)  # the corpus holds it, and so does the run's config.yaml
        roots = config.data.pop("roots", None)
        config.data.pop("task_args", None)  # the tasks hold them (see Chain)
        check_different(config.data.corpora, self.added_by)
        if root is not None and len(config.data.corpora) > 1:
            names = ", ".join(f"--data.roots.{name_of(corpus)}=DIR" for corpus in config.data.corpora)
            raise SettingError(f"--data.root names one folder, but there are {len(config.data.corpora)} corpora; give {names}")
        place_roots(config.data.corpora, roots or {})
        own = run_of(str(path) for path in config.get("config") or [])
        if not config.run_dir and own is None:
            raise SettingError(
                "--run_dir is missing: the folder where checkpoints, predictions and results go; or name a run that exists by"
                " -c RUN/config.yaml"
            )
        self.directory = RunDirectory(Path(config.run_dir)) if config.run_dir else cast("RunDirectory", own)
        self.source = own or self.directory
        if self.subcommand != "predict" or not config.output:  # a run that only others may write to can annotate
            self.directory.check_writable()
        if self.subcommand != "predict":
            Results.load(self.directory.results)  # scores are added to it in the end
        self._place(config)
        if self.subcommand == "predict" and config.output:
            config.predictions.output = config.output
        make_paths_absolute(config)
        if config.trainer.precision is None:
            config.trainer.precision = default_precision(config.trainer.accelerator, config.model)
        if self.subcommand != "fit" and not config.ckpt_path:
            config.ckpt_path = str(self.source.best())
        self.settings = flat(yaml.safe_load(self._configuration()))
        check_numbers(self.settings)
        check_extent(self.settings, str(self.subcommand))
        self.changes: list[str] = []
        self.trained = False
        occupied = self.directory.holds_checkpoints()  # on every rank: none writes a checkpoint before all have come past here
        if self.subcommand == "fit" and occupied and is_restarted() and self._is_of_this_job():
            config.resume = "auto"
        if config.get("resume") and occupied:
            config.ckpt_path = str(self.directory.latest())
        self.initial: Checkpoint | None = None
        if self.subcommand == "fit" and config.init_from and not config.ckpt_path:
            self.initial = RunDirectory.weights(config.init_from)
            _ = self.initial.meta  # what is no checkpoint is refused before anything is loaded
        if config.ckpt_path:
            checkpoint = Checkpoint(config.ckpt_path).meta
            if occupied and Path(config.ckpt_path).resolve().parent != self.directory.checkpoints.resolve():
                raise SettingError(f"{self.directory.path} holds another run than that of {config.ckpt_path}; give another --run_dir")
            self._look_at(checkpoint)
            last, cost = Path(config.ckpt_path).name == LAST, Results.load(self.directory.results).run
            if config.get("resume") and is_trained(checkpoint, cost, self.changes, last=last):
                self.trained = True
                check_scores_kept(checkpoint["run"]["settings"], self.settings)
        elif occupied:
            raise SettingError(f"{self.directory.path} holds a run already; give another --run_dir, or --resume=auto to go on with it")

    def _is_of_this_job(self) -> bool:
        """Whether this very job, before it was put back into the queue, wrote what the folder holds."""
        return bool(Checkpoint(self.directory.latest()).meta["run"].get("job") == job_id())

    def _place(self, config: Any) -> None:
        """Send what every part of the command writes into the run's folder."""
        config.run_dir = config.trainer.default_root_dir = str(self.directory.path)
        for name in _PLACED:
            config[name].run_dir = config.run_dir

    def _look_at(self, checkpoint: dict[str, Any]) -> None:
        """Hold a checkpoint's settings against those given."""
        if self.subcommand == "fit":
            saved = checkpoint["run"]["settings"]
            check_settings_kept(saved, self.settings)
            check_end(checkpoint, self.settings)
            self.changes = taken_up(saved, self.settings)

    def _configuration(self) -> str:
        """The text of ``config.yaml``: all settings but where the run lies, which is where the file lies."""
        config = self.config[self.subcommand].clone()
        for name in ("config", "ckpt_path", "resume", "run_dir", "weights_only"):
            config.pop(name, None)
        return config_text(
            self._parser(self.subcommand).dump(config, skip_unset=False, skip_link_targets=True, skip_validation=True), config
        )

    @property
    def _nothing_left(self) -> bool:
        """Whether the run is trained, and scored where that is wanted."""
        scored = "test" in Results.load(self.directory.results).splits
        return self.trained and (scored or not self.config[self.subcommand].test_after_fit)

    def instantiate_classes(self) -> None:
        """Make what the command needs, if anything."""
        if not self._nothing_left:
            super().instantiate_classes()

    def _run_subcommand(self, subcommand: str) -> None:
        if self._nothing_left:
            print(
                f"{self.directory.path} is trained already" + (", and scored" if self.config[subcommand].test_after_fit else ""), flush=True
            )
        elif self.trained:
            self._score()
        else:
            super()._run_subcommand(subcommand)

    def after_instantiate_classes(self) -> None:
        """Seed what is random in the data too; refuse what could only fail late."""
        if self._nothing_left:
            return
        self.datamodule.follow_seed(int(self._get(self.config, "seed_everything")))
        if self.initial is not None:
            self.model.initial = self.initial
        precision = str(self.settings["trainer.precision"])
        if isinstance(self.model, TunedModule):
            check_strategy(self.model, self.trainer.strategy)
        check_settings(self.model, self.datamodule, training=self.subcommand == "fit", precision=precision)
        if self.subcommand == "fit":
            check_fixed_steps(self.datamodule, self.settings)
            names = ("checkpoints.monitor", "patience.monitor")
            check_monitors(self.datamodule, {name: cast("str | None", self.settings.get(name)) for name in names})
            check_modes(self.settings)
        if self.subcommand != "predict":
            cast("Evaluation", self._get(self.config_init, "evaluation")).check(self.datamodule)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A trainer with the run directory's logger and callbacks."""
        given = self._get(self.config_init, "trainer")
        kwargs["logger"] = given.get("logger")
        if self.subcommand == "predict":
            kwargs["logger"] = False  # there is nothing to log
        elif kwargs["logger"] is None:
            place = str(self.directory.path.absolute())  # its thread may write when the working directory is another
            kwargs["logger"] = GroupedTensorBoard(save_dir=place, name="tensorboard", version="", default_hp_metric=False)
        kwargs["plugins"] = [*for_slurm(given.get("plugins") or []), AtomicCheckpointIO()]
        kwargs["use_distributed_sampler"] = False  # the batch sampler shards by itself and is the same on every start
        callbacks = list(given.get("callbacks") or [])
        self.throughput, self.mixture = Throughput(), Mixture()
        self.record = RunRecord(self.settings, versions(), self.changes, self._accept, identity(self.settings))
        begun_with = None if self.initial is None else _run_of(self.initial.path)
        state = self._get(self.config, "ckpt_path")
        states_run = Path(state).absolute().parent.parent if state else None
        if self.subcommand == "fit":
            splits, learned = (record(self.directory.path, begun_with, states_run) for record in (SplitRecord, LearnedRecord))
        else:
            source = states_run if states_run and (states_run / SPLITS).exists() else self.source.path
            splits, learned = SplitRecord(source), LearnedRecord(source)
        first = self._get(self.config, "init_from") if self.subcommand == "fit" else None
        self.split_facts = SplitFacts(_run_of(Path(first)) if first else None)
        callbacks += [self.throughput, RandomState(), self.record, self.mixture, splits, learned, self.split_facts]
        if kwargs["logger"]:
            callbacks += [LearningRateMonitor(logging_interval="step"), Board()]
        kwargs["enable_progress_bar"] = given.get("enable_progress_bar") is not False and sys.stdout.isatty()
        callbacks.append(ProgressBar() if kwargs["enable_progress_bar"] else ProgressLines())
        try:
            trainer: pl.Trainer = super().instantiate_trainer(**{**kwargs, "callbacks": callbacks})
        except (TypeError, ValueError, ImportError, RuntimeError) as error:  # wrong names or devices, what is not installed ...
            raise SettingError(f"trainer: {' '.join(str(error).split())}") from error
        check_trainer(kwargs["plugins"], trainer.num_devices, trainer.num_nodes)
        set_timeout(trainer.strategy, float(self._get(self.config, "process_group_timeout")))
        return trainer

    def _accept(self) -> None:
        """Take the folder, and write the configuration, now that nothing else stands in the way."""
        if self._dry:
            return
        self._held.enter_context(training_in(self.directory.path, self.trainer.global_rank))
        text, file = self._configuration(), self.directory.config
        if self.trainer.is_global_zero and not (file.exists() and file.read_text(encoding="utf-8") == text):
            write_text(file, text)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        options: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand in ("test", "validate"):
            options["verbose"] = False
        if subcommand == "predict":
            options["return_predictions"] = False
        # Our own checkpoints hold tensors and plain values only, so they load without pickle.
        options["weights_only"] = True
        return options


def _batches_before_shares() -> None:
    """Read ``--trainer.limit_test_batches=1`` as one batch, not as all of them (1.0).

    A value is tried as the types of a union in their order. `typing` remembers unions and gives ``Optional[Union[float, int]]`` for
    ``Optional[Union[int, float]]``, so what was imported before Lightning could turn the order of its arguments round.
    """
    hints = inspect.unwrap(pl.Trainer.__init__).__annotations__
    for name, hint in hints.items():
        if set(get_args(hint)) == {int, float, type(None)}:
            hints[name] = int | float | None


def run(arguments: Sequence[str]) -> int:
    """Run LightningCLI on these arguments."""
    try:
        return _run(arguments)
    except RuntimeError as error:
        lost = as_lost_rank(error)
        if lost is None:
            raise
        raise lost from error


def command_line(kind: type[CommandLine], held: ExitStack) -> CommandLine:
    """Read ``sys.argv``, and do what it says.

    Args:
        kind: What does it.
        held: Ends what lasts as long as the command.
    """
    return kind(
        pl.LightningModule,
        ExtractionDataModule,
        save_config_callback=None,
        subclass_mode_model=True,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        held=held,
        parser_kwargs={"prog": "clinical-ie", "exit_on_error": False, "allow_abbrev": False},
    )


def _run(arguments: Sequence[str]) -> int:
    quieten()
    _batches_before_shares()
    before = sys.argv
    # Lightning starts the processes of further devices with this command line again.
    sys.argv = [before[0], *arguments]
    try:
        with ExitStack() as held:
            command_line(TrainingCLI, held)
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning turns it into the exit code of failures
            raise error.__context__ from None
        raise
    except MisconfigurationException as error:  # settings that Lightning refuses
        raise SettingError(" ".join(str(error).split())) from error
    finally:
        sys.argv = before
    return 0


def _run_of(source: Path) -> Path:
    """The folder of the run that weights come from, which are named by it or by a checkpoint of it."""
    return source if (source / "checkpoints").is_dir() else source.absolute().parent.parent
