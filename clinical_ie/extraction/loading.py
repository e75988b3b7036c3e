"""Loading of a trained run, or of a pipeline, for extraction: nothing of its training data is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import torch
from transformers.utils import logging as hf_logging

from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.data.tokenization import Subwords
from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.extraction.extractor import Extractor
from clinical_ie.extraction.stage import Stage
from clinical_ie.extraction.trained_run import TrainedRun, check_backbone, stage_runs
from clinical_ie.models.base_dtype import computes_in_bfloat16, hold_in_bfloat16
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.encoder_probe import EncoderProbe
from clinical_ie.models.folders import known_config
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.modules.instruction_generator import InstructionGenerator
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.schema import Schema
from clinical_ie.tasks.nothing_to_find import ASKS, nothing_to_find
from clinical_ie.tasks.task import Source, Task

Precision = Literal["auto", "bf16", "32"]
_BATCH_BUDGET = {"cpu": 2048, "cuda": 32768}
"""Most sub-words of a batch by kind of device, where none is given: what keeps its caches or its cores busy."""


def load(
    run: str | Path,
    relations: str | Path | None = None,
    *,
    corpus: str | None = None,
    backbone: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    batch_budget: int | None = None,
) -> Extractor:
    """A trained model that finds in texts what it has learned to find.

    Args:
        run: The folder of a run, or of a pipeline of an entity model and those that link its mentions and say their attributes.
        relations: The folder of a run that links the mentions which the first finds, or says their attributes.
        corpus: Of a run that learned from several, the one whose types are wanted.
        backbone: Where the pretrained model lies now, if not where it lay in training.
        device: Such as ``cpu`` or ``cuda:1``; by default a GPU where there is one.
        precision: ``bf16``, ``32``, or ``auto``: bfloat16 where device and model compute in it.
        batch_budget: Most sub-words of a batch.

    Raises:
        SettingError: No finished run, one that cannot be asked alone, a corpus that it does not know, or a backbone that nothing needs.

    Example:
        >>> extractor = load("runs/x")  # doctest: +SKIP
        >>> document = extractor("Started aspirin daily.")  # doctest: +SKIP
    """
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    loaded: dict[Path, TunedModule] = {}
    stages = []
    asked = _asked(run, relations, corpus)
    check_backbone([trained for trained, *_ in asked], backbone)
    for trained, task, name, schema in asked:
        if trained.folder not in loaded:
            loaded[trained.folder] = _prepared(trained, backbone if trained.needs_base else None, place, precision)
        model = loaded[trained.folder]
        encoder = (ChatTokenizer if isinstance(model, InstructionGenerator) else Subwords)(model.backbone_name)
        bf16 = _in_bfloat16(model, place, precision)
        budget = batch_budget or _BATCH_BUDGET.get(place.type, 8192)
        stages.append(Stage(model, task, Source(name, schema, encoder), bf16, budget))
    return Extractor(stages, str(run))


def identity(run: str | Path, relations: str | Path | None = None, *, corpus: str | None = None) -> list[str]:
    """What tells a model from another without loading it: of each stage its run, the step of its weights, its task and the corpus."""
    found = []
    for trained, task, name, _ in _asked(run, relations, corpus):
        settings = repr(trained.setting("data", "tasks"))
        digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
        found.append(f"{trained.identity}, {task.name} {digest}, {name}")
    return found


def _asked(run: str | Path, relations: str | Path | None, corpus: str | None) -> list[tuple[TrainedRun, Task[Any], str, Schema]]:
    """Of each stage its run, its task, and the corpus whose types it finds, with its schema."""
    runs = stage_runs(run)
    if relations is not None:
        if len(runs) > 1:
            raise SettingError(f"{run} is a pipeline that links mentions already; give its entity run, or leave out {relations}")
        runs += stage_runs(relations)
    chosen = _chosen(runs)
    return [(*one, *named) for one, named in zip(chosen, _schemas(chosen, corpus), strict=True)]


def _chosen(runs: list[TrainedRun]) -> list[tuple[TrainedRun, Task[Any]]]:
    """The task that finds mentions and, where there are any, the tasks that link them and say their attributes, each with its run.

    Raises:
        SettingError: Nothing finds mentions, or a run of a pipeline has nothing to say of them.
    """
    finding = [(runs[0], task) for task in runs[0].tasks if not task.needs_mentions]
    if not finding:
        raise SettingError(
            f"{runs[0].folder} only {ASKS[runs[0].tasks[0].finds]} ({runs[0].tasks[0].name}); give the run of an entity model and"
            " this one as --relations"
        )
    following: dict[str, tuple[TrainedRun, Task[Any]]] = {}
    for run in runs:
        asked = [task for task in run.tasks if task.needs_mentions]
        if run is not runs[0] and not asked:
            raise SettingError(f"{run.folder} links no mentions ({run.tasks[0].name}); give the run of a relation model")
        following |= {task.finds: (run, task) for task in reversed(asked)}  # of several tasks of a run the first one
    # mentions to be linked come from a task that finds nothing else; without a second task the one that finds most is asked
    finding.sort(key=lambda each: each[1].finds != ("entities" if "relations" in following else "relations"))
    return [finding[0], *(following[kind] for kind in ("relations", "attributes") if kind in following)]


def _schemas(chosen: list[tuple[TrainedRun, Task[Any]]], corpus: str | None) -> list[tuple[str, Schema]]:
    """The corpus whose types each stage finds, with its schema.

    Raises:
        SettingError: It is not known to all stages, or not said where there are several; or a stage cannot take up another's types.
    """
    of_each = []
    for trained, task in chosen:
        known = {name: Schema.from_dict(given) for name, given in trained.schemas.items()}
        of_each.append({name: schema for name, schema in known.items() if not nothing_to_find(task, schema)})
    shared = [name for name in of_each[0] if all(name in known for known in of_each)]
    if corpus is None and len(shared) == 1:
        corpus = shared[0]
    elif corpus is None and not shared and all(len(known) == 1 for known in of_each):
        pass  # two runs that call their corpora differently; their types tell whether they fit
    elif corpus is None:
        raise SettingError(f"{chosen[0][0].folder} has learned from {', '.join(shared) or 'no common corpus'}; choose one with --corpus")
    elif corpus not in shared:
        raise SettingError(f"no corpus {corpus} in {chosen[0][0].folder}, but {', '.join(shared)}{did_you_mean(corpus, shared)}")
    found = [(corpus, known[corpus]) if corpus is not None else next(iter(known.items())) for known in of_each]
    for (trained, _), (_, schema) in list(zip(chosen, found, strict=True))[1:]:
        if strange := sorted(set(found[0][1].entity_names) - set(schema.entity_names)):
            raise SettingError(
                f"{chosen[0][0].folder} finds mentions of {', '.join(strange)}, which {trained.folder} does not know; give runs that were"
                " trained for the same types"
            )
    return found


def _prepared(trained: TrainedRun, backbone: str | None, device: torch.device, precision: Precision) -> TunedModule:
    """A model on its device, its weights held in what they are computed in."""
    changed = {} if backbone is None else {"backbone": backbone}
    with _without_reports():
        model = cast("TunedModule", trained.model(**changed))
    model.requires_grad_(False)
    if isinstance(model, InstructionGenerator):
        model.keeps_queue = True
    elif device.type == "cpu":
        cast("Encoder", model.backbone).use_packing()
    if isinstance(model, EncoderModule) and _in_bfloat16(model, device, precision):
        hold_in_bfloat16(model.backbone.base)  # what autocast would round for every batch anew
    return model.to(device)


@contextmanager
def _without_reports() -> Iterator[None]:
    """While it is active, transformers neither shows a bar for weights that are mapped in no time nor lists those that are left out."""
    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)
        if shown:
            hf_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _in_bfloat16(model: TunedModule, device: torch.device, precision: Precision) -> bool:
    if precision != "auto":
        return precision == "bf16"
    if not computes_in_bfloat16(device.type):
        return False
    if not isinstance(model, EncoderModule):
        return True
    return EncoderProbe(model.backbone_name, known_config(model.backbone_name)).computes_in("bf16-mixed")
