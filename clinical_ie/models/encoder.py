"""A pretrained encoder (BERT and kin) with parameter-efficient adapters, soft prompts, and marker tokens outside its vocabulary.

References: Hu et al., LoRA (ICLR 2022); Lester et al., Prompt tuning (EMNLP 2021); Li & Liang, Prefix-tuning (ACL 2021); Ye et al., Packed
levitated marker for entity and relation extraction (ACL 2022), for markers that only see and are not attended to.

Shape legend: ``B`` rows, ``L`` sub-words, ``H`` hidden, ``V`` virtual tokens.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from peft import PeftConfig, PeftModel, PromptLearningConfig, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.attention_masks import AttentionMasks, unattended_mask
from clinical_ie.models.backbones import load_encoder
from clinical_ie.models.base_dtype import train_in_float32
from clinical_ie.models.base_identity import BaseIdentity
from clinical_ie.models.folders import first_sentence
from clinical_ie.models.row_attention import padded_rows, rows_of, use_row_attention
from clinical_ie.models.sharded_weights import gathered, loading, whole_shape
from clinical_ie.models.unused_parameters import unused_parameters

_PACKED_MULTIPLE = 64
"""Sub-words of rows that are laid out without padding come to a multiple of this."""


class Encoder(nn.Module):
    """Hidden states of sub-words, of marker tokens, and of both with virtual tokens in front.

    Ids below zero are markers: ``-1 - rank`` looks up an embedding outside the backbone's vocabulary, which is not resized, so
    that a frozen base stays unchanged.

    Args:
        name: Hub name, local folder, or ``package:NAME/FOLDER``.
        peft: Parameter-efficient tuning; None for none.
        freeze: Freeze the backbone's own weights; by default where there is an adapter.
        dropout: Replaces the backbone's own.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, more time.
        markers: For each marker the sub-words whose mean embedding it is initialised with.
        base: What to wrap instead of the model of that name, such as a small copy of it.
        base_dtype: In what the base's matrices are held; bfloat16 for a frozen base that computes under bf16 autocast.
    """

    def __init__(
        self,
        name: str,
        *,
        peft: PeftConfig | None = None,
        freeze: bool | None = None,
        dropout: float | None = None,
        gradient_checkpointing: bool = False,
        markers: Sequence[Sequence[int]] = (),
        base: PreTrainedModel | None = None,
        base_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.freeze = peft is not None if freeze is None else freeze
        is_loaded = base is None
        with loading():
            base = load_encoder(name, dropout=dropout, dtype=base_dtype) if base is None else base
        self.identity = BaseIdentity.of(name) if self.freeze and is_loaded else None
        self.hidden = int(base.config.hidden_size)
        self._position_offset = _position_offset(base)
        self._masks = AttentionMasks(base.config)
        self._packs = False
        parameters = inspect.signature(base.forward).parameters
        self._takes_positions = "position_ids" in parameters
        self._takes_segments = hasattr(getattr(base, "embeddings", None), "token_type_embeddings") and "token_type_ids" in parameters
        unused = unused_parameters(base)
        unused_modules = [f".{name}." for name, module in base.named_modules() if (held := {*module.parameters()}) and held <= unused]
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
        self.model: PreTrainedModel | PeftModel = base if peft is None else _with_adapter(base, peft, name)
        for parameter in own:
            parameter.requires_grad_(not self.freeze)
        for key, parameter in self.named_parameters():  # an adapter of what no text uses is unused, too
            if parameter in unused or any(module in key for module in unused_modules):
                parameter.requires_grad_(False)
        train_in_float32(self)
        self.adapters = {key for key, parameter in self.named_parameters() if parameter.requires_grad and parameter not in own}
        self.model.train()
        words = cast("nn.Embedding", base.get_input_embeddings()).weight
        self.embedding_width = int(whole_shape(words)[1])  # not that of the hidden states in every architecture
        self.markers = nn.Embedding(len(markers), self.embedding_width) if markers else None
        if self.markers is not None:
            with gathered([words]), torch.no_grad():
                means, spread = torch.stack([words[list(ids)].float().mean(0) for ids in markers]), words.float().std()
            target = self.markers.weight.data
            for rank, mean in enumerate(means.to(target)):
                target[rank] = mean + 0.1 * spread.to(target) * torch.randn(self.embedding_width)

    @property
    def base(self) -> PreTrainedModel:
        """The backbone inside the adapters."""
        return cast("PreTrainedModel", cast("Any", self.model).get_base_model() if isinstance(self.model, PeftModel) else self.model)

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """Input embeddings of the vocabulary.

        Shape:
            - input_ids: any; result: the same with the width of embeddings behind.
        """
        return cast("Tensor", self.base.get_input_embeddings()(input_ids))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor | None = None,
        added_embeddings: tuple[Tensor, Tensor, Tensor] | None = None,
        unattended: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of all sub-words and markers.

        Args:
            input_ids: Ids below zero are markers.
            attention_mask: 0 for padding.
            position_ids: The architecture's default when None.
            added_embeddings: Rows, places and vectors that are added to the input embeddings there.
            unattended: True for tokens that attend to all others and to which only they themselves attend (directed attention).

        Shape:
            - input_ids, attention_mask, position_ids, unattended: ``(B, L)``; positions count from 0 in every architecture.
            - result: ``(B, L, H)``
        """
        if self._packs and unattended is None and added_embeddings is None:
            return self._packed(input_ids, attention_mask.bool(), position_ids)
        if position_ids is not None:
            position_ids = position_ids + self._position_offset
        visible = attention_mask if unattended is None else unattended_mask(attention_mask, unattended)
        prompt = self.model.active_peft_config if isinstance(self.model, PeftModel) else None
        if not isinstance(prompt, PromptLearningConfig):
            mask = self._masks(visible, position_ids, self.base.dtype)
            if self.markers is None and added_embeddings is None:
                return cast("Tensor", self.model(input_ids=input_ids, **self._beside(mask, position_ids))[0])
            embeds = self._embeds(input_ids, added_embeddings)
            return cast("Tensor", self.model(inputs_embeds=embeds, **self._beside(mask, position_ids))[0])
        return self._with_virtual_tokens(self._embeds(input_ids, added_embeddings), visible, position_ids, prompt)

    def use_packing(self) -> bool:
        """Compute no padding from now on (padding-free), where nothing is trained; whether the architecture gives the same in that way.

        It is tried on two rows: positions, segments and masks of an architecture may depend on columns.
        """
        prompt = isinstance(self.model, PeftModel) and isinstance(self.model.active_peft_config, PromptLearningConfig)
        if prompt or not self._takes_positions or self._masks.windows or self.training or not use_row_attention(self.base):
            return False
        words = cast("nn.Embedding", self.base.get_input_embeddings()).num_embeddings
        ids = torch.arange(words // 2, words // 2 + 24).view(2, 12) % words  # no padding among them, which some count no position for
        mask = torch.ones(2, 12, dtype=torch.long)
        mask[0, 7:] = 0
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            expected = self(ids, mask)[mask.bool()].float()
            self._packs = True
            found = self(ids, mask)[mask.bool()].float()
        self._packs = bool(torch.allclose(expected, found, atol=1e-4 * float(expected.abs().max())))
        return self._packs

    def _packed(self, input_ids: Tensor, mask: Tensor, position_ids: Tensor | None) -> Tensor:
        """Hidden states of rows that are computed one behind the other, without their padding; zeros there."""
        if position_ids is None:
            position_ids = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        lengths = mask.sum(1).tolist()
        # kernels are made for each number of sub-words and kept (oneDNN): a row of padding at the end leaves few numbers
        rest = -sum(lengths) % _PACKED_MULTIPLE
        positions = nn.functional.pad(position_ids[mask], (0, rest)).unsqueeze(0) + self._position_offset
        ids = nn.functional.pad(input_ids[mask], (0, rest)).unsqueeze(0)
        with rows_of([*lengths, rest] if rest else lengths):
            hidden = self.base(inputs_embeds=self._embeds(ids, None), **self._beside(torch.ones_like(ids), positions))[0]
        return padded_rows(hidden[:, : sum(lengths)], mask)

    def _embeds(self, input_ids: Tensor, added_embeddings: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
        embeds = self.embed_tokens(input_ids.clamp_min(0))
        if self.markers is not None:
            marked = self.markers((-1 - input_ids).clamp_min(0)).to(embeds.dtype)
            embeds = torch.where((input_ids < 0).unsqueeze(2), marked, embeds)
        if added_embeddings is not None:
            rows, places, vectors = added_embeddings
            embeds = embeds.index_put((rows, places), vectors.to(embeds.dtype), accumulate=True)
        return embeds

    def _with_virtual_tokens(self, embeds: Tensor, visible: Tensor, position_ids: Tensor | None, prompt: PromptLearningConfig) -> Tensor:
        """Hidden states with virtual tokens (soft prompt or prefix) in front, which leave the positions of the text unchanged.

        PEFT's own forward drops position ids and leaves the virtual tokens in the output.
        """
        model = cast("PeftModel", self.model)
        rows, width, _ = embeds.shape
        count = int(prompt.num_virtual_tokens)
        if position_ids is None:
            position_ids = (torch.arange(width, device=embeds.device) + self._position_offset).expand(rows, width)
        # whatever attends to the first sub-word attends to the virtual tokens, and they attend to what it attends to
        mask = torch.cat([visible[..., :1].expand(*visible.shape[:-1], count), visible], -1)
        virtual = torch.arange(count, device=embeds.device) + self._position_offset
        positions = torch.cat([virtual.expand(rows, count), position_ids], 1)
        found: Any = cast("Any", model).get_prompt(batch_size=rows)
        if prompt.peft_type == "PREFIX_TUNING":
            return cast(
                "Tensor",
                self.base(
                    inputs_embeds=embeds,
                    past_key_values=found,
                    **self._beside(self._masks(mask, positions, self.base.dtype, width), position_ids),
                )[0],
            )
        if mask.dim() == 3:
            mask = torch.cat([mask[:, :1].expand(rows, count, -1), mask], 1)
        both = torch.cat([found.to(embeds.dtype), embeds], 1)
        return cast("Tensor", self.base(inputs_embeds=both, **self._beside(self._masks(mask, positions, self.base.dtype), positions))[0])[
            :, count:
        ]

    def _beside(self, mask: Tensor | dict[str, Tensor], positions: Tensor | None) -> dict[str, Any]:
        """What goes beside the words: without the positions where an architecture counts columns alone, which tasks ask for beforehand."""
        given: dict[str, Any] = {"attention_mask": mask}
        if self._takes_positions:
            given["position_ids"] = positions
        if self._takes_segments and positions is not None:  # its own zeros may end with its positions
            given["token_type_ids"] = torch.zeros_like(positions)
        return given


def _with_adapter(base: PreTrainedModel, peft: PeftConfig, name: str) -> PeftModel:
    peft = copy.deepcopy(peft)
    if isinstance(peft, PromptLearningConfig):  # PEFT does not know these of every architecture, nor that embeddings may be narrower
        known = {"num_layers": "num_hidden_layers", "num_attention_heads": "num_attention_heads", "token_dim": "hidden_size"}
        sizes = {ours: getattr(base.config, theirs, None) for ours, theirs in known.items()}
        if peft.peft_type != "PREFIX_TUNING":
            sizes["token_dim"] = cast("nn.Embedding", base.get_input_embeddings()).embedding_dim
        for setting, size in sizes.items():
            if getattr(peft, setting) is None:
                setattr(peft, setting, size)
    try:
        return cast("PeftModel", get_peft_model(base, peft))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingError(f"{type(peft).__name__} does not fit {name}: {first_sentence(error)}") from error


def _position_offset(base: PreTrainedModel) -> int:
    """The architecture's position id of the first sub-word: RoBERTa counts from behind the padding id."""
    table = getattr(getattr(base, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1
