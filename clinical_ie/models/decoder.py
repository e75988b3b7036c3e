"""A pretrained decoder (causal language model) with parameter-efficient adapters, explicit attention masks and positions.

The attention mask always says for each token which keys it attends to, beside explicit position ids: rows may be packed with several
examples (block-diagonal attention behind a shared prefix) and padding may stand anywhere, and no architecture can misread that.

References: Krell et al., Efficient sequence packing without cross-contamination (2021); Hu et al., LoRA (ICLR 2022); Lester et al., Prompt
tuning (EMNLP 2021); Li & Liang, Prefix-tuning (ACL 2021).

Shape legend: ``B`` rows, ``L`` tokens, ``T`` keys (tokens in the cache and new ones), ``H`` hidden, ``V`` virtual tokens.
"""

from __future__ import annotations

import copy
import re
from typing import Any, cast

import torch
from peft import PeftConfig, PeftModel, PromptLearningConfig, get_peft_model
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.base_dtype import train_in_float32
from clinical_ie.models.base_identity import BaseIdentity
from clinical_ie.models.block_mask import additive_mask
from clinical_ie.models.decoder_head import own_logits
from clinical_ie.models.decoder_loading import load_decoder, parts_beside_text
from clinical_ie.models.decoder_probe import check_training, probe
from clinical_ie.models.packed_attention import PackedAttention, PackedRows, takes_block_masks
from clinical_ie.models.quantization import Quantized
from clinical_ie.models.sharded_weights import gathered_for_passes, loading


class Decoder(nn.Module):
    """Hidden states of tokens under any attention mask, and the logits of the vocabulary.

    Args:
        name: Hub name, local folder, GGUF file, or ``package:NAME/FOLDER``.
        peft: Parameter-efficient tuning; None for none.
        freeze: Freeze the backbone's own weights; by default where there is an adapter.
        dropout: Replaces the backbone's own.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, more time.
        quantized: How few bits a weight of a frozen linear layer has; None for full precision.
        base: What to wrap instead of the model of that name, such as its shapes; it is taken as it is, and not tried.
        base_dtype: In what the base's matrices are held; bfloat16 for a frozen base that computes under bf16 autocast.
        packed_attention: How packed rows are masked: by blocks that are skipped, or by a dense mask; ``auto`` is the former where it can
            be done (see `packed_attention`).
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
        base: PreTrainedModel | None = None,
        base_dtype: torch.dtype = torch.float32,
        packed_attention: PackedAttention = "auto",
    ) -> None:
        super().__init__()
        self.packed_attention: PackedAttention = packed_attention
        self._block_sparse: bool | None = None
        self.freeze = peft is not None if freeze is None else freeze
        if quantized is not None and not self.freeze:
            raise SettingError(f"weights in {quantized} cannot be trained; give an adapter and leave them frozen")
        is_loaded = base is None
        if base is None:
            with loading():
                base = load_decoder(name, dropout=dropout, quantized=quantized, dtype=base_dtype)
        self.identity = BaseIdentity.of(name) if self.freeze and is_loaded else None
        own = set(base.parameters())
        beside = parts_beside_text(base)
        untouched = {parameter for part in beside.values() for parameter in part.parameters()}
        self.model: PreTrainedModel | PeftModel = base
        config = base.config.get_text_config()
        layer_types = getattr(config, "layer_types", None) or ()
        self.masks_by_layer_type = "sliding_attention" in layer_types
        windowed = self.masks_by_layer_type or getattr(config, "use_sliding_window", True)
        self.sliding_window: int | None = getattr(config, "sliding_window", None) if windowed else None
        self.hidden = int(config.hidden_size)
        with gathered_for_passes(base):
            self.packing_problem: str | None = probe(self, name, dropout) if is_loaded else None
        """Why examples cannot share a row (sequence packing); None where they can."""
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
            if beside and getattr(peft, "exclude_modules", "") is None:
                cast("Any", peft).exclude_modules = "|".join(rf"{re.escape(part)}(\..*)?" for part in beside)
        try:
            self.model = base if peft is None else cast("PeftModel", get_peft_model(base, peft))
        except (ValueError, TypeError) as error:
            raise SettingError(f"{type(peft).__name__} does not fit {name}: {str(error).partition(chr(10))[0]}") from error
        for parameter in own:
            if parameter.requires_grad or not self.freeze:  # integers never do
                parameter.requires_grad_(not self.freeze and parameter not in untouched)
        train_in_float32(self)
        self.adapters = {key for key, parameter in self.named_parameters() if parameter.requires_grad and parameter not in own}
        self.model.train()
        if is_loaded:
            with gathered_for_passes(self.model):
                check_training(self, name)

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
        attention_mask: Tensor | PackedRows,
        *,
        cache: Cache | None = None,
        key_positions: Tensor | None = None,
        with_virtual_tokens: bool = True,
    ) -> Tensor:
        """Hidden states of the tokens given.

        Args:
            input_ids: Tokens.
            position_ids: Their positions, from 0, virtual tokens not counted.
            attention_mask: For each token, the keys that it attends to: those of the cache, then the new ones; or packed rows.
            cache: KV cache of earlier tokens; new ones are added to it. Empty where `with_virtual_tokens` is set.
            key_positions: Positions of these keys; by default those of the tokens.
            with_virtual_tokens: Put virtual tokens in front; false where the cache holds them already.

        Shape:
            - input_ids, position_ids: ``(B, L)``; attention_mask: ``(B, L, T)``, bool, or rows of ``(B, L)``; key_positions: ``(B, T)``
            - result: ``(B, L, H)``
        """
        prompt = self._prompt
        mask: Any = None
        if isinstance(attention_mask, PackedRows):
            if prompt is None and cache is None and self._takes_block_masks(input_ids.device):
                mask = self._block_masks(attention_mask, position_ids)
            attention_mask = attention_mask.dense() if mask is None else torch.empty(0)
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
        if mask is None:
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
        """Logits of the vocabulary, as the model's own forward pass computes them.

        Shape:
            - hidden: ``(..., H)``; result: ``(..., vocabulary)``
        """
        logits = own_logits(self.base, hidden.flatten(0, -2))
        return logits.reshape(*hidden.shape[:-1], logits.shape[-1])

    def _takes_block_masks(self, device: torch.device) -> bool:
        """Found out once, where the decoder computes."""
        if self._block_sparse is None:
            self._block_sparse = takes_block_masks(self.base, self.packed_attention, device)
        return self._block_sparse

    def _block_masks(self, rows: PackedRows, positions: Tensor) -> Any:
        """Masks of blocks: one for all layers, or one for each type of layer."""
        near = rows.block_sparse(positions, self.sliding_window)
        return {"full_attention": rows.block_sparse(positions, None), "sliding_attention": near} if self.masks_by_layer_type else near

    def _masks(self, attention_mask: Tensor, positions: Tensor, keys: Tensor) -> Any:
        """Additive masks as the architecture takes them: one for all layers, or one for each type of layer (sliding-window attention)."""
        full = additive_mask(attention_mask)
        if self.sliding_window is None:
            return full
        near = (positions.unsqueeze(2) - keys.unsqueeze(1)) < self.sliding_window
        sliding = additive_mask(attention_mask & near)
        return {"full_attention": full, "sliding_attention": sliding} if self.masks_by_layer_type else sliding
