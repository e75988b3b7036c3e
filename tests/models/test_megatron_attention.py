"""The fused attention of GatorTron's architecture gives what transformers' own, step by step, gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, DynamicCache, MegatronBertConfig, MegatronBertModel
from transformers.models.megatron_bert.modeling_megatron_bert import MegatronBertSelfAttention

from clinical_ie.models.backbones import load_encoder
from clinical_ie.models.megatron_attention import FusedMegatronSelfAttention, use_fused_attention

CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 2e-5}


def models(dropout: float = 0.0) -> tuple[MegatronBertModel, MegatronBertModel]:
    """Transformers' model, and the same weights with fused attention."""
    config = MegatronBertConfig(
        vocab_size=64, hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=48, max_position_embeddings=64,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    torch.manual_seed(0)
    eager = MegatronBertModel(config, add_pooling_layer=False)
    for parameter in eager.parameters():
        nn.init.normal_(parameter, std=0.3)
    fused = MegatronBertModel(config, add_pooling_layer=False)
    fused.load_state_dict(eager.state_dict())
    assert use_fused_attention(fused) == 3
    return eager, fused


def inputs(rows: int = 3, width: int = 11) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(rows, width, dtype=torch.long)
    mask[1, 7:] = 0
    mask[2, 1:] = 0  # a row of one sub-word
    return {"input_ids": torch.randint(64, (rows, width), generator=generator), "attention_mask": mask}


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Calls of the fused kernel from now on."""
    calls: list[int] = []
    original = nn.functional.scaled_dot_product_attention

    def count(*given: Any, **options: Any) -> Tensor:
        calls.append(1)
        return original(*given, **options)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", count)
    return calls


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_equals_eager(training: bool, padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    eager, fused = models()
    given = inputs()
    if not padded:
        del given["attention_mask"]
    real = given.get("attention_mask", torch.ones_like(given["input_ids"])).bool()
    one = eager.train(training)(**given)[0][real]
    calls = counted(monkeypatch)
    two = fused.train(training)(**given)[0][real]
    assert len(calls) == 3
    torch.testing.assert_close(two, one, **CLOSE)
    for model, out in ((eager, one), (fused, two)):
        (out * torch.linspace(-1, 1, 24)).pow(2).sum().backward()
        assert all(p.grad is not None for name, p in model.named_parameters()), "every weight takes part"
    scale = max(float(p.grad.abs().max()) for p in eager.parameters())
    for (name, p), q in zip(eager.named_parameters(), fused.named_parameters(), strict=True):
        torch.testing.assert_close(q[1].grad / scale, p.grad / scale, rtol=1e-3, atol=1e-6, msg=lambda said, name=name: f"{name}: {said}")


def test_attention_that_differs_from_row_to_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask of ``(B, 1, L, L)`` that is added to scores, as packing would need it."""
    eager, fused = models()
    ids = inputs()["input_ids"]
    mask = torch.zeros(3, 1, 11, 11)
    mask[:, :, :5, 5:] = mask[:, :, 5:, :5] = torch.finfo(torch.float32).min
    one = eager.eval()(ids, attention_mask=mask)[0]
    calls = counted(monkeypatch)
    torch.testing.assert_close(fused.eval()(ids, attention_mask=mask)[0], one, **CLOSE)
    assert len(calls) == 3
    apart = fused(ids[:, :5])[0]
    torch.testing.assert_close(one[:, :5], apart, **CLOSE)


@pytest.mark.parametrize("padded", [False, True])
def test_prefix(padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cached keys and values in front, as prefix tuning gives them."""
    eager, fused = models()
    given = inputs()
    mask = given["attention_mask"] if padded else torch.ones(3, 11, dtype=torch.long)
    generator = torch.Generator().manual_seed(2)
    prefix = [tuple(torch.randn(3, 3, 4, 8, generator=generator) for _ in range(2)) for _ in range(3)]
    options = {
        "input_ids": given["input_ids"],
        "attention_mask": torch.cat([mask.new_ones(3, 4), mask], 1),
        "position_ids": torch.arange(11).expand(3, 11),
    }
    one = eager.eval()(**options, past_key_values=DynamicCache(prefix))[0]
    calls = counted(monkeypatch)
    two = fused.eval()(**options, past_key_values=DynamicCache(prefix))[0]
    assert len(calls) == 3
    torch.testing.assert_close(two[mask.bool()], one[mask.bool()], **CLOSE)
    without = fused(input_ids=given["input_ids"], attention_mask=mask)[0]
    assert not torch.allclose(two, without, atol=1e-2), "the prefix is seen"


def test_requested_attention_weights_take_the_eager_path(monkeypatch: pytest.MonkeyPatch) -> None:
    eager, fused = models()
    calls = counted(monkeypatch)
    one, two = (model.eval()(**inputs(), output_attentions=True) for model in (eager, fused))
    assert not calls
    assert len(two.attentions) == 3
    torch.testing.assert_close(two.attentions, one.attentions, **CLOSE)
    torch.testing.assert_close(two[0], one[0], **CLOSE)


def test_a_second_input_takes_the_old_road() -> None:
    eager, fused = models()
    generator = torch.Generator().manual_seed(3)
    hidden, other = (torch.randn(2, 5, 24, generator=generator) for _ in range(2))
    one, two = (m.eval().encoder.layer[0].attention.self(hidden, None, other)[0] for m in (eager, fused))
    torch.testing.assert_close(two, one, **CLOSE)


def test_dropout_only_in_training() -> None:
    _, fused = models(dropout=0.4)
    for module in fused.modules():
        if isinstance(module, nn.Dropout) and module not in [m.dropout for m in fused.modules() if hasattr(m, "num_attention_heads")]:
            module.p = 0.0  # what is left is that of attention
    given = inputs()
    fused.eval()
    assert torch.equal(fused(**given)[0], fused(**given)[0])
    fused.train()
    assert not torch.equal(fused(**given)[0], fused(**given)[0])


def test_who_gets_it(tmp_path: Any) -> None:
    eager, fused = models()
    assert use_fused_attention(fused) == 0, "once is enough"
    assert (
        use_fused_attention(
            BertModel(BertConfig(vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=2), add_pooling_layer=False)
        )
        == 0
    )
    eager.save_pretrained(tmp_path)
    loaded = load_encoder(str(tmp_path))
    kinds = {type(m) for m in loaded.modules() if isinstance(m, MegatronBertSelfAttention)}
    assert kinds == {FusedMegatronSelfAttention}
    assert loaded.state_dict().keys() == eager.state_dict().keys(), "weights keep their names"
