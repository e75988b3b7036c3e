"""The training batch that settings allow: its rows, their width, and what of it is learned."""

from __future__ import annotations

from typing import Any

from clinical_ie.commands.memory_simulation import Step
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.models.base_dtype import chosen_dtype
from clinical_ie.models.folders import known_config
from clinical_ie.modules import InstructionGenerator
from clinical_ie.modules.tuned_module import TunedModule

_LEARNED = 0.4
"""Share of a decoder's tokens that are responses: inline ones repeat the text of their prompt, behind a shared prefix."""


def step_of(module: TunedModule, data: ExtractionDataModule, precision: str) -> Step:
    """A full batch of the longest rows, as the data makes them.

    Decoders have one row of the whole budget where examples are packed; else, as encoders do, as many rows of a window's width as the
    budget holds, and one at least.

    Args:
        module: With its settings.
        data: Nothing of it is read.
        precision: The trainer's.
    """
    budget = data.batch_budget
    window = max(task.window for task in data.tasks.values())
    if isinstance(module, InstructionGenerator) and data.packing:
        rows, width = 1, budget
    else:
        width = min(window, budget) if budget >= window else window
        rows = max(1, budget // width)
    dtype = chosen_dtype(module.base_dtype, frozen=module.freezes, precision=precision)
    return Step(rows, width, max(1, int(rows * width * _LEARNED)), precision, dtype)


def cache_bytes(module: TunedModule, data: ExtractionDataModule, step: Step) -> int:
    """Bytes of keys and values of a full batch of completions, each as long as the window and what may be written behind it.

    Args:
        module: Encoders generate nothing.
        data: Whose windows bound prompts.
        step: For the type in which a device computes.
    """
    if not isinstance(module, InstructionGenerator):
        return 0
    config: Any = known_config(module.backbone_name).get_text_config()
    layers, heads = getattr(config, "num_hidden_layers", None), getattr(config, "num_attention_heads", None)
    if not isinstance(layers, int) or not isinstance(heads, int):
        return 0
    keys = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    tokens = max(task.window for task in data.tasks.values())
    itemsize = 2 if "16" in step.precision else 4
    return int(2 * layers * keys * width * tokens * module.batch_size * itemsize)
