"""The default floating-point precision of a run."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from clinical_ie.models.base_dtype import computes_in_bfloat16
from clinical_ie.models.encoder_probe import EncoderProbe
from clinical_ie.models.folders import known_config
from clinical_ie.modules.encoder_module import EncoderModule

_LOG = logging.getLogger(__name__)


def default_precision(accelerator: str, model: Any) -> str:
    """bfloat16 for what loses nothing by it, where device and backbone compute in it; else 32 bits.

    Args:
        accelerator: The trainer's.
        model: Settings of the model: its class path and arguments.

    Raises:
        SettingError: The model's backbone is nowhere.
    """
    if not computes_in_bfloat16(accelerator):
        return "32-true"
    module, _, name = model.class_path.rpartition(".")
    backbone = model.init_args.get("backbone")
    if not backbone or not issubclass(getattr(import_module(module), name), EncoderModule):
        return "bf16-mixed"
    if EncoderProbe(backbone, known_config(backbone)).computes_in("bf16-mixed"):
        return "bf16-mixed"
    rank_zero_only(_LOG.info)(f"trainer.precision is 32-true, for {backbone} cannot be trained in bf16-mixed")
    return "32-true"
