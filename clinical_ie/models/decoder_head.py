"""Logits of the vocabulary from hidden states, by the model's own forward pass.

What stands between the last hidden state and the logits differs: scales (Granite, Cohere), soft caps (Gemma), projections. So the model
itself computes it, with a body that returns the hidden states given, chunk by chunk if need be.

Shape legend: ``N`` tokens, ``H`` hidden.
"""

from __future__ import annotations

import copy
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast


class _GivenStates(BaseModelOutputWithPast):
    """What a body returns; the further outputs that architectures look for (router logits, cross attentions) are None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class _GivenBody(nn.Module):
    """Stands where the layers stood, and returns states that were computed before; whatever else is asked of it the layers answer."""

    def __init__(self, body: nn.Module, states: Tensor) -> None:
        super().__init__()
        self._body_and_states = body, states  # in a tuple it is no part of this module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body_and_states[0], name)

    def forward(self, *inputs: Any, **options: Any) -> _GivenStates:
        return _GivenStates(last_hidden_state=self._body_and_states[1])


def own_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The logits that a causal language model gives to hidden states of its last layer.

    Args:
        model: Unchanged; its head may be adapted or sharded.
        hidden: What its body (`get_decoder`) returned.

    Shape:
        - hidden: ``(N, H)``; result: ``(N, vocabulary)``
    """
    states = hidden.unsqueeze(0)
    body = cast("nn.Module", cast("Any", model).get_decoder())
    head = _with_body(model, body, _GivenBody(body, states))
    logits: Tensor = cast("Any", type(model)).forward(head, inputs_embeds=states, use_cache=False, return_dict=True).logits
    return logits[0]


def _with_body(module: nn.Module, body: nn.Module, other: nn.Module) -> nn.Module:
    """A shallow copy with the same parts but for one, which may lie deeper: the module itself is never without its body."""
    parts = {name: other if part is body else part for name, part in module.named_children()}
    if other not in parts.values():
        parts = {
            name: _with_body(part, body, other) if any(each is body for each in part.modules()) else part for name, part in parts.items()
        }
    view = copy.copy(module)
    view._modules = cast("Any", {**module._modules, **parts})
    view.training = False  # Gemma 3 wants to be told in training which tokens are images
    return view
