"""Loading of pretrained decoders (Llama, Gemma, GPT-2 and kin) from the hub, a folder, a package or a GGUF file."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.base_dtype import hold_in_bfloat16, loading_in
from clinical_ie.models.folders import cannot_load, known_config, locate
from clinical_ie.models.quantization import Quantized, loading_options, stay_trainable

_DROPOUT = re.compile(r"((attention|attn|activation|resid|residual|emb|embd|embed|embedding|hidden|ffn)_)?(probs_)?(dropout|pdrop)(_prob)?")
"""Settings that are rates of dropout inside the layers and embeddings; not those of heads, and not of whole layers."""


def load_decoder(
    name: str, *, dropout: float | None = None, quantized: Quantized | None = None, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """A pretrained causal language model in training mode, in full precision or with linear layers in less.

    Args:
        name: Hub name, local folder, GGUF file, or ``package:NAME/FOLDER``.
        dropout: Replaces the dropout of the architecture.
        quantized: How few bits a weight of a linear layer has; None for full precision.
        dtype: Of weights that autocast rounds; bfloat16 for a base that stays frozen, see `base_dtype`.

    Raises:
        SettingError: Nothing that transformers can load as a decoder, a pickle that is more than tensors, missing weights, or an
            architecture without the dropout that was given.
    """
    folder, config = locate(name), copy.deepcopy(known_config(name))
    try:
        if dropout is not None:
            _set_dropout(name, config.get_text_config(), dropout)
        config.use_cache = False  # generation asks for a cache; with one by default, packed examples leak into each other
        with loading_in(dtype if quantized is None else torch.float32, name):  # few bits are those of the weights as they are stored
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, config=config, dtype=torch.float32, trust_remote_code=False, weights_only=True, output_loading_info=True,
                **({} if quantized is None else loading_options(quantized)),
            )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise cannot_load(name, "a decoder", error) from error
    model: PreTrainedModel = loaded[0]
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if model.config.tie_word_embeddings else set()
    if missing := sorted(set(loaded[1]["missing_keys"]) - tied):
        raise SettingError(f"{name}: the checkpoint lacks {len(missing)} weights of the decoder, such as {missing[0]}")
    if quantized is not None:
        stay_trainable(model)
    if dtype == torch.bfloat16:
        hold_in_bfloat16(model)
    model.train()  # from_pretrained returns evaluation mode, and Lightning leaves it there
    return model


def _set_dropout(name: str, config: PreTrainedConfig, dropout: float) -> None:
    """Set the rates of dropout in a configuration and in those inside it (MPT's attention)."""
    inner = [value for value in vars(config).values() if isinstance(value, PreTrainedConfig)]
    found = [(each, key) for each in (config, *inner) for key in vars(each) if _DROPOUT.fullmatch(key)]
    if not found and dropout:
        raise SettingError(f"backbone_dropout is {dropout}, but {name} ({config.model_type}) has no dropout; leave it out")
    for each, key in found:
        try:
            setattr(each, key, dropout)
        except StrictDataclassError as error:  # MPT's is declared as a whole number
            raise SettingError(f"{name} ({config.model_type}) takes no backbone_dropout of {dropout} as its {key}; leave it out") from error


def parts_beside_text(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The parts that no text reaches (the vision tower of Gemma 3 and MedGemma), by name; they can be neither trained nor adapted."""
    language = [part for part in (cast("Any", model).get_decoder(), cast("Any", model).get_output_embeddings()) if part is not None]
    found: dict[str, nn.Module] = {}
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    while waiting:
        name, module = waiting.pop()
        inner = list(module.modules())
        if any(part is module for part in language):
            continue
        if name and not any(part is each for part in language for each in inner):
            found |= {name: module} if any(True for _ in module.parameters()) else {}
            continue
        waiting += [(f"{name}.{child}".strip("."), part) for child, part in module.named_children()]
    return found
