"""The class of transformers that reads text for a configuration, and a small copy of it, to try things on before weights are loaded.

A copy has two layers, two heads, few words, few positions and narrow windows, and random weights of a size at which every part
matters. It knows nothing of where the real weights will lie, so that it is the same under every strategy and on all ranks.
"""

from __future__ import annotations

import copy
import inspect
import re
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForTextEncoding, PreTrainedConfig, PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.megatron_attention import use_fused_attention

WORDS, POSITIONS, WINDOW = 64, 32, 2
"""Of a small copy: its vocabulary, the length of its table of positions, and the one-sided width of its sliding windows."""
_DROPOUT_OF_STATES = re.compile(r"(?!classifier|summary|qa_|seq_classif|layer).*drop.*")
"""Settings that may be rates of dropout inside an encoder: not those of its heads, and not that of whole layers."""


def encoder_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class that gives a state to every sub-word: of T5 the encoder alone, of Funnel's two the one with the upper half.

    Raises:
        SettingError: There is none.
    """
    text: Any = AutoModelForTextEncoding._model_mapping
    both: Any = AutoModel._model_mapping
    mapping = text if type(config) in text else both
    if type(config) not in mapping or (mapping is both and config.is_encoder_decoder):
        what = "an encoder with a decoder, and transformers has no class for the first alone" if config.is_encoder_decoder else "no encoder"
        raise SettingError(f"a {config.model_type} is {what}; give a model that reads in both directions, such as a BERT")
    kind: Any = mapping[type(config)]
    found: type[PreTrainedModel] = kind[0] if isinstance(kind, tuple) else kind
    return found


def prepared(config: PreTrainedConfig, dropout: float | None = None) -> PreTrainedConfig:
    """A configuration as we load encoders with it.

    Args:
        config: It stays as it is.
        dropout: Replaces every rate of dropout of hidden states, attention and embeddings.
    """
    config = copy.deepcopy(config)
    if getattr(config, "attention_type", None) == "block_sparse":  # BigBird's switches itself off for good at the first short text
        config.attention_type = "original_full"
    if dropout is not None:
        for name, value in config.to_dict().items():
            if _DROPOUT_OF_STATES.fullmatch(name) and isinstance(value, int | float) and not isinstance(value, bool):
                setattr(config, name, dropout)
    return config


def loading_options(kind: type[PreTrainedModel]) -> dict[str, bool]:
    """What the class is told beside its configuration: an unused pooler would stop distributed training."""
    return {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}


def small_copy(config: PreTrainedConfig) -> PreTrainedModel:
    """A random model of the same class, in training mode, on the CPU; the state of the random numbers stays as it was.

    Raises:
        SettingError: There is no such class.
    """
    kind, small = encoder_class(config), _shrunk(config)
    try:
        return _random(kind, _narrowed(small))
    except Exception:  # an architecture whose widths depend on each other in its own way
        return _random(kind, small)


def _random(kind: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        made: Any = kind(config, **loading_options(kind))
        model: PreTrainedModel = made.float()
        use_fused_attention(model)
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.5)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
        model.train()
        with torch.no_grad():
            model(input_ids=torch.full((1, 4), WORDS - 1), attention_mask=torch.ones(1, 4, dtype=torch.long))
    return model


def _narrowed(config: PreTrainedConfig) -> PreTrainedConfig:
    """Two heads of their own width."""
    narrow = copy.deepcopy(config)
    heads, width = narrow.num_attention_heads, narrow.hidden_size
    if isinstance(heads, int) and heads > 2 and width % heads == 0:
        narrow.num_attention_heads, narrow.hidden_size = 2, 2 * (width // heads)
        if getattr(narrow, "num_key_value_heads", None):
            narrow.num_key_value_heads = 2
        for name in ("intermediate_size", "embedding_size"):
            value = getattr(narrow, name, None)
            if isinstance(value, int):
                setattr(narrow, name, max(8, value * narrow.hidden_size // width))
    return narrow


def _shrunk(config: PreTrainedConfig) -> PreTrainedConfig:
    small = copy.deepcopy(config)
    small.vocab_size = WORDS
    for name, value in small.to_dict().items():
        if name.endswith("_token_id") and isinstance(value, int) and value >= WORDS:
            setattr(small, name, 0)
    kinds = list(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    if kinds:
        small.layer_types = [*kinds, *kinds][: max(2, len(kinds))]
    layers = max(2, len(kinds))
    if isinstance(getattr(small, "block_sizes", None), list):  # Funnel counts its layers in blocks
        small.block_sizes = [1] * len(small.block_sizes)
        small.block_repeats = [1] * len(small.block_sizes)
    elif isinstance(getattr(small, "num_hidden_layers", None), int):
        small.num_hidden_layers = layers
    if getattr(small, "attention_window", None):
        small.attention_window = [2 * WINDOW] * layers
    if isinstance(getattr(small, "sliding_window", None), int):
        small.sliding_window = WINDOW
    if isinstance(getattr(small, "max_position_embeddings", None), int) and small.max_position_embeddings > POSITIONS:
        small.max_position_embeddings = POSITIONS
    return small
