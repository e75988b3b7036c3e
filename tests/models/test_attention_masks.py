"""ModernBERT's sliding windows, held against transformers' own forward and against tokens that stand where their positions say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig
from torch import Tensor, nn
from transformers import ModernBertConfig, ModernBertModel

from clinical_ie.models.attention_masks import AttentionMasks, unattended_mask
from clinical_ie.models.encoder import Encoder

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated")  # PEFT asks transformers so

CLOSE: dict[str, float] = {"rtol": 0, "atol": 1e-5}
HALF_WINDOW, WORDS = 4, 40
SIZES: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 48, "pad_token_id": 0,
    "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3, "max_position_embeddings": 64,
    "local_attention": 2 * HALF_WINDOW, "global_attn_every_n_layers": 3,
}  # fmt: skip


def saved(folder: Path, **more: Any) -> ModernBertModel:
    torch.manual_seed(7)
    model = ModernBertModel(ModernBertConfig(**SIZES | more))
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.2)
    model.save_pretrained(folder)
    return model.eval()


def text() -> tuple[Tensor, Tensor]:
    ids = torch.randint(5, 96, (2, WORDS), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 25:] = 0
    return ids, mask


@pytest.mark.parametrize("method", [None, "lora", "prompt"])
def test_a_plain_text_is_as_transformers_has_it(method: str | None, tmp_path: Path) -> None:
    theirs = saved(tmp_path)
    assert theirs.config.layer_types == ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    ids, mask = text()
    positions = torch.arange(WORDS).expand(2, WORDS)
    lora = LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules="all-linear")
    peft = {None: None, "lora": lora, "prompt": PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)}[method]
    encoder = Encoder(str(tmp_path), peft=peft).eval()
    with torch.no_grad():
        if method == "prompt":  # virtual tokens that are words: they stand in the first three positions
            front = torch.tensor([30, 31, 32])
            dict(encoder.named_parameters())["model.prompt_encoder.default.embedding.weight"].copy_(encoder.embed_tokens(front))
            both = torch.cat([front.expand(2, 3), ids], 1)
            places = torch.cat([torch.arange(3), torch.arange(WORDS)])
            far = (places[:, None] - places[None]).abs() > HALF_WINDOW
            blocked = torch.cat([torch.ones(2, 3), mask], 1)[:, None, None, :] == 0
            masks = {"full_attention": blocked.expand(2, 1, WORDS + 3, WORDS + 3), "sliding_attention": blocked | far}
            low = {kind: torch.zeros(of.shape).masked_fill(of, -1e30) for kind, of in masks.items()}
            expected = theirs(input_ids=both, attention_mask=low, position_ids=places.expand(2, -1))[0][:, 3:]
        else:
            expected = theirs(input_ids=ids, attention_mask=mask)[0]
        for given in (None, positions):
            torch.testing.assert_close(encoder(ids, mask, given)[mask.bool()], expected[mask.bool()], **CLOSE)


def test_queries_behind_a_text_do_not_see_each_other(tmp_path: Path) -> None:
    """Each gets what it gets alone, wherever it stands, and the text what it gets without any."""
    theirs, (ids, mask) = saved(tmp_path), text()
    encoder = Encoder(str(tmp_path), markers=[[5], [6]]).eval()
    at = [3, 3, 8, 20, 37, WORDS]  # some see each other's words through a sliding window, some do not
    row = torch.cat([ids, torch.tensor([[-1, -2, -1, -2, -1, -2]] * 2)], 1)
    there, positions = nn.functional.pad(mask, (0, len(at)), value=1), torch.tensor([*range(WORDS), *at]).expand(2, -1)
    with torch.no_grad():
        found = encoder(row, there, positions, None, row < 0)
        torch.testing.assert_close(found[:, :WORDS][mask.bool()], theirs(input_ids=ids, attention_mask=mask)[0][mask.bool()], **CLOSE)
        for place in range(WORDS, row.shape[1]):
            kept = [*range(WORDS), place]
            alone = encoder(row[:, kept], there[:, kept], positions[:, kept], None, row[:, kept] < 0)
            torch.testing.assert_close(found[:, place], alone[:, -1], **CLOSE)


def test_a_marker_behind_a_text_is_where_its_position_says(tmp_path: Path) -> None:
    """Columns count for nothing: the same tokens in any order, each with its position, have the same states."""
    saved(tmp_path)
    encoder, (ids, mask) = Encoder(str(tmp_path), markers=[[5], [6]]).eval(), text()
    row = torch.cat([ids, torch.tensor([[-1, -2]] * 2)], 1)
    there, positions = nn.functional.pad(mask, (0, 2), value=1), torch.tensor([*range(WORDS), 2, 21]).expand(2, -1)
    inside = [0, 1, 2, WORDS, *range(3, 22), WORDS + 1, *range(22, WORDS)]
    with torch.no_grad():
        behind = encoder(row, there, positions)
        moved = encoder(row[:, inside], there[:, inside], positions[:, inside])
    kept = there[:, inside].bool()
    torch.testing.assert_close(moved[kept], behind[:, inside][kept], **CLOSE)


@pytest.mark.parametrize("distance", [-HALF_WINDOW - 1, -HALF_WINDOW, 0, HALF_WINDOW, HALF_WINDOW + 1])
def test_a_marker_sees_as_far_as_the_window(distance: int, tmp_path: Path) -> None:
    """One sliding layer: words at most `local_attention` / 2 from the mention (Warner et al. 2024), none further off."""
    saved(tmp_path, num_hidden_layers=1, layer_types=["sliding_attention"])
    encoder, (ids, mask) = Encoder(str(tmp_path), markers=[[5]]).eval(), text()
    row = torch.cat([ids, torch.tensor([[-1]] * 2)], 1)
    there, positions = nn.functional.pad(mask, (0, 1), value=1), torch.tensor([*range(WORDS), 12]).expand(2, -1)
    changed = row.clone()
    changed[:, 12 + distance] = 5 + (row[:, 12 + distance] - 4) % 90
    with torch.no_grad():
        difference = float((encoder(row, there, positions)[:, -1] - encoder(changed, there, positions)[:, -1]).abs().max())
    assert (difference > 1e-3) == (abs(distance) <= HALF_WINDOW)
    assert difference == 0 or abs(distance) <= HALF_WINDOW


def test_layers_of_one_kind_have_one_mask() -> None:
    _, mask = text()
    config = ModernBertConfig(**SIZES | {"layer_types": ["full_attention"] * 4})
    assert AttentionMasks(config)(mask, torch.arange(WORDS).expand(2, -1), torch.float32) is mask


def test_masks_by_hand() -> None:
    """Three words and a marker on the first, which nobody attends to; a window of one."""
    masks = AttentionMasks(ModernBertConfig(**SIZES | {"local_attention": 2}))
    visible = unattended_mask(torch.ones(1, 4, dtype=torch.long), torch.tensor([[False, False, False, True]]))
    found = masks(visible, torch.tensor([[0, 1, 2, 0]]), torch.bfloat16)
    assert isinstance(found, dict)
    assert {of.dtype for of in found.values()} == {torch.bfloat16}
    assert (found["full_attention"] == 0).int().tolist() == [[[[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]]]
    assert (found["sliding_attention"] == 0).int().tolist() == [[[[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [1, 1, 0, 1]]]]
