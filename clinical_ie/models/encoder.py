"""A pretrained encoder as modules use it: with adapters where asked, and with marker tokens of our own.

Shape legend: ``B`` rows, ``L`` sub-words, ``H`` hidden, ``V`` virtual tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from peft import PeftConfig, PeftModel, PromptLearningConfig, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.backbones import load_encoder
from clinical_ie.models.base_identity import BaseIdentity


class Encoder(nn.Module):
    """Hidden states of sub-words, of marker tokens, and of both with virtual tokens in front.

    Ids below zero are markers: ``-1 - rank`` looks up a vector that belongs to us and not to the backbone, so that no
    vocabulary is resized and a frozen base stays what it is.

    Args:
        name: Hub name, local folder, or ``package:NAME/FOLDER``.
        peft: How the backbone is adapted; not at all when None.
        freeze: Keep the backbone's own weights as they are; by default where there is an adapter.
        dropout: Replaces the backbone's own.
        gradient_checkpointing: Recompute activations in the backward pass; less memory, more time.
        markers: For each marker the sub-words whose mean vector it starts from.
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
    ) -> None:
        super().__init__()
        base = load_encoder(name, dropout=dropout)
        self.freeze = peft is not None if freeze is None else freeze
        self.identity = BaseIdentity.of(name, base) if self.freeze else None
        self.hidden = int(base.config.hidden_size)
        self._first_position = _first_position(base)
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
        self.model: PreTrainedModel | PeftModel = base if peft is None else _adapted(base, peft, name)
        for parameter in own:
            parameter.requires_grad_(not self.freeze)
        self.adapters = {key for key, parameter in self.named_parameters() if parameter.requires_grad and parameter not in own}
        self.model.train()
        words = cast("nn.Embedding", base.get_input_embeddings()).weight.detach()
        self.embedding_width = int(words.shape[1])  # not that of the hidden states in every architecture
        self.markers = nn.Embedding(len(markers), self.embedding_width) if markers else None
        if self.markers is not None:
            for rank, ids in enumerate(markers):
                self.markers.weight.data[rank] = words[list(ids)].mean(0) + 0.1 * words.std() * torch.randn(self.embedding_width)

    @property
    def base(self) -> PreTrainedModel:
        """The backbone inside the adapters."""
        return cast("PreTrainedModel", cast("Any", self.model).get_base_model() if isinstance(self.model, PeftModel) else self.model)

    def words(self, input_ids: Tensor) -> Tensor:
        """Vectors of the vocabulary, before any context.

        Shape:
            - input_ids: any; result: the same with the width of embeddings behind.
        """
        return cast("Tensor", self.base.get_input_embeddings()(input_ids))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor | None = None,
        added: tuple[Tensor, Tensor, Tensor] | None = None,
        aside: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of all sub-words and markers.

        Args:
            input_ids: Ids below zero are markers.
            attention_mask: 1 for what is there.
            position_ids: As by default when None.
            added: Rows, places and vectors that are added to what enters there.
            aside: True for what sees the others but is seen by itself alone.

        Shape:
            - input_ids, attention_mask, position_ids, aside: ``(B, L)``; positions count from 0 in every architecture.
            - result: ``(B, L, H)``
        """
        if position_ids is not None:
            position_ids = position_ids + self._first_position
        visible = attention_mask if aside is None else _visible(attention_mask, aside)
        prompt = self.model.active_peft_config if isinstance(self.model, PeftModel) else None
        if not isinstance(prompt, PromptLearningConfig):
            if self.markers is None and added is None:
                return cast("Tensor", self.model(input_ids=input_ids, attention_mask=_added(visible), position_ids=position_ids)[0])
            embeds = self._embeds(input_ids, added)
            return cast("Tensor", self.model(inputs_embeds=embeds, attention_mask=_added(visible), position_ids=position_ids)[0])
        return self._prompted(self._embeds(input_ids, added), visible, position_ids, prompt)

    def _embeds(self, input_ids: Tensor, added: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
        embeds = self.words(input_ids.clamp_min(0))
        if self.markers is not None:
            marked = self.markers((-1 - input_ids).clamp_min(0)).to(embeds.dtype)
            embeds = torch.where((input_ids < 0).unsqueeze(2), marked, embeds)
        if added is not None:
            rows, places, vectors = added
            embeds = embeds.index_put((rows, places), vectors.to(embeds.dtype), accumulate=True)
        return embeds

    def _prompted(self, embeds: Tensor, visible: Tensor, position_ids: Tensor | None, prompt: PromptLearningConfig) -> Tensor:
        """Virtual tokens in front, whose positions are their own: those of the text stay what the backbone knows.

        PEFT's own forward drops position ids and leaves the virtual tokens in the output.
        """
        model = cast("PeftModel", self.model)
        rows, width, _ = embeds.shape
        count = int(prompt.num_virtual_tokens)
        if position_ids is None:
            position_ids = (torch.arange(width, device=embeds.device) + self._first_position).expand(rows, width)
        # whatever sees the first sub-word sees the virtual tokens, and they see what it sees
        mask = torch.cat([visible[..., :1].expand(*visible.shape[:-1], count), visible], -1)
        found: Any = cast("Any", model).get_prompt(batch_size=rows)
        if prompt.peft_type == "PREFIX_TUNING":
            return cast(
                "Tensor", self.base(inputs_embeds=embeds, attention_mask=_added(mask), position_ids=position_ids, past_key_values=found)[0]
            )
        virtual = torch.arange(count, device=embeds.device) + self._first_position
        positions = torch.cat([virtual.expand(rows, count), position_ids], 1)
        if mask.dim() == 3:
            mask = torch.cat([mask[:, :1].expand(rows, count, -1), mask], 1)
        both = torch.cat([found.to(embeds.dtype), embeds], 1)
        return cast("Tensor", self.base(inputs_embeds=both, attention_mask=_added(mask), position_ids=positions)[0][:, count:])


def _visible(attention_mask: Tensor, aside: Tensor) -> Tensor:
    """What each place sees: all that is there and not aside, and itself.

    Shape:
        - attention_mask, aside: ``(B, L)``; result: ``(B, L, L)``
    """
    seen = (attention_mask.bool() & ~aside).unsqueeze(1)
    return seen | torch.eye(aside.shape[1], dtype=torch.bool, device=aside.device)


def _added(visible: Tensor) -> Tensor:
    """A mask as every architecture takes it: as it is for whole rows, added to the scores where places differ."""
    if visible.dim() == 2:
        return visible
    scores = torch.zeros(visible.shape, device=visible.device)
    return scores.masked_fill(~visible, torch.finfo(scores.dtype).min).unsqueeze(1)


def _adapted(base: PreTrainedModel, peft: PeftConfig, name: str) -> PeftModel:
    try:
        return cast("PeftModel", get_peft_model(base, copy.deepcopy(peft)))
    except (ValueError, TypeError) as error:
        raise SettingError(f"{type(peft).__name__} does not fit {name}: {str(error).partition(chr(10))[0]}") from error


def _first_position(base: PreTrainedModel) -> int:
    """What the architecture calls the position of the first sub-word: RoBERTa counts from behind the padding id."""
    table = getattr(getattr(base, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def ties_positions(base: PreTrainedModel) -> bool:
    """Whether a sub-word can be told that it stands where another stands: absolute positions, looked up in a table."""
    return isinstance(getattr(getattr(base, "embeddings", None), "position_embeddings", None), nn.Embedding)
