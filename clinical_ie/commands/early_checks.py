"""Settings that could only fail late, checked before anything is trained."""

from __future__ import annotations

import lightning.pytorch as pl

from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.errors import SettingError
from clinical_ie.models.folders import load_config, locate


def check_settings(model: pl.LightningModule, data: ExtractionDataModule) -> None:
    """Hold the task of the data against the model, and its window against the model's positions.

    Raises:
        SettingError: They do not fit.
    """
    supported_tasks = getattr(model, "supported_tasks", None)
    if supported_tasks is not None and not isinstance(data.task, supported_tasks):
        raise SettingError(f"{type(model).__name__} does not do {type(data.task).__name__}; take both from one -c task/NAME")
    decision = getattr(data.task, "decision", None)
    if decision != getattr(model, "decision", None):
        raise SettingError(f"data.task decides {decision}, but the model {getattr(model, 'decision', None)}; give both the same")
    name = getattr(model, "backbone_name", None)
    if name is not None:
        config = load_config(locate(name))
        most = getattr(config, "max_position_embeddings", None)
        if most and "roberta" in config.model_type:  # counts positions from behind its padding id
            most -= config.pad_token_id + 1
        if most and data.task.window > most:
            raise SettingError(f"data.task.window is {data.task.window}, but {name} has {most} positions only")
