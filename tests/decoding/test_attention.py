"""Heads as more queries of one head give what torch's attention gives, and a model has its own attention back afterwards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from clinical_ie.decoding import attention
from clinical_ie.decoding.attention import heads_as_queries, shared_keys


@pytest.mark.parametrize(("heads", "shared", "width"), [(6, 2, 1), (6, 2, 5), (4, 1, 7), (4, 4, 3), (6, 3, 40)])
def test_the_numbers_are_those_of_torch(heads: int, shared: int, width: int) -> None:
    torch.manual_seed(0)
    module: Any = SimpleNamespace(num_key_value_groups=heads // shared, is_causal=True)
    query, key, value = torch.randn(3, heads, width, 16), torch.randn(3, shared, 50, 16), torch.randn(3, shared, 50, 16)
    mask = torch.zeros(3, 1, width, 50).masked_fill(torch.rand(3, 1, width, 50) < 0.4, torch.finfo(torch.float32).min)
    with torch.no_grad():
        found, _ = heads_as_queries(module, query, key, value, mask, scaling=0.3, dropout=0.0)
        expected, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.3)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_keys_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    original = attention.scaled_dot_product_attention

    def watched(query: Any, key: Any, *rest: Any, **options: Any) -> Any:
        seen.append(tuple(key.shape))
        return original(query, key, *rest, **options)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", watched)
    module: Any = SimpleNamespace(num_key_value_groups=3, is_causal=True)
    with torch.no_grad():
        heads_as_queries(module, torch.randn(2, 6, 4, 8), torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 8), torch.zeros(2, 1, 4, 9))
    assert seen == [(2, 2, 9, 8)]


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_model_has_its_attention_back(tiny_llama: str, implementation: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, attn_implementation=implementation)
    with shared_keys(model):
        inside = model.config._attn_implementation
    assert (inside == implementation) == (implementation == "eager")
    assert model.config._attn_implementation == implementation
