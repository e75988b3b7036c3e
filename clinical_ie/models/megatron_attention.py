"""Fused scaled dot-product attention (SDPA, FlashAttention where there is a kernel) for GatorTron's Megatron-BERT architecture.

transformers has eager attention only for it. Results are equal up to rounding; weights and configuration stay unchanged.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.megatron_bert.modeling_megatron_bert import MegatronBertSelfAttention


class FusedMegatronSelfAttention(MegatronBertSelfAttention):
    """Self-attention through torch's ``scaled_dot_product_attention``; attention weights or a second input take the eager path."""

    def forward(  # type: ignore[override]  # their annotation counts one result, their code gives two
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        past_key_values: Any = None,
        output_attentions: bool | None = False,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Context vectors; no attention weights.

        Shape:
            - hidden_states: ``(B, L, H)``; attention_mask: added to scores, ``(B, 1, L, L)``.
        """
        if output_attentions or encoder_hidden_states is not None:
            found: Any = super().forward(
                hidden_states, attention_mask, encoder_hidden_states, past_key_values, output_attentions, **options
            )
            return found[0], found[1]
        rows, width, _ = hidden_states.shape
        shape = (rows, width, self.num_attention_heads, self.attention_head_size)
        query, key, value = (layer(hidden_states).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        context = nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if attention_mask is None else attention_mask.to(query.dtype),
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        return context.transpose(1, 2).reshape(rows, width, self.all_head_size), None


def use_fused_attention(model: torch.nn.Module) -> int:
    """Give every self-attention of a ``megatron-bert`` the fused form; returns how many there were."""
    count = 0
    for module in model.modules():
        if type(module) is MegatronBertSelfAttention:
            module.__class__ = FusedMegatronSelfAttention
            count += 1
    return count
