"""Loading of pretrained encoders (BERT, GatorTron, SpanBERT and kin) from the hub, a folder or a package."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModel, PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.folders import cannot_load, known_config, locate
from clinical_ie.models.megatron_attention import use_fused_attention


def load_encoder(name: str, *, dropout: float | None = None) -> PreTrainedModel:
    """A pretrained encoder without pooler, in training mode and full precision.

    Args:
        name: Hub name, local folder, or ``package:NAME/FOLDER``.
        dropout: Replaces the dropout of hidden states and attention where the architecture names it.

    Raises:
        SettingError: Nothing that transformers can load under that name, a pickle that is more than tensors, or a
            checkpoint that lacks weights of the encoder (transformers would leave those at random values).
    """
    folder, config = locate(name), copy.deepcopy(known_config(name))
    try:
        if dropout is not None:
            for key in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
                if hasattr(config, key):
                    setattr(config, key, dropout)
        options = {}
        kind: Any = AutoModel._model_mapping[type(config)]
        kind = kind[0] if isinstance(kind, tuple) else kind  # of Funnel's two the first gives every sub-word a state
        if "add_pooling_layer" in inspect.signature(kind).parameters:  # an unused pooler would stop distributed training
            options["add_pooling_layer"] = False
        model: PreTrainedModel
        model, report = kind.from_pretrained(
            folder, config=config, dtype=torch.float32, weights_only=True, output_loading_info=True, **options
        )
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise cannot_load(name, "an encoder", error) from error
    if missing := sorted(report["missing_keys"]):
        raise SettingError(f"{name}: the checkpoint lacks {len(missing)} weights of the encoder, such as {missing[0]}")
    use_fused_attention(model)
    model.train()  # from_pretrained returns evaluation mode, and Lightning leaves it there
    return model
