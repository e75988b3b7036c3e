"""``clinical-ie fit | validate | test | predict``: LightningCLI with a run directory.

A run directory holds ``config.yaml`` (replays the run alone), ``checkpoints/``, ``tensorboard/``,
``predictions/`` and ``results.json``.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import platform
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import lightning.pytorch as pl
import torch
import transformers
import yaml
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from clinical_ie.callbacks.checkpoints import BEST, LAST, Checkpoints, Patience
from clinical_ie.callbacks.evaluation import Evaluation
from clinical_ie.callbacks.interruption import RandomState, SafeInterruption
from clinical_ie.callbacks.predictions import PredictionWriter
from clinical_ie.callbacks.throughput import Throughput
from clinical_ie.commands.export import write_adapter
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.errors import SettingError
from clinical_ie.files import write_text
from clinical_ie.models.folders import load_config, locate
from clinical_ie.modules import InstructionGenerator
from clinical_ie.reports.results import Results
from clinical_ie.reports.run_tables import show_run
from clinical_ie.strategies.checkpoint_files import WholeCheckpoints

CONFIG = "config.yaml"


class TrainingCLI(LightningCLI):
    """Adds the run directory and the callbacks that every run has."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Options beside trainer, model and data; and the links between data and model."""
        parser.add_argument("--run_dir", type=str | None, default=None, help="Where all files of the run go.")
        parser.add_argument("--test_after_fit", type=bool, default=True, help="Score the best checkpoint on the test split after fit.")
        parser.add_lightning_class_args(Evaluation, "evaluation")
        parser.add_lightning_class_args(PredictionWriter, "predictions")
        parser.add_lightning_class_args(Checkpoints, "checkpoints")
        parser.add_lightning_class_args(Patience, "patience")
        parser.add_lightning_class_args(SafeInterruption, "interruption")
        for name in ("evaluation", "predictions", "checkpoints", "interruption"):
            parser.link_arguments("run_dir", f"{name}.run_dir")
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("model.init_args.backbone", "data.tokenizer")
        parser.link_arguments("data.schemas", "model.init_args.schemas", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: a run's ``config.yaml`` says all that its checkpoint would."""

    def before_instantiate_classes(self) -> None:
        """Refuse to run into another run's directory."""
        config = self.config[self.subcommand]
        if not config.run_dir:
            raise SettingError("--run_dir is missing: the folder where checkpoints, predictions and results go")
        self.run_dir = Path(config.run_dir)
        if self.run_dir.exists() and not self.run_dir.is_dir():
            raise SettingError(f"{self.run_dir} is a file; --run_dir names a folder")
        if config.ckpt_path and not Path(config.ckpt_path).exists():
            raise SettingError(f"--ckpt_path {config.ckpt_path}: no such checkpoint")
        if config.trainer.precision is None:
            config.trainer.precision = "bf16-mixed" if computes_in_bfloat16(config.trainer.accelerator) else "32-true"
        if (
            getattr(rank_zero_only, "rank", 0) == 0
            and self.subcommand == "fit"
            and not config.ckpt_path
            and any((self.run_dir / "checkpoints").glob("*.ckpt"))
        ):
            raise SettingError(
                f"{self.run_dir} holds a run already; give another --run_dir,"
                f" or --ckpt_path {self.run_dir}/checkpoints/{LAST} to go on with it"
            )

    def after_instantiate_classes(self) -> None:
        """Hold the task of the data against the model, and its window against the model's positions."""
        takes = getattr(self.model, "takes", None)
        if takes is not None and not isinstance(self.datamodule.task, takes):
            raise SettingError(
                f"{type(self.model).__name__} does not do {type(self.datamodule.task).__name__};"
                " give model and task from one configs/task file"
            )
        decision = getattr(self.datamodule.task, "decision", None)
        if decision != getattr(self.model, "decision", None):
            raise SettingError(f"data.task decides {decision}, but the model {getattr(self.model, 'decision', None)}; give both the same")
        name = getattr(self.model, "backbone_name", None)
        if name is not None:
            config = load_config(locate(name))
            most = getattr(config, "max_position_embeddings", None)
            if most and "roberta" in config.model_type:  # counts positions from behind its padding id
                most -= config.pad_token_id + 1
            if most and self.datamodule.task.window > most:
                raise SettingError(f"data.task.window is {self.datamodule.task.window}, but {name} has {most} positions only")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A trainer with the run directory's logger and callbacks."""
        logger = TensorBoardLogger(save_dir=str(self.run_dir), name="tensorboard", version="", default_hp_metric=False)
        given = self._get(self.config_init, "trainer")
        kwargs["logger"] = logger if given.get("logger") is None else given["logger"]
        kwargs["plugins"] = [*(given.get("plugins") or []), WholeCheckpoints()]
        kwargs["use_distributed_sampler"] = False  # the batch sampler shards by itself and is the same on every start
        callbacks = list(given.get("callbacks") or [])
        self.throughput = Throughput()
        callbacks += [self.throughput, RandomState()]
        if kwargs["logger"]:
            callbacks.append(LearningRateMonitor(logging_interval="step"))
        if given.get("enable_progress_bar") is not False and sys.stdout.isatty():
            callbacks.append(RichProgressBar())
        trainer: pl.Trainer = super().instantiate_trainer(**{**kwargs, "callbacks": callbacks})
        return trainer

    def before_fit(self) -> None:
        """Write the configuration and the hyper-parameters down."""
        if self.trainer.is_global_zero:
            parser = self._parser("fit")
            config = self.config["fit"].clone()
            config.pop("config", None)
            config.pop("ckpt_path", None)
            text = parser.dump(config, skip_unset=False, skip_link_targets=True)
            write_text(self.run_dir / CONFIG, text)
        self.begun = time.monotonic()

    def after_fit(self) -> None:
        """Note what the run cost; score the best checkpoint on the test split."""
        if self.trainer.is_global_zero:
            path = self.run_dir / "results.json"
            results = Results.load(path)
            results.run, results.splits = self._cost(), {}
            results.write(path)
            if isinstance(self.trainer.logger, TensorBoardLogger):
                best = self.trainer.checkpoint_callback
                score = getattr(best, "best_model_score", None)
                metrics = {"steps": self.trainer.global_step} | ({} if score is None else {"best/dev_strict_f1": float(score)})
                self.trainer.logger.log_hyperparams(_flat(yaml.safe_load((self.run_dir / CONFIG).read_text())), metrics)
        if self._get(self.config, "test_after_fit"):
            self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=str(self._best()), weights_only=True, verbose=False)
        self._write_adapter()
        self._show()

    def after_test(self) -> None:
        """Say what came out."""
        self._show()

    def after_validate(self) -> None:
        """Say what came out."""
        self._show()

    def _write_adapter(self) -> None:
        """The best adapter of a generator as PEFT reads it, beside its checkpoint."""
        if self.trainer.is_global_zero and isinstance(self.model, InstructionGenerator) and self.model.peft is not None:
            folder = self.run_dir / "checkpoints" / "adapter"
            partial = folder.with_name(".adapter.partial")
            shutil.rmtree(partial, ignore_errors=True)
            state = torch.load(self._best(), map_location="cpu", weights_only=True)["state_dict"]
            self.model.load_state_dict(state, strict=False)  # a checkpoint holds what was trained
            write_adapter(self.model, partial)
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)

    def _show(self) -> None:
        if self.trainer.is_global_zero:
            show_run(Results.load(self.run_dir / "results.json"))

    def _best(self) -> Path:
        path = self.run_dir / "checkpoints" / BEST
        if not path.exists():
            raise SettingError(f"{path}: no such checkpoint; has this run been trained?")
        return path

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        options: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand != "fit" and not options.get("ckpt_path"):
            options["ckpt_path"] = str(self._best())
        if subcommand in ("test", "validate"):
            options["verbose"] = False
        if subcommand == "predict":
            options["return_predictions"] = False
        # Our own checkpoints hold tensors and plain values only, so they load without pickle.
        options["weights_only"] = True
        return options

    def _cost(self) -> dict[str, Any]:
        trainer, throughput = self.trainer, self.throughput
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        trainable = sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
        config = (self.run_dir / CONFIG).read_bytes()
        return {
            "seed": self._get(self.config, "seed_everything"),
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "resumed": bool(self._get(self.config, "ckpt_path")),
            "seconds": round(time.monotonic() - self.begun, 2),
            "training_subwords": throughput.all_ranks_real,
            "training_seconds": round(throughput.total_seconds, 3),
            "subwords_per_second": round(throughput.all_ranks_real / throughput.total_seconds, 1) if throughput.total_seconds else None,
            "parameters": parameters,
            "trainable_parameters": trainable,
            "checkpoint_model_bytes": _model_bytes(self._best()),
            "peak_memory_bytes": _peak_memory(),
            "precision": str(trainer.precision),
            "devices": trainer.world_size,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores"
            + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
            "versions": {
                "torch": torch.__version__,
                "lightning": version("lightning"),
                "transformers": transformers.__version__,
                "python": platform.python_version(),
            },
            "fingerprint": hashlib.sha256(config).hexdigest()[:16],
            "data": _data_fingerprint(self.datamodule),
            "coverage": {
                part: {corpus: coverage.to_dict() for corpus, coverage in corpora.items()}
                for part, corpora in self.datamodule.coverage.items()
            },
            "findings": dict(sorted(self.datamodule.findings.counts().items())),
            "commit": _commit(),
        }


