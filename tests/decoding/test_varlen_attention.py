"""Concatenated sequences give what each gives alone, from keys that are not repeated; a model gets its own attention back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from clinical_ie.decoding import varlen_attention as module_under_test
from clinical_ie.decoding.varlen_attention import (
    VarlenLayout,
    grouped_query_attention,
    record_attention_masks,
    supports_varlen_attention,
    use_layout,
    use_varlen_attention,
    varlen_attention,
)

LOWEST = torch.finfo(torch.float32).min
CPU = torch.device("cpu")


@pytest.mark.parametrize(("heads", "key_value_heads", "width"), [(6, 2, 1), (6, 2, 5), (4, 1, 7), (4, 4, 3), (6, 3, 40)])
def test_grouped_query_attention_gives_the_numbers_of_torch(heads: int, key_value_heads: int, width: int) -> None:
    torch.manual_seed(0)
    module: Any = SimpleNamespace(num_key_value_groups=heads // key_value_heads, is_causal=True)
    query, key, value = torch.randn(3, heads, width, 16), torch.randn(3, key_value_heads, 50, 16), torch.randn(3, key_value_heads, 50, 16)
    mask = torch.zeros(3, 1, width, 50).masked_fill(torch.rand(3, 1, width, 50) < 0.4, LOWEST)
    with torch.no_grad():
        found, _ = grouped_query_attention(module, query, key, value, mask, scaling=0.3, dropout=0.0)
        expected, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.3)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("widths", [([1, 1, 1], []), ([], [4, 9]), ([1, 5, 2], [40, 7]), ([3], [3])])
@pytest.mark.parametrize(("heads", "key_value_heads"), [(6, 2), (4, 4)])
def test_sequences_do_not_attend_to_each_other(widths: tuple[list[int], list[int]], heads: int, key_value_heads: int) -> None:
    """Each sequence attends to its own keys only."""
    torch.manual_seed(0)
    module: Any = SimpleNamespace(num_key_value_groups=heads // key_value_heads, is_causal=True)
    each = [*widths[0], *widths[1]]
    tokens, positions = sum(each), 50
    query = torch.randn(1, heads, tokens, 16)
    key, value = torch.randn(len(each), key_value_heads, positions, 16), torch.randn(len(each), key_value_heads, positions, 16)
    mask = torch.zeros(1, 1, tokens, positions).masked_fill(torch.rand(1, 1, tokens, positions) < 0.4, LOWEST)
    layout = VarlenLayout.of(widths, [0] * tokens, CPU)
    with torch.no_grad(), use_layout(layout):
        found, _ = varlen_attention(module, query, key, value, mask, scaling=0.3)
        again, _ = varlen_attention(module, query, key, value, mask, scaling=0.3)
    assert torch.equal(found, again)
    assert found.shape == (1, tokens, heads, 16)
    first = 0
    for row, width in enumerate(each):
        some = slice(first, first + width)
        expected, _ = sdpa_attention_forward(
            module, query[:, :, some], key[row : row + 1], value[row : row + 1], mask[:, :, some], scaling=0.3
        )
        torch.testing.assert_close(found[:, some], expected, atol=1e-6, rtol=1e-5)
        first += width


def test_layout() -> None:
    layout = VarlenLayout.of(([1, 2], [3]), [7, 8, 9, 0, 1, 2], CPU)
    assert layout.rows.tolist() == [0, 1, 1, 2, 2, 2]
    assert layout.cache_positions.tolist() == [7, 8, 9, 0, 1, 2]


def test_keys_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    original = module_under_test.scaled_dot_product_attention

    def recording(query: Any, key: Any, *rest: Any, **options: Any) -> Any:
        seen.append(tuple(key.shape))
        return original(query, key, *rest, **options)

    monkeypatch.setattr(module_under_test, "scaled_dot_product_attention", recording)
    module: Any = SimpleNamespace(num_key_value_groups=3, is_causal=True)
    with torch.no_grad():
        grouped_query_attention(module, torch.randn(2, 6, 4, 8), torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 8), torch.zeros(2, 1, 4, 9))
    assert seen == [(2, 2, 9, 8)]


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_model_gets_its_attention_back(tiny_llama: str, implementation: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, attn_implementation=implementation).eval()
    mask = torch.zeros(1, 1, 3, 3)
    with use_varlen_attention(model), record_attention_masks() as recorded, torch.no_grad():
        inside = model.config._attn_implementation
        model(input_ids=torch.tensor([[1, 2, 3]]), attention_mask=mask)
    assert (inside == implementation) == (implementation == "eager")
    assert model.config._attn_implementation == implementation
    assert supports_varlen_attention(recorded, model.config.num_hidden_layers) == (implementation == "sdpa")


def test_varlen_attention_needs_every_layer_to_pass_the_given_masks() -> None:
    one, two, three = (torch.zeros(1, 1, 4, 4) for _ in range(3))
    assert supports_varlen_attention([one, two, one, two], 4)
    assert not supports_varlen_attention([one, two, one], 4), "a layer that went its own way"
    assert not supports_varlen_attention([], 4)
    assert not supports_varlen_attention([one, None], 2)
    assert not supports_varlen_attention([one, two, three], 3), "a mask for each layer"
    assert not supports_varlen_attention([torch.zeros(1, 8, 4, 4)] * 3, 3), "a mask for each head"


def test_masks_of_a_layout_are_not_mistaken_for_another() -> None:
    """Python reuses the ids of deleted objects."""
    layout = VarlenLayout.of(([2, 1], []), [0, 1, 0], CPU)
    for value in range(20):
        mask = torch.full((1, 1, 3, 2), float(value))
        assert all(part.eq(value).all() for part in layout.masks(mask))
        del mask
