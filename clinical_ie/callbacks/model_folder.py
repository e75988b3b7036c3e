"""A generator's checkpoint as a Hugging Face folder: the adapter as PEFT reads it, or the whole model as transformers and vLLM read it.

Both are written from the checkpoint's file, which is mapped into memory: no rank needs the weights, no strategy has to gather them, and of
a whole model no more than a shard of the folder is in memory at a time.
"""

from __future__ import annotations

import copy
import logging
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel, PromptLearningConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from clinical_ie.files import writing_folder
from clinical_ie.models.folders import base_of
from clinical_ie.modules import InstructionGenerator
from clinical_ie.strategies.checkpoint import Checkpoint

_LOG = logging.getLogger(__name__)
ADAPTER = "adapter"
"""Folder of the best adapter, beside its checkpoint."""
MODEL = "model"
"""Folder of the best model of a run that trains all weights."""
_PREFIX = "backbone.model."
_SHARD = "2GB"
_PROMPTS = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")


def folder_name(module: Any) -> str | None:
    """How the folder is called that holds all that a run trains; None where no folder does.

    An encoder's heads are of no class of transformers. Adapters beside a trained base are in no adapter folder, and in no model's before
    they are merged (``clinical-ie export --merge``).
    """
    if not isinstance(module, InstructionGenerator):
        return None
    if module.peft is None:
        return None if module.freezes else MODEL
    return ADAPTER if module.freezes else None


def remove_folders(place: Path) -> None:
    """Take away what belongs to a checkpoint that is about to be replaced."""
    for name in (ADAPTER, MODEL):
        shutil.rmtree(place / name, ignore_errors=True)


def write_folder(module: InstructionGenerator, checkpoint: Checkpoint) -> Path | None:
    """Write the folder beside a checkpoint, on one rank: where it is; None where there is none for such a run.

    Args:
        module: Which wrote the checkpoint, under any strategy; of its weights nothing is read.
        checkpoint: One file.

    Raises:
        RunError: The disk is full.
        InputError: The folder cannot be written.
    """
    name, model = folder_name(module), module.backbone.model
    if name is None:
        return None
    state = {key.removeprefix(_PREFIX): value for key, value in checkpoint.weights().items() if key.startswith(_PREFIX)}
    folder = checkpoint.path.with_name(name)
    if isinstance(model, PeftModel):
        adapter = _adapter(model, state)
        if adapter is None:
            _LOG.info("no folder of the best adapter: clinical-ie export writes it")
            return None
        with writing_folder(folder) as partial:
            save_file(adapter, partial / "adapter_model.safetensors", metadata={"format": "pt"})
            config = copy.deepcopy(model.peft_config[model.active_adapter])
            config.base_model_name_or_path, config.inference_mode = base_of(module.backbone_name), True
            config.save_pretrained(str(partial))
        return folder
    with writing_folder(folder) as partial:
        _write_whole(model, state, partial)
        module.subwords.tokenizer.save_pretrained(str(partial))
    return folder


def _adapter(model: PeftModel, state: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """The weights of an adapter by the names that PEFT gives them in files; None of a kind whose weights are computed in its own way."""
    name = model.active_adapter
    config = model.peft_config[name]
    if isinstance(config, PromptLearningConfig):
        return {"prompt_embeddings": _virtual_tokens(model, state)} if config.peft_type in _PROMPTS else None
    held = {**dict(model.named_buffers()), **state}  # shared projections (VeRA) are buffers
    with torch.no_grad():
        found = get_peft_model_state_dict(model, state_dict=held, adapter_name=name, save_embedding_layers=False)
    return {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in found.items()}


@torch.no_grad()
def _virtual_tokens(model: PeftModel, state: dict[str, Tensor]) -> Tensor:
    """The embeddings of a soft prompt or a prefix, as they are after whatever computes them in training."""
    name = model.active_adapter
    config = cast("PromptLearningConfig", model.peft_config[name])
    encoder = _with_weights(model.prompt_encoder[name], state, f"prompt_encoder.{name}.").eval()
    tokens = cast("Any", model.prompt_tokens)[name].cpu()
    if config.peft_type == "PREFIX_TUNING":
        tokens = tokens[: config.num_virtual_tokens]
    return cast("Tensor", encoder(tokens.unsqueeze(0))[0]).contiguous()


def _with_weights(module: nn.Module, state: dict[str, Tensor], prefix: str) -> nn.Module:
    """A module with weights of a state, without the hooks by which a strategy would gather its own."""
    copied = copy.copy(module)
    copied.__dict__ |= {key: OrderedDict() for key, value in vars(module).items() if key.endswith("_hooks") and isinstance(value, dict)}
    copied._parameters = {name: nn.Parameter(state[prefix + name].cpu(), requires_grad=False) for name in module._parameters}
    copied._modules = {
        name: None if child is None else _with_weights(child, state, f"{prefix}{name}.") for name, child in module._modules.items()
    }
    if isinstance(copied, nn.RNNBase):
        copied._flat_weights = [getattr(copied, name) for name in copied._flat_weights_names]
    return copied


def _write_whole(model: PreTrainedModel, state: dict[str, Tensor], folder: Path) -> None:
    """Weights in shards, by the names of the model's own files, and settings that allow a cache in generation."""
    own, shows_bars = model.config, is_progress_bar_enabled()
    disable_progress_bar()  # type: ignore[no-untyped-call] # in the log of a job it would be a line for each shard, at each new best
    model.config = copy.deepcopy(own)
    model.config.use_cache = model.config.get_text_config().use_cache = True
    try:
        model.save_pretrained(str(folder), state_dict=state, max_shard_size=_SHARD)
    finally:
        model.config = own
        if shows_bars:
            enable_progress_bar()  # type: ignore[no-untyped-call]
