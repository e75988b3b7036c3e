"""Block-sparse attention of packed rows on GPUs (FlexAttention): blocks in which no token sees another are skipped, and no mask is held.

Packed rows are block-diagonal behind their shared prefixes, so that of a row of 4,096 tokens most pairs are never looked at. A dense mask
of them is 64 MB in 32 bits for every kind of layer, and keeps attention from its fast kernels.

References: Dong et al., FlexAttention: A programming model for generating optimized attention kernels (MLSys 2025); Krell et al., Efficient
sequence packing without cross-contamination (2021).

Shape legend: ``B`` rows, ``L`` tokens, ``H`` query heads, ``K`` key-value heads, ``D`` width of a head.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from clinical_ie.errors import SettingError
from clinical_ie.models.block_mask import block_mask

PackedAttention = Literal["auto", "dense", "block_sparse"]
IMPLEMENTATION = "sdpa_or_block_sparse"
_BLOCK = 128
_SAME = 0.05
"""Relative; what bfloat16 and another order of sums change."""
_DROPOUT = re.compile(r"att.*drop.*")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Which tokens of packed rows belong together.

    Shape:
        - segment_ids, prefix_segment_ids: ``(B, L)``, 0 for padding and for segments without a prefix
    """

    segment_ids: Tensor
    prefix_segment_ids: Tensor

    def dense(self) -> Tensor:
        """The mask for every pair of tokens, ``(B, L, L)``."""
        return block_mask(self.segment_ids, self.prefix_segment_ids)

    def block_sparse(self, positions: Tensor, window: int | None) -> BlockMask:
        """The same mask by blocks: which of them are looked at, and which of those need no mask. Padding attends to itself.

        Args:
            positions: Of the tokens, ``(B, L)``.
            window: How many positions a token looks back over; None for all.
        """
        rows, length = self.segment_ids.shape
        blocks = -(-length // _BLOCK)
        segments, prefixes, places = (
            nn.functional.pad(each, (0, blocks * _BLOCK - length)) for each in (self.segment_ids, self.prefix_segment_ids, positions)
        )

        def sees(row: Tensor, head: Any, query: Tensor, key: Tensor) -> Tensor:
            own, other = segments[row, query], segments[row, key]
            together = (own > 0) & ((own == other) | (prefixes[row, query] == other) & (other > 0))
            return (query >= key) & (together | (query == key))

        def sees_nearby(row: Tensor, head: Any, query: Tensor, key: Tensor) -> Tensor:
            return sees(row, head, query, key) & (places[row, query] - places[row, key] < cast("int", window))

        seen_by: Callable[..., Tensor] = sees if window is None else sees_nearby
        row, key = torch.arange(rows, device=segments.device).view(-1, 1, 1), torch.arange(blocks * _BLOCK, device=segments.device)
        some, whole = [], []
        for start in range(0, blocks * _BLOCK, _BLOCK):  # a mask of all pairs at once is what is not to be held
            seen = seen_by(row, None, key[start : start + _BLOCK].view(1, -1, 1), key.view(1, 1, -1))
            seen = seen.view(rows, _BLOCK, blocks, _BLOCK)
            some.append(seen.any(3).any(1))
            whole.append(seen.all(3).all(1))
        partial, full = torch.stack(some, 1) & ~torch.stack(whole, 1), torch.stack(whole, 1)
        return BlockMask.from_kv_blocks(
            *_listed(partial), *_listed(full), BLOCK_SIZE=_BLOCK, mask_mod=seen_by, seq_lengths=(length, length)
        )


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks there are for each block of queries, and which, those first; a head's dimension is put in."""
    number = blocks.sum(2, dtype=torch.int32)
    places = blocks.to(torch.int32).argsort(dim=2, descending=True, stable=True).to(torch.int32)
    return number.unsqueeze(1), places.unsqueeze(1)


def packed_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | BlockMask | None, **options: Any
) -> tuple[Tensor, None]:
    """Block-sparse attention where the mask is one of blocks, and torch's own elsewhere.

    Shape:
        - query: ``(B, H, L, D)``; key, value: ``(B, K, L, D)``; result: ``(B, L, H, D)``
    """
    if not isinstance(attention_mask, BlockMask):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if options.get("dropout") or any(options.get(name) is not None for name in ("position_bias", "s_aux")):
        raise NotImplementedError("block-sparse attention has no dropout, sinks or biases; give --model.init_args.packed_attention=dense")
    device = query.device.type
    if torch.is_autocast_enabled(device):  # it does for torch's own attention, where rotary positions have left 32 bits
        query, key, value = (each.to(torch.get_autocast_dtype(device)) for each in (query, key, value))
    softcap = cast("float", options.get("softcap"))

    def capped(score: Tensor, *_: Tensor) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    attend = flex_attention if device == "cpu" or torch.compiler.is_compiling() else _compiled()
    output = attend(
        query, key, value,
        score_mod=None if softcap is None else capped, block_mask=attention_mask, scale=options.get("scaling"), enable_gqa=True,
    )  # fmt: skip
    return cast("Tensor", output).transpose(1, 2).contiguous(), None


