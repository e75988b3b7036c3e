"""Loading of pretrained encoders (BERT, GatorTron, SpanBERT and kin) from the hub, a folder or a package."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.base_dtype import hold_in_bfloat16, loading_in
from clinical_ie.models.encoder_classes import encoder_class, loading_options, prepared
from clinical_ie.models.folders import cannot_load, known_config, locate
from clinical_ie.models.megatron_attention import use_fused_attention


def load_encoder(name: str, *, dropout: float | None = None, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A pretrained encoder without pooler, in training mode and full precision, or with what autocast rounds in bfloat16.

    Args:
        name: Hub name, local folder, or ``package:NAME/FOLDER``.
        dropout: Replaces every rate of dropout of hidden states, attention and embeddings.
        dtype: Of weights that autocast rounds; bfloat16 for a base that stays frozen, see `base_dtype`.

    Raises:
        SettingError: Nothing that transformers can load under that name, a pickle that is more than tensors, or a
            checkpoint that lacks weights of the encoder (transformers would leave those at random values).
    """
    folder, config = locate(name), prepared(known_config(name), dropout)
    kind: Any = encoder_class(config)
    try:
        model: PreTrainedModel
        with loading_in(dtype, name):
            model, report = kind.from_pretrained(
                folder, config=config, dtype=torch.float32, weights_only=True, output_loading_info=True, **loading_options(kind)
            )
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise cannot_load(name, "an encoder", error) from error
    if missing := sorted(report["missing_keys"]):
        raise SettingError(f"{name}: the checkpoint lacks {len(missing)} weights of the encoder, such as {missing[0]}")
    use_fused_attention(model)
    if dtype == torch.bfloat16:
        hold_in_bfloat16(model)
    model.train()  # from_pretrained returns evaluation mode, and Lightning leaves it there
    return model
