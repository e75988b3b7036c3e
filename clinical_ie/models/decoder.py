"""A pretrained decoder (causal language model) with parameter-efficient adapters, explicit attention masks and positions.

The attention mask always says for each token which keys it attends to, beside explicit position ids: rows may be packed with several
examples (block-diagonal attention behind a shared prefix) and padding may stand anywhere, and no architecture can misread that.

References: Krell et al., Efficient sequence packing without cross-contamination (2021); Hu et al., LoRA (ICLR 2022); Lester et al., Prompt
tuning (EMNLP 2021); Li & Liang, Prefix-tuning (ACL 2021).

Shape legend: ``B`` rows, ``L`` tokens, ``T`` keys (tokens in the cache and new ones), ``H`` hidden, ``V`` virtual tokens.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any, cast

import torch
from peft import PeftConfig, PeftModel, PromptLearningConfig, get_peft_model
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, Cache, PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.base_identity import BaseIdentity
from clinical_ie.models.folders import cannot_load, known_config, locate
from clinical_ie.models.quantization import Quantized, loading_options


def load_decoder(name: str, *, dropout: float | None = None, quantized: Quantized | None = None) -> PreTrainedModel:
    """A pretrained causal language model in training mode, in full precision or with linear layers in less.

    Args:
        name: Hub name, local folder, GGUF file, or ``package:NAME/FOLDER``.
        dropout: Replaces the dropout of attention where the architecture names it.
        quantized: How few bits a weight of a linear layer has; None for full precision.

    Raises:
        SettingError: Nothing that transformers can load as a decoder, a pickle that is more than tensors, or missing weights.
    """
    folder, config = locate(name), copy.deepcopy(known_config(name))
    try:
        if dropout is not None:
            for key in ("attention_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout"):
                if hasattr(config, key):
                    setattr(config, key, dropout)
        config.use_cache = False  # generation asks for a cache; with one by default, packed examples leak into each other
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
    model.train()  # from_pretrained returns evaluation mode, and Lightning leaves it there
    return model


class Decoder(nn.Module):
    """Hidden states of tokens under any attention mask, and the logits of the vocabulary.

    Args:
        name: Hub name, local folder, GGUF file, or ``package:NAME/FOLDER``.
        peft: Parameter-efficient tuning; None for none.
        freeze: Freeze the backbone's own weights; by default where there is an adapter.
        dropout: Replaces the backbone's own.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, more time.
        quantized: How few bits a weight of a frozen linear layer has; None for full precision.
    """

    def __init__(
        self,
        name: str,
        *,
        peft: PeftConfig | None = None,
        freeze: bool | None = None,
        dropout: float | None = None,
        gradient_checkpointing: bool = False,
        quantized: Quantized | None = None,
    ) -> None:
        super().__init__()
        self.freeze = peft is not None if freeze is None else freeze
        if quantized is not None and not self.freeze:
            raise SettingError(f"weights in {quantized} cannot be trained; give an adapter and leave them frozen")
        base = load_decoder(name, dropout=dropout, quantized=quantized)
        self.identity = BaseIdentity.of(name, base) if self.freeze else None
        own = set(base.parameters())
        if gradient_checkpointing:
            if isinstance(peft, PromptLearningConfig) and peft.peft_type == "PREFIX_TUNING":
                raise SettingError(
                    "prefix tuning works through cached keys, which gradient checkpointing recomputes; switch one of them off"
                )
            # the reentrant kind gives no gradients to adapters above a frozen embedding (transformers issue #42489)
            base.gradient_checkpointing_enable(  # type: ignore[no-untyped-call]
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        if peft is not None:
            peft = copy.deepcopy(peft)
            peft.task_type = "CAUSAL_LM"
        try:
            self.model: PreTrainedModel | PeftModel = base if peft is None else cast("PeftModel", get_peft_model(base, peft))
        except (ValueError, TypeError) as error:
            raise SettingError(f"{type(peft).__name__} does not fit {name}: {str(error).partition(chr(10))[0]}") from error
        for parameter in own:
            if parameter.requires_grad or not self.freeze:  # integers never do
                parameter.requires_grad_(not self.freeze)
        self.adapters = {key for key, parameter in self.named_parameters() if parameter.requires_grad and parameter not in own}
        self.model.train()
        config = base.config.get_text_config()
        self._sliding_window = config.sliding_window if "sliding_attention" in (getattr(config, "layer_types", None) or ()) else None
        if self._sliding_window is None and getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
            self._sliding_window = config.sliding_window
        self._masks_by_layer_type = bool(getattr(config, "layer_types", None)) and "sliding_attention" in config.layer_types
        self._softcap = getattr(config, "final_logit_softcapping", None)
        self.hidden = int(config.hidden_size)

    @property
    def base(self) -> PreTrainedModel:
        """The language model inside the adapters."""
        return cast("PreTrainedModel", cast("Any", self.model).get_base_model() if isinstance(self.model, PeftModel) else self.model)

    @property
    def num_virtual_tokens(self) -> int:
        """Virtual tokens (soft prompt or prefix) in front of every example."""
        prompt = self._prompt
        return 0 if prompt is None else int(prompt.num_virtual_tokens)

    @property
    def _prompt(self) -> PromptLearningConfig | None:
        found = self.model.active_peft_config if isinstance(self.model, PeftModel) else None
        return found if isinstance(found, PromptLearningConfig) else None

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor,
        *,
        cache: Cache | None = None,
        key_positions: Tensor | None = None,
        with_virtual_tokens: bool = True,
    ) -> Tensor:
        """Hidden states of the tokens given.

        Args:
            input_ids: Tokens.
            position_ids: Their positions, from 0, virtual tokens not counted.
            attention_mask: For each token, the keys that it attends to: those of the cache, then the new ones.
            cache: KV cache of earlier tokens; new ones are added to it. Empty where `with_virtual_tokens` is set.
            key_positions: Positions of these keys; by default those of the tokens.
            with_virtual_tokens: Put virtual tokens in front; false where the cache holds them already.

        Shape:
            - input_ids, position_ids: ``(B, L)``; attention_mask: ``(B, L, T)``, bool; key_positions: ``(B, T)``
            - result: ``(B, L, H)``
        """
        prompt = self._prompt
        inputs: dict[str, Any] = {"input_ids": input_ids}
        shift = 0
        if prompt is not None:
            virtual = int(prompt.num_virtual_tokens)
            prefix = prompt.peft_type == "PREFIX_TUNING"
            shift = virtual  # as PEFT counts, so that adapters mean the same there
            if with_virtual_tokens:
                rows, width = input_ids.shape
                found: Any = cast("Any", self.model).get_prompt(batch_size=rows)
                in_front = attention_mask.new_ones(rows, width, virtual)
                attention_mask = torch.cat([in_front & attention_mask.any(2, keepdim=True), attention_mask], 2)
                own = torch.arange(virtual, device=input_ids.device).expand(rows, virtual)
                if prefix:
                    if cache is None:
                        cache = found
                    else:
                        for number, layer in enumerate(found.layers):
                            cache.update(layer.keys, layer.values, number)
                    key_positions = torch.cat([own - virtual, position_ids], 1)
                else:
                    embeds = cast("Tensor", self.base.get_input_embeddings()(input_ids))
                    inputs = {"inputs_embeds": torch.cat([found.to(embeds.dtype), embeds], 1)}
                    triangle = torch.ones(virtual, virtual, dtype=torch.bool, device=input_ids.device).tril()
                    virtual_rows = torch.cat([triangle, triangle.new_zeros(virtual, width)], 1).expand(rows, -1, -1)
                    attention_mask = torch.cat([virtual_rows, attention_mask], 1)
                    position_ids = torch.cat([own - virtual, position_ids], 1)
        mask = self._masks(attention_mask, position_ids, position_ids if key_positions is None else key_positions)
        body = cast("Any", self.base).get_decoder()
        states: Tensor = body(
            **inputs,
            attention_mask=mask,
            position_ids=position_ids + shift,
            past_key_values=cache,
            use_cache=cache is not None,
        )[0]
        return states[:, states.shape[1] - input_ids.shape[1] :]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the vocabulary.

        Shape:
            - hidden: ``(..., H)``; result: ``(..., vocabulary)``
        """
        logits = cast("Tensor", cast("Any", self.base).get_output_embeddings()(hidden))
        return logits if self._softcap is None else self._softcap * torch.tanh(logits / self._softcap)

    def _masks(self, attention_mask: Tensor, positions: Tensor, keys: Tensor) -> Any:
        """Additive masks as the architecture takes them: one for all layers, or one for each type of layer (sliding-window attention)."""
        full = _additive_mask(attention_mask)
        if self._sliding_window is None:
            return full
        near = (positions.unsqueeze(2) - keys.unsqueeze(1)) < self._sliding_window
        sliding = _additive_mask(attention_mask & near)
        return {"full_attention": full, "sliding_attention": sliding} if self._masks_by_layer_type else sliding


def _additive_mask(attention_mask: Tensor) -> Tensor:
    """Zero where a token attends, and as good as minus infinity elsewhere; tokens that attend to nothing (padding) attend to all."""
    attended = attention_mask | ~attention_mask.any(2, keepdim=True)
    scores = torch.zeros(attended.shape, device=attended.device)
    return scores.masked_fill(~attended, torch.finfo(scores.dtype).min).unsqueeze(1)


def block_mask(segment_ids: Tensor, prefix_segment_ids: Tensor) -> Tensor:
    """The attention mask of packed rows: block-diagonal and causal, and each segment attends to its shared prefix.

    Shape:
        - segment_ids, prefix_segment_ids: ``(B, L)``, 0 for padding and for segments without a prefix; result: ``(B, L, L)``
    """
    query, key = segment_ids.unsqueeze(2), segment_ids.unsqueeze(1)
    causal = torch.ones(segment_ids.shape[1], segment_ids.shape[1], dtype=torch.bool, device=segment_ids.device).tril()
    return causal & (query > 0) & ((query == key) | (prefix_segment_ids.unsqueeze(2) == key) & (key > 0))
