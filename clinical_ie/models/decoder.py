"""A pretrained decoder as modules use it: with adapters where asked, and told for every token which others it sees.

Attention is always given as what each token may see, with explicit positions: rows may hold several examples and padding may
stand anywhere, and no architecture can misread that.

Shape legend: ``B`` rows, ``L`` tokens, ``T`` tokens in the cache and new ones, ``H`` hidden, ``V`` virtual tokens.
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
from clinical_ie.models.folders import load_config, locate
from clinical_ie.models.quantization import Quantized, settings_of


def load_decoder(name: str, *, dropout: float | None = None, quantized: Quantized | None = None) -> PreTrainedModel:
    """A pretrained causal language model in training mode, in full precision or with linear layers in less.

    Args:
        name: Hub name, local folder, GGUF file, or ``package:NAME/FOLDER``.
        dropout: Replaces the dropout of attention where the architecture names it.
        quantized: How few bits a weight of a linear layer has; None for full precision.

    Raises:
        SettingError: Nothing that transformers can load as a decoder, a pickle that is more than tensors, or missing weights.
    """
    folder = locate(name)
    try:
        config = copy.deepcopy(load_config(folder))
        if dropout is not None:
            for key in ("attention_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout"):
                if hasattr(config, key):
                    setattr(config, key, dropout)
        config.use_cache = False  # what reads a cache is told so; with one by default, packed examples leak into each other
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=torch.float32, trust_remote_code=False, weights_only=True, output_loading_info=True,
            **({} if quantized is None else settings_of(quantized)),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise SettingError(f"{name}: cannot be loaded as a decoder ({str(error).partition(chr(10))[0]})") from error
    model: PreTrainedModel = loaded[0]
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if model.config.tie_word_embeddings else set()
    if missing := sorted(set(loaded[1]["missing_keys"]) - tied):
        raise SettingError(f"{name}: the checkpoint lacks {len(missing)} weights of the decoder, such as {missing[0]}")
    model.train()  # from_pretrained returns evaluation mode, and Lightning leaves it there
    return model


class Decoder(nn.Module):
    """Hidden states of tokens that see what they are told to see, and the vocabulary's scores.

    Args:
        name: Hub name, local folder, GGUF file, or ``package:NAME/FOLDER``.
        peft: How the backbone is adapted; not at all when None.
        freeze: Keep the backbone's own weights as they are; by default where there is an adapter.
        dropout: Replaces the backbone's own.
        gradient_checkpointing: Recompute activations in the backward pass; less memory, more time.
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
        self._window = config.sliding_window if "sliding_attention" in (getattr(config, "layer_types", None) or ()) else None
        if self._window is None and getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
            self._window = config.sliding_window
        self._by_kind = bool(getattr(config, "layer_types", None)) and "sliding_attention" in config.layer_types
        self._softcap = getattr(config, "final_logit_softcapping", None)
        self.hidden = int(config.hidden_size)

    @property
    def base(self) -> PreTrainedModel:
        """The language model inside the adapters."""
        return cast("PreTrainedModel", cast("Any", self.model).get_base_model() if isinstance(self.model, PeftModel) else self.model)

    @property
    def virtual(self) -> int:
        """Virtual tokens in front of every example."""
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
        visible: Tensor,
        *,
        cache: Cache | None = None,
        key_positions: Tensor | None = None,
        begin: bool = True,
    ) -> Tensor:
        """Hidden states of the tokens given.

        Args:
            input_ids: Tokens.
            position_ids: Their positions, from 0, virtual tokens not counted.
            visible: For each token, which keys it sees: those of the cache with the new ones.
            cache: Keys and values of tokens before; new ones are added to it. Empty where `begin` is set.
            key_positions: Positions of these keys; by default those of the tokens.
            begin: Put virtual tokens in front; not where the cache holds them already.

        Shape:
            - input_ids, position_ids: ``(B, L)``; visible: ``(B, L, T)``, bool; key_positions: ``(B, T)``
            - result: ``(B, L, H)``
        """
        prompt = self._prompt
        inputs: dict[str, Any] = {"input_ids": input_ids}
        shift = 0
        if prompt is not None:
            virtual = int(prompt.num_virtual_tokens)
            prefix = prompt.peft_type == "PREFIX_TUNING"
            shift = virtual  # as PEFT counts, so that adapters mean the same there
            if begin:
                rows, width = input_ids.shape
                found: Any = cast("Any", self.model).get_prompt(batch_size=rows)
                in_front = visible.new_ones(rows, width, virtual)
                visible = torch.cat([in_front & visible.any(2, keepdim=True), visible], 2)
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
                    above = torch.cat([triangle, triangle.new_zeros(virtual, width)], 1).expand(rows, -1, -1)
                    visible = torch.cat([above, visible], 1)
                    position_ids = torch.cat([own - virtual, position_ids], 1)
        mask = self._masks(visible, position_ids, position_ids if key_positions is None else key_positions)
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
        """Scores of the vocabulary.

        Shape:
            - hidden: ``(..., H)``; result: ``(..., vocabulary)``
        """
        found = cast("Tensor", cast("Any", self.base).get_output_embeddings()(hidden))
        return found if self._softcap is None else self._softcap * torch.tanh(found / self._softcap)

    def _masks(self, visible: Tensor, positions: Tensor, keys: Tensor) -> Any:
        """Scores to add, as the architecture takes them: one for all layers, or one for each kind of layer."""
        full = _added(visible)
        if self._window is None:
            return full
        near = (positions.unsqueeze(2) - keys.unsqueeze(1)) < self._window
        sliding = _added(visible & near)
        return {"full_attention": full, "sliding_attention": sliding} if self._by_kind else sliding


def _added(visible: Tensor) -> Tensor:
    """Zero where a token sees another, and as good as minus infinity elsewhere; tokens that see nothing (padding) see all."""
    seen = visible | ~visible.any(2, keepdim=True)
    scores = torch.zeros(seen.shape, device=seen.device)
    return scores.masked_fill(~seen, torch.finfo(scores.dtype).min).unsqueeze(1)


def seen_in_pieces(pieces: Tensor, above: Tensor) -> Tensor:
    """What each token sees where rows are made of pieces: what is before it in its own, and the piece above that.

    Shape:
        - pieces, above: ``(B, L)``, 0 for padding and for no piece above; result: ``(B, L, L)``
    """
    one, other = pieces.unsqueeze(2), pieces.unsqueeze(1)
    before = torch.ones(pieces.shape[1], pieces.shape[1], dtype=torch.bool, device=pieces.device).tril()
    return before & (one > 0) & ((one == other) | (above.unsqueeze(2) == other) & (other > 0))
