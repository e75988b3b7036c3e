"""Settings that could only fail late, checked before anything is read or trained."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from itertools import product
from typing import Any

import lightning.pytorch as pl
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from clinical_ie.callbacks.metrics import AVERAGED, SCORED, TypeScore, monitored
from clinical_ie.corpora.catalogue import CORPORA
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.models.folders import known_config
from clinical_ie.models.positions import most_positions
from clinical_ie.modules import InstructionGenerator
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.tasks.instruction import Instruction
from clinical_ie.tasks.task import Task

_RANGES: dict[str, tuple[float, float]] = {
    "seed_everything": (0, 2**32 - 1),
    "trainer.accumulate_grad_batches": (1, math.inf),
    "trainer.check_val_every_n_epoch": (1, math.inf),
    "trainer.gradient_clip_val": (0, math.inf),
    "trainer.log_every_n_steps": (0, math.inf),
    "trainer.max_epochs": (-1, math.inf),
    "trainer.max_steps": (-1, math.inf),
    "model.init_args.learning_rate": (0, 10),
    "model.init_args.head_learning_rate": (0, 10),
    "model.init_args.adapter_learning_rate": (0, 10),
    "model.init_args.layer_decay": (0, 1),
    "model.init_args.weight_decay": (0, 10),
    "model.init_args.warmup_share": (0, 1),
    "model.init_args.dropout": (0, 1),
    "model.init_args.backbone_dropout": (0, 1),
    "model.init_args.batch_size": (1, math.inf),
    "model.init_args.chunk": (0, math.inf),
    "model.init_args.max_new_tokens_base": (0, math.inf),
    "model.init_args.max_new_tokens_ratio": (0, math.inf),
    "model.init_args.num_draft_tokens": (0, math.inf),
    "model.init_args.backtrack_threshold": (0, 1),
    "data.batch_budget": (1, math.inf),
    "data.eval_batch_budget": (1, math.inf),
    "data.workers": (0, math.inf),
    "data.dev_documents": (1, math.inf),
    "data.test_documents": (1, math.inf),
    "checkpoints.every_minutes": (0, math.inf),
    "patience.epochs": (1, math.inf),
}
"""Setting -> least and most of its value."""

_SCORES = ("strict_f1", "strict_precision", "strict_recall", "lenient_f1", "lenient_precision", "lenient_recall")
_ABOVE_ZERO = ("process_group_timeout", "trainer.val_check_interval", "trainer.limit_train_batches")


def check_numbers(settings: Mapping[str, Any]) -> None:
    """Hold numbers against their ranges.

    Args:
        settings: As plain values; those that are not there are not looked at.

    Raises:
        SettingError: A value is out of its range.
    """
    for name, (least, most) in _RANGES.items():
        value = settings.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not least <= value <= most:
            limit = f"{least} or more" if math.isinf(most) else f"{least} to {most}"
            raise SettingError(f"{name} is {value}; expected {limit}")
    for name in _ABOVE_ZERO:
        value = settings.get(name)
        if isinstance(value, int | float) and value <= 0:
            raise SettingError(f"{name} is {value}; expected a number above 0")
    precision = settings.get("trainer.precision")
    if str(precision).partition("-")[0] == "64":
        raise SettingError(f"trainer.precision is {precision}, but pretrained models compute in 32 bits or fewer; give 32-true")


def check_extent(settings: Mapping[str, Any], command: str) -> None:
    """Make sure that training has an end and that documents are scored whole.

    Args:
        settings: Of the whole command, as plain values.
        command: Which of the commands it is.

    Raises:
        SettingError: No training, no end of it, or documents that would be scored in parts.
    """
    if command == "fit":
        _check_end(settings)
    if settings.get("trainer.overfit_batches"):
        raise SettingError(
            "trainer.overfit_batches would leave documents half annotated; trainer.limit_train_batches takes a few batches of an epoch, and"
            " data.dev_documents fewer development documents"
        )
    if not settings.get("trainer.fast_dev_run"):
        _check_whole_documents(settings, command)


def _check_end(settings: Mapping[str, Any]) -> None:
    epochs, steps = settings.get("trainer.max_epochs"), settings.get("trainer.max_steps")
    if epochs == 0 or steps == 0:
        raise SettingError(f"trainer.{'max_epochs' if epochs == 0 else 'max_steps'} is 0, so nothing would be trained; expected 1 or more")
    timed = any(name.startswith("trainer.max_time") and value is not None for name, value in settings.items())
    constant = settings.get("model.init_args.schedule") == "constant" and settings.get("model.init_args.warmup_share") == 0
    if (epochs == -1 or (epochs is None and timed)) and steps in (None, -1) and not (timed and constant):
        raise SettingError(
            "neither trainer.max_epochs nor trainer.max_steps gives an end; give one (trainer.max_time may come before it): the learning"
            " rate's schedule needs the number of steps. trainer.max_time is enough for a constant rate, which is"
            " --model.init_args.schedule=constant --model.init_args.warmup_share=0"
        )


def _check_whole_documents(settings: Mapping[str, Any], command: str) -> None:
    parts = {"fit": ["val", "test"] if settings.get("test_after_fit") else ["val"], "validate": ["val"]}.get(command, [command])
    for part in parts:
        name = f"trainer.limit_{part}_batches"
        value = settings.get(name)
        whole = value is None or (isinstance(value, float) and value == 1.0) or (value == 0 and part == "val" and command == "fit")
        if not whole:
            remedy = "data.dev_documents takes fewer development documents, trainer.fast_dev_run tries a batch of every part"
            raise SettingError(f"{name} is {value}, which would leave documents half annotated; leave it out ({remedy})")


def check_settings(model: pl.LightningModule, data: ExtractionDataModule, *, training: bool, precision: str) -> None:
    """Hold the tasks of the data against the model, and both against what the backbone is.

    Args:
        model: With its settings; nothing is loaded.
        data: With its tasks; nothing is read.
        training: Whether the model is to be trained.
        precision: The trainer's.

    Raises:
        SettingError: They do not fit.
    """
    for task in data.tasks.values():
        _check_task(model, task, data.tasks)
    for corpus in data.test_documents if isinstance(data.test_documents, dict) else ():
        if corpus not in (known := {*data.corpora, *data.corpora_left_out, *CORPORA}):  # one file may serve runs on several corpora
            raise SettingError(f"data.test_documents.{corpus}: no corpus of that name{did_you_mean(corpus, sorted(known))}")
    if training:
        data.split.check(data.corpora, data.corpora_left_out, data.tasks)
        data.mixing.check(data.corpora, data.tasks, data.corpora_left_out)
    for task in data.tasks.values():
        if isinstance(task, Instruction):
            asked = [source.corpus for source in data.sources if source.task == task.name]
            schemas = {corpus: data.corpora[corpus].view.all_types for corpus in asked}
            left_out = any(source.task == task.name for source in data.sources_left_out)
            task.demonstrations.check(schemas, training=training and not left_out)
            if task.demonstrations.shots and not data.split.shots:
                raise SettingError(
                    f"shot_demonstrations of {task.name} shows shots, but data.split.shots is 0; give data.split.held_out and"
                    " data.split.shots, or demonstrations: FILE"
                )
    headless = [source.corpus for source in data.sources if not data.split.teaches(*source)]
    if headless and not getattr(model, "fits_any_schema", True):
        raise SettingError(
            f"data.split.held_out names {', '.join(headless)}, but {type(model).__name__} has heads only for corpora that it learns from;"
            " give it shots (data.split.shots), leave it out of data.corpora, or take a reader or a generator (task/entity_reading,"
            " task/entity_instruction)"
        )
    name = getattr(model, "backbone_name", None)
    if name is None:
        return
    config = known_config(name)
    virtual = 0  # those of an encoder have positions of their own
    if isinstance(model, EncoderModule):
        for task in data.tasks.values():
            model.check(task, training=training, precision=precision)
    if isinstance(model, InstructionGenerator):
        _check_decoder(name, model, config, training=training)
        virtual = int(getattr(model.peft, "num_virtual_tokens", None) or 0)
    most = most_positions(config)
    front = int(getattr(getattr(model, "peft", None), "num_virtual_tokens", None) or 0)
    if most is not None and front > most:
        raise SettingError(f"peft.init_args.num_virtual_tokens is {front}, but {name} has {most} positions only; give fewer")
    for task in data.tasks.values():
        if most is not None and task.window > most - virtual:
            less = f", {virtual} of them for virtual tokens" if virtual else ""
            raise SettingError(f"the window of {task.name} is {task.window}, but {name} has {most} positions only{less}; lower the window")


def _check_task(model: pl.LightningModule, task: Task[Any], tasks: Collection[str]) -> None:
    """Make sure that the model does this task, and that together with the others."""
    kind = type(model).__name__
    if len(tasks) > 1 and not getattr(model, "mixes_tasks", True):
        raise SettingError(
            f"{kind} does one task, but data.tasks has {', '.join(tasks)}; leave out the -c task/NAME of all but one, or take the"
            " instructions of a generator (task/entity_instruction, task/relation_instruction)"
        )
    supported_tasks = getattr(model, "supported_tasks", None)
    if supported_tasks is not None and not isinstance(task, supported_tasks):
        others = f" (data.tasks has {', '.join(tasks)})" if len(tasks) > 1 else ""
        raise SettingError(f"{kind} does not do {type(task).__name__}; take both from one -c task/NAME{others}")
    decision = getattr(task, "decision", None)
    if decision != getattr(model, "decision", None):
        raise SettingError(f"{task.name} decides {decision}, but the model {getattr(model, 'decision', None)}; give both the same")


def _check_decoder(name: str, model: InstructionGenerator, config: PreTrainedConfig, *, training: bool) -> None:
    kind = config.get_text_config().model_type
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False):
        raise SettingError(
            f"{name} is an encoder ({kind}), which reads in both directions and cannot generate; give a decoder, or a task of encoders such"
            " as task/entity_tagging"
        )
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise SettingError(f"{name} is a {kind}, which transformers cannot load as a decoder; give a causal language model")
    if training and model.frozen_base and model.peft is None:
        raise SettingError(
            "the decoder is frozen and has no adapter, so nothing would be trained; add one (-c peft/lora), or freeze: false"
        )


def check_modes(settings: Mapping[str, Any]) -> None:
    """Make sure that a score is the better the higher it is, and a loss the lower: else the worst state would be kept.

    Args:
        settings: As plain values.

    Raises:
        SettingError: A mode that does not fit its monitor.
    """
    for part in ("checkpoints", "patience"):
        monitor, mode = settings.get(f"{part}.monitor"), settings.get(f"{part}.mode")
        wanted = "min" if str(monitor).endswith("/loss") else "max"
        if mode is not None and mode != wanted:
            better = f"less of {monitor} is better" if wanted == "min" else f"more of {monitor or 'a score'} is better"
            raise SettingError(f"{part}.mode is {mode}, but {better}; give --{part}.mode={wanted}")


def check_fixed_steps(data: ExtractionDataModule, settings: Mapping[str, Any]) -> None:
    """Make sure that a few-shot run is not stopped or chosen by notes beside its shots: it would have seen more than it says.

    Args:
        data: With its split.
        settings: As plain values.

    Raises:
        SettingError: Something would be decided by development documents, and there are none but those of corpora that are held out.

    Reference:
        Perez, Kiela, Cho, "True few-shot learning with language models", NeurIPS 2021.
    """
    if not data.split.shots or data.corpora_of("dev"):
        return
    choices = {name: settings.get(name) for name in ("patience.epochs", "checkpoints.monitor", "patience.monitor")}
    for name, value in choices.items():
        if value is not None and not str(value).startswith("train/"):
            raise SettingError(
                f"{name} is {value}, but all corpora are held out, and beside their {data.split.shots} shots are no notes to choose by;"
                " leave it out and give fixed steps (--trainer.max_steps=N), chosen on other corpora, or add a corpus that is not held out"
            )


def check_monitors(data: ExtractionDataModule, monitors: Mapping[str, str | None]) -> None:
    """Make sure that scores by which checkpoints are kept and runs are stopped are ones that are logged.

    Args:
        data: Whose corpora are scored; those held out have no development documents.
        monitors: Setting -> name of a score; None for the default one.

    Raises:
        SettingError: A name that is not logged.
    """
    known = {"train/loss", "dev/loss"}
    for source in data.sources_of("dev"):
        kind = data.tasks[source.task].finds
        known |= {f"dev/{mean}{score}" for mean, score in product(("", f"{SCORED[kind]}/"), AVERAGED)}
        prefixes = ["", *(f"types/{label}/" for label in TypeScore(kind, data.schema_of(source.corpus)).types)]
        known |= {f"dev/{source}/{SCORED[kind]}/{prefix}{score}" for prefix, score in product(prefixes, _SCORES)}
    for setting, monitor in monitors.items():
        if monitor is not None and monitor not in known:
            example = f"expected a score such as {monitored(task.finds for task in data.tasks.values())}"
            raise SettingError(f"{setting} is {monitor}, which is not logged; {example}{did_you_mean(monitor, known)}")