def _data_fingerprint(data: ExtractionDataModule) -> str:
    digest = hashlib.sha256()
    for part in ("train", "dev"):
        for example in data.examples.get(part, []):
            digest.update(repr(example).encode())
    return digest.hexdigest()[:16]


def _model_bytes(checkpoint: Path) -> int:
    """What of a checkpoint is the model, without optimizer and other state."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True)["state_dict"]
    return sum({tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in state.values()}.values())


def _peak_memory() -> int:
    """Most bytes that this process has held: on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _commit() -> str | None:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            rows |= _flat(value, f"{prefix}{key}/")
        elif isinstance(value, str | int | float | bool):
            rows[f"{prefix}{key}"] = value
    return rows


def computes_in_bfloat16(accelerator: str) -> bool:
    """Whether bfloat16 is an arithmetic of the device that Lightning would take, and not an emulation."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class _ToStderr(logging.Handler):
    """Writes to what ``sys.stderr`` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def quieten() -> None:
    """Keep remarks that no user can act on from the screen."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    ours = logging.getLogger("clinical_ie")
    ours.setLevel(logging.INFO)
    if not ours.handlers:
        ours.addHandler(_ToStderr())
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "The '.*dataloader' does not have many workers",
        "Checkpoint directory .* exists and is not empty",
        "The number of training batches .* is smaller than the logging interval",
        ".*ended before the epoch ended and your dataloader is not resumable.*",  # it is: the sampler leaves out what was done
        "Found .* module.s. in eval mode at the start of training",
        "You're using the WeightAveraging callback with a model that overrides the configure_model callback",
        "You are using a custom batch sampler .BudgetBatchSampler. for prediction",
        ".*gradient_checkpointing.* is deprecated",  # PEFT's and our call, for the sake of older transformers
        ".loftq_config. specified but will be ignored",  # jsonargparse gives all arguments that there are
        "(?s).*isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's own call
        "(?s).*instantiate_classes.. was deprecated",  # likewise
        "(?s).*By default only one JsonargparseDeprecationWarning",
    ):
        warnings.filterwarnings("ignore", message=message)


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
    quieten()
    _batches_before_shares()
    before = sys.argv
    # Lightning starts the processes of further devices with this command line again.
    sys.argv = [before[0], *arguments]
    try:
        TrainingCLI(
            pl.LightningModule,
            ExtractionDataModule,
            save_config_callback=None,
            subclass_mode_model=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={"prog": "clinical-ie"},
        )
    finally:
        sys.argv = before
    return 0
