"""What people see in TensorBoard: curves in groups that fit on a screen, charts that compare, a table of what was tried.

TensorBoard groups curves by what stands before the first slash of their names. Scores are known elsewhere (``--checkpoints.monitor``) as
``dev/CORPUS/TASK/entities/types/TYPE/strict_f1``, which would put hundreds of curves into one group; here they get names of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from clinical_ie.callbacks.metrics import SCORED
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.tasks.task import SourceName

_SCORE = re.compile(r"dev/(?P<source>.+?)/(?P<kind>entities|links|attributes)/(?:types/(?P<type>.+)/)?(?P<metric>[a-z]+_[a-z0-9]+)")
_CALIBRATION = re.compile(r"dev/(?P<source>.+)/calibration/(?P<name>[a-z_]+)")
Layout = dict[str, dict[str, list[Any]]]
"""Of TensorBoard's custom scalars: category -> chart -> its kind and patterns of the curves on it."""
_SHOWN_SETTINGS = re.compile(
    r"model\.(class_path|init_args\..+)|data\.batch_budget|data\.(split|mixing)\..+|data\.tasks\.\d+\.init_args\.(window|overlap|response_format)"
    r"|trainer\.(max_epochs|max_steps|precision|accumulate_grad_batches|gradient_clip_val|strategy|devices|num_nodes)|seed_everything"
)
_CLASSES = re.compile(r"data\.(corpora|tasks)\.\d+\.class_path")


def tag_of(name: str) -> str:
    """The name of a curve in TensorBoard.

    Example:
        >>> tag_of("dev/demo/entity_tagging/entities/strict_f1")
        'dev, demo, entity_tagging/strict_f1'
        >>> tag_of("dev/demo/entity_tagging/entities/types/Drug/strict_f1")
        'types, demo, entity_tagging/strict_f1/Drug'
        >>> tag_of("dev/entities/strict_f1"), tag_of("train/loss"), tag_of("lr-AdamW/head")
        ('dev/entities/strict_f1', 'train/loss', 'learning rate/AdamW/head')
    """
    if name.startswith("lr-"):
        return f"learning rate/{name.removeprefix('lr-')}"
    if match := _CALIBRATION.fullmatch(name):
        return f"dev, {match['source'].replace('/', ', ')}/{match['name']}"
    if not (match := _SCORE.fullmatch(name)):
        return name
    source = match["source"].replace("/", ", ")
    return f"types, {source}/{match['metric']}/{match['type']}" if match["type"] else f"dev, {source}/{match['metric']}"


class GroupedTensorBoard(TensorBoardLogger):
    """Lightning's logger with the names of `tag_of`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log scalars under the names that group them."""
        super().log_metrics({tag_of(name): value for name, value in metrics.items()}, step)


class Board(pl.Callback):
    """Lays out TensorBoard's page of custom scalars: losses, means, and the curves of all types on one chart."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the layout."""
        logger = trainer.logger
        if trainer.is_global_zero and isinstance(logger, GroupedTensorBoard):
            data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
            kinds = {source: SCORED[data.tasks[source.task].finds] for source in data.inputs.get("dev", {})}
            logger.experiment.add_custom_scalars(layout_of(kinds))


def layout_of(kinds: Mapping[SourceName, str]) -> Layout:
    """The layout for the corpora and tasks that development scores are of, and what they call what they find."""

    def chart(*patterns: str) -> list[Any]:
        return ["Multiline", list(patterns)]

    means = sorted({f"dev/{kind}/" for kind in kinds.values()} | {"dev/"})
    layout: Layout = {
        "overview": {
            "loss": chart("train/loss$", "dev/loss$"),
            "strict F1, means": chart(*(re.escape(mean) + "strict_f1$" for mean in means)),
            "strict F1 of each corpus and task": chart("dev, .*/strict_f1$"),
            "lenient F1 of each corpus and task": chart("dev, .*/lenient_f1$"),
            "learning rate": chart("learning rate/"),
        }
    }
    for source in kinds:
        name = ", ".join(str(source).split("/"))
        layout[f"types of {name}"] = {
            f"{title} by type": chart(re.escape(f"types, {name}/{metric}/"))
            for title, metric in (
                ("strict F1", "strict_f1"),
                ("strict precision", "strict_precision"),
                ("strict recall", "strict_recall"),
                ("lenient F1", "lenient_f1"),
            )
        }
        layout[f"{name}: precision and recall"] = {
            mode: chart(*(re.escape(f"dev, {name}/{mode}_") + f"{ratio}$" for ratio in ("precision", "recall", "f1")))
            for mode in ("strict", "lenient")
        }
    return layout


def hyper_parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a comparison of runs is about, of all settings by their dotted names; paths and switches of logs are not.

    Example:
        >>> hyper_parameters({"model.init_args.learning_rate": 0.1, "run_dir": "runs/x", "model.init_args.peft": None})
        {'model/learning_rate': 0.1}
    """
    given = {name: value for name, value in settings.items() if value is not None}
    found = {name: value for name, value in given.items() if _SHOWN_SETTINGS.fullmatch(name)}
    for name, value in given.items():
        if match := _CLASSES.fullmatch(name):
            found[match[1]] = ", ".join([*filter(None, [found.get(match[1])]), value])
    plain = {name: re.sub(r"\b[\w.]+\.(?=[A-Z])", "", value) if isinstance(value, str) else value for name, value in found.items()}
    return {re.sub(r"init_args\.|\.class_path", "", name).replace(".", "/"): value for name, value in plain.items()}


def best_metrics(monitored: Iterable[tuple[str, float | None]], tested: Mapping[str, Any]) -> dict[str, float]:
    """What the table of hyper-parameters shows of a run: the best development scores, and test scores.

    Args:
        monitored: Names and values of the scores that the best checkpoint is chosen by.
        tested: Corpus -> task -> `Entry` of the test.
    """
    found = {f"best/{name}": value for name, value in monitored if value is not None}
    for corpus, tasks in tested.items():
        for task, entry in tasks.items():
            for kind in entry.kinds:
                for mode, averages in entry.scores[kind].items():
                    found[f"test/{corpus}/{task}/{SCORED[kind]}/{mode}_f1"] = averages.micro.f1
                found[f"test/{corpus}/{task}/{SCORED[kind]}/strict_macro_f1"] = entry.scores[kind]["strict"].macro["f1"]
            if entry.overall is not None:
                found[f"test/{corpus}/{task}/overall_f1"] = entry.overall.f1
    return found