AttentionInterface.register(IMPLEMENTATION, packed_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention)


def takes_block_masks(model: PreTrainedModel, setting: PackedAttention, device: torch.device) -> bool:
    """Whether a model's packed rows go through block-sparse attention, which is set up for it then.

    Args:
        model: The decoder.
        setting: ``auto`` is block-sparse on a CUDA device where the model's attention and the device's kernels can do it.
        device: Where it computes.

    Raises:
        SettingError: Block-sparse attention is asked for, and the model's cannot be.
    """
    if setting == "dense" or (setting == "auto" and device.type != "cuda"):
        return False
    problem = _unsupported(model)
    if setting == "block_sparse" and problem is not None:
        raise SettingError(f"packed_attention is block_sparse, but {problem}; give --model.init_args.packed_attention=dense")
    if setting == "auto" and (problem := problem or _failure(model, device)) is not None:
        rank_zero_only(_LOG.info)(f"packed rows are masked densely: {problem}")
        return False
    for part in model.modules():
        if isinstance(part, PreTrainedModel) and part.config._attn_implementation == "sdpa":
            part.config._attn_implementation = IMPLEMENTATION  # for good: activations are recomputed behind the forward pass
    return True


def _unsupported(model: PreTrainedModel) -> str | None:
    """Why a model's attention cannot be block-sparse on any device; None where it can."""
    config = model.config.get_text_config()
    if config._attn_implementation != "sdpa" or not getattr(model, "_supports_flex_attn", False):
        return f"{type(model).__name__} does not take FlexAttention"
    if any(value for key, value in config.to_dict().items() if _DROPOUT.fullmatch(key)):
        return "its attention has dropout"
    if any(name.endswith("sinks") for name, _ in model.named_parameters()):
        return "its attention has sinks"
    return None


def _failure(model: PreTrainedModel, device: torch.device) -> str | None:
    """Why it is not block-sparse on this device; None where a small trial with gradients gives what torch's own attention gives."""
    config = model.config.get_text_config()
    heads = int(config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    shared = int(getattr(config, "num_key_value_heads", None) or heads)
    try:
        difference = _trial(heads, shared, width, device)
    except Exception as error:  # whatever compilers and drivers raise
        return f"FlexAttention fails here ({type(error).__name__})"
    return None if difference < _SAME else f"FlexAttention computes something else here (off by {difference:.2g})"


def _trial(heads: int, shared: int, width: int, device: torch.device) -> float:
    """The largest relative difference between block-sparse and dense attention, of outputs and gradients, for two packed examples."""
    length = 2 * _BLOCK + 40
    segments = torch.ones(1, length, dtype=torch.long, device=device)
    segments[:, 30:150], segments[:, 150:] = 2, 3
    rows = PackedRows(segments, (segments > 1).long())
    mask = rows.block_sparse(torch.zeros_like(segments), None)
    found = []
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        torch.manual_seed(0)
        given = [torch.randn(1, number, length, width, device=device, dtype=torch.bfloat16) for number in (heads, shared, shared)]
        for sparse in (False, True):
            query, key, value = leaves = [each.clone().requires_grad_() for each in given]
            if sparse:
                output: Tensor = _compiled()(query, key, value, block_mask=mask, enable_gqa=True)
            else:
                output = scaled_dot_product_attention(query, key, value, attn_mask=rows.dense().unsqueeze(1), enable_gqa=True)
            output.float().square().sum().backward()  # type: ignore[no-untyped-call]
            found.append([output.detach(), *(cast("Tensor", leaf.grad) for leaf in leaves)])
    pairs = zip(*found, strict=True)
    return max(float((one.float() - two.float()).norm() / one.float().norm()) for one, two in pairs)
