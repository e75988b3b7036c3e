"""Decoders of the real classes of transformers: what the probe finds, and that what it lets through is right.

The oracle of logits and losses is the model of transformers itself on one example at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig
from transformers import AutoModelForCausalLM

from clinical_ie.data.collation import InstructionCollator
from clinical_ie.errors import SettingError
from clinical_ie.models.block_mask import block_mask
from clinical_ie.models.cross_entropy import chunked_cross_entropy
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.positions import most_positions
from clinical_ie.tasks.instruction import InstructionExample
from tests.models.decoder_families import FAMILIES, save_family

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated")

SCALED = ("Granite", "Cohere", "Cohere 2", "Gemma 2", "Gemma 3", "GPT-2", "OPT with projection", "DeepSeek-V3", "Gemma 3 with images")
CARRY_A_STATE = (
    "Mamba", "Mamba-2", "LFM2", "Falcon-H1", "Qwen3-Next", "Jamba", "Granite-4 hybrid", "RecurrentGemma", "RWKV", "xLSTM",
)  # fmt: skip
OTHER_MASKS = ("Bloom", "Falcon with ALiBi", "Llama 4")


def examples(count: int) -> list[InstructionExample]:
    """Two prefixes, and of each some examples, longer than any window of the families."""
    generator = torch.Generator().manual_seed(5)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(8, 96, (length,), generator=generator).tolist())

    prefixes = ids(9), ids(6)
    return [
        InstructionExample(
            f"e{rank}", "d", "c", "entity_instruction", ids(4 + rank), prefixes[rank % 2], ids(3 + rank), (0, 1), (), (), (), None
        )
        for rank in range(count)
    ]


def loss(decoder: Decoder, given: list[InstructionExample], *, packed: bool) -> float:
    batch = InstructionCollator(0, packed=packed)(given)
    hidden = decoder(batch["input_ids"], batch["position_ids"], block_mask(batch["segment_ids"], batch["prefix_segment_ids"]))
    states = hidden.flatten(0, 1)[batch["loss_positions"]]
    return float(chunked_cross_entropy(states, batch["targets"], decoder.logits, chunks=4))


def loss_of_transformers(folder: str, given: list[InstructionExample]) -> float:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    total = 0.0
    for example in given:
        ids = torch.tensor([[*example.prefix_ids, *example.input_ids, *example.response]])
        labels = ids.clone()
        labels[0, : -len(example.response)] = -100
        total += float(model(input_ids=ids, labels=labels, use_cache=False).loss) * len(example.response)
    return total


@torch.no_grad()
@pytest.mark.parametrize("family", SCALED)
def test_the_loss_is_that_of_transformers(family: str, tmp_path: Path) -> None:
    """Also where logits are scaled, capped or projected."""
    folder = save_family(family, tmp_path)
    decoder = Decoder(folder).eval()
    given = examples(5)
    wanted = loss_of_transformers(folder, given)
    assert decoder.packing_problem is None
    assert loss(decoder, given, packed=True) == pytest.approx(wanted, abs=5e-4 + 1e-6 * wanted)
    assert loss(decoder, given, packed=False) == pytest.approx(wanted, abs=5e-4 + 1e-6 * wanted)
    nothing = decoder(torch.tensor([[9]]), torch.tensor([[0]]), torch.ones(1, 1, 1, dtype=torch.bool))[0, :0]
    assert decoder.logits(nothing).shape == (0, 96), "a rank without tokens calls the head as often as others"


@pytest.mark.parametrize("family", CARRY_A_STATE + OTHER_MASKS)
def test_decoders_that_read_another_way_are_refused(family: str, tmp_path: Path) -> None:
    """At once, by name, with the remedy; no error of torch."""
    folder = save_family(family, tmp_path)
    with pytest.raises(SettingError, match=r"ForCausalLM\) cannot be trained here: .*take a decoder with attention in all of its layers"):
        Decoder(folder)


@torch.no_grad()
@pytest.mark.parametrize(("family", "other"), [("MPT", {}), ("GPT-Neo", {"window_size": 40})])
def test_columns_instead_of_positions_forbid_packing_only(
    family: str, other: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MPT's biases and GPT-Neo's windows count columns: right in a row alone, also where the window is wider than all that is probed."""
    kind, settings = FAMILIES[family]
    monkeypatch.setitem(FAMILIES, family, (kind, settings | other))
    folder = save_family(family, tmp_path)
    decoder = Decoder(folder).eval()
    assert decoder.packing_problem is not None
    assert "other logits than in the model's own pass" in decoder.packing_problem
    given = examples(4)
    wanted = loss_of_transformers(folder, given)
    assert loss(decoder, given, packed=False) == pytest.approx(wanted, abs=5e-4 + 1e-6 * wanted)


def test_nothing_is_changed_by_the_probe(tmp_path: Path) -> None:
    folder = save_family("Gemma 3", tmp_path)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    decoder = Decoder(folder, dropout=0.2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(module.training for module in decoder.model.modules())
    assert decoder.sliding_window == decoder.base.config.sliding_window == 5
    assert all(parameter.grad is None and parameter.requires_grad for parameter in decoder.parameters())
    stored: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert all(torch.equal(value, stored.state_dict()[name]) for name, value in decoder.base.state_dict().items())


@torch.no_grad()
def test_what_sees_is_neither_trained_nor_adapted(tmp_path: Path) -> None:
    """Gemma 3, MedGemma: the vision tower gets no gradient from text. The adapter fits the whole model in plain PEFT."""
    folder = save_family("Gemma 3 with images", tmp_path / "base")
    trained = {name for name, parameter in Decoder(folder).named_parameters() if parameter.requires_grad}
    assert trained
    assert not [name for name in trained if "language_model" not in name]
    decoder = Decoder(folder, peft=LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    assert decoder.adapters
    assert not [name for name in decoder.adapters if "language_model" not in name]
    decoder.model.save_pretrained(tmp_path / "adapter")
    whole: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), tmp_path / "adapter").eval()
    ids, places = torch.arange(8, 20).unsqueeze(0), torch.arange(12).unsqueeze(0)
    ours = decoder.eval().logits(decoder(ids, places, torch.ones(1, 12, 12, dtype=torch.bool).tril()))
    torch.testing.assert_close(ours, whole(input_ids=ids, use_cache=False).logits)


def test_trained_parameters_without_a_gradient_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the vision tower would be, were it not left out."""
    folder = save_family("Gemma 3 with images", tmp_path)
    monkeypatch.setattr("clinical_ie.models.decoder.parts_beside_text", lambda model: {})
    with pytest.raises(SettingError, match=r"\d+ of \d+ parameters that would be trained get no gradient from text, such as model.*vision"):
        Decoder(folder)
    with pytest.raises(SettingError, match="get no gradient"):
        Decoder(folder, peft=LoraConfig(r=2, target_modules="all-linear"))
    Decoder(folder, peft=LoraConfig(r=2, target_modules=r".*language_model.*q_proj"))


@pytest.mark.parametrize(
    ("family", "dropout", "message"),
    [
        ("OPT", 0.2, None), ("OPT", 0.0, None), ("BioGPT", 0.0, None), ("Llama", 0.3, None), ("Gemma 3", 0.0, None),
        ("MPT", 0.3, "takes no backbone_dropout of 0.3 as its attn_pdrop"), ("RWKV", 0.3, "has no dropout"),
        ("Mamba", 0.0, "cannot be trained here"),
    ],
)  # fmt: skip
def test_dropout_is_what_was_set_or_refused(family: str, dropout: float, message: str | None, tmp_path: Path) -> None:
    """OPT and BioGPT bring 0.1 under other names than Llama's; before and after the training pass of the probe."""
    folder = save_family(family, tmp_path)
    if message is not None:
        with pytest.raises(SettingError, match=message):
            Decoder(folder, dropout=dropout)
        return
    decoder = Decoder(folder, dropout=dropout).train()
    ids, places = torch.arange(8, 20).unsqueeze(0), torch.arange(12).unsqueeze(0)
    causal = torch.ones(1, 12, 12, dtype=torch.bool).tril()
    with torch.no_grad():
        one, two = decoder(ids, places, causal), decoder(ids, places, causal)
    assert torch.equal(one, two) == (dropout == 0)


def test_a_dropout_that_stays_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_family("OPT", tmp_path)
    monkeypatch.setattr("clinical_ie.models.decoder_loading._set_dropout", lambda *_: None)
    with pytest.raises(SettingError, match=r"backbone_dropout is 0, but .*OPTForCausalLM\) keeps a dropout of its own"):
        Decoder(folder, dropout=0.0)


def test_a_prefix_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """DeepSeek's keys are wider than its values, which PEFT's prefix does not know."""
    folder = save_family("DeepSeek-V3", tmp_path)
    with pytest.raises(SettingError, match="PrefixTuningConfig does not fit"):
        Decoder(folder, peft=PrefixTuningConfig(num_virtual_tokens=3))


@torch.no_grad()
@pytest.mark.parametrize("virtual", [0, 4])
@pytest.mark.parametrize(("family", "positions"), [("GPT-2", "n_positions"), ("OPT", "max_position_embeddings"), ("MPT", "max_seq_len")])
def test_the_last_position_is_known(family: str, positions: str, virtual: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of as many tokens as there are positions, less those of virtual tokens, is read; one more token fails in torch."""
    kind, settings = FAMILIES[family]
    monkeypatch.setitem(FAMILIES, family, (kind, settings | {positions: 20}))
    prompt = PromptTuningConfig(num_virtual_tokens=virtual, num_attention_heads=4) if virtual else None
    decoder = Decoder(save_family(family, tmp_path), peft=prompt).eval()
    most = most_positions(decoder.base.config)
    assert most == 20
    for length in (most - virtual, most - virtual + 1):
        ids, places = torch.full((1, length), 9), torch.arange(length).unsqueeze(0)
        causal = torch.ones(1, length, length, dtype=torch.bool).tril()
        if length + virtual == most:
            assert decoder(ids, places, causal).isfinite().all()
        else:
            with pytest.raises((IndexError, RuntimeError)):
                decoder(ids, places, causal)


@torch.no_grad()
def test_positions_end_where_frequencies_would_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LongRoPE: up to there a row is what it is alone; beside a longer one it is something else."""
    kind, settings = FAMILIES["Phi-3"]
    rotary = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 16}
    rotary |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    monkeypatch.setitem(FAMILIES, "Phi-3", (kind, settings | {"rope_parameters": rotary, "original_max_position_embeddings": 16}))
    decoder = Decoder(save_family("Phi-3", tmp_path)).eval()
    most = most_positions(decoder.base.config)
    assert most == 16
    ids = torch.arange(8, 8 + most + 1).expand(2, -1)
    short = torch.tensor([6, most + 1])

    def states(length: int) -> torch.Tensor:
        """Of a row of 6 tokens beside a longer one."""
        segments = (torch.arange(length) < short.unsqueeze(1)).long()
        positions = torch.where(segments > 0, torch.arange(length), 0)
        return decoder(ids[:, :length], positions, block_mask(segments, torch.zeros_like(segments)))[0, :6]

    alone = decoder(ids[:1, :6], torch.arange(6).unsqueeze(0), torch.ones(1, 6, 6, dtype=torch.bool).tril())[0]
    torch.testing.assert_close(states(most), alone, rtol=1e-4, atol=1e-4)
    assert (states(most + 1) - alone).abs().max() > 0.1


@pytest.mark.parametrize(
    "more", [{"trainable_token_indices": [5, 6]}, {"target_modules": ["embed_tokens"]}, {"modules_to_save": ["embed_tokens"]}]
)
def test_embeddings_may_be_adapted(more: dict[str, Any], tmp_path: Path) -> None:
    decoder = Decoder(save_family("Llama", tmp_path), peft=LoraConfig(**{"r": 2, "target_modules": ["q_proj"], **more}))
    assert any("embed_tokens" in name for name in decoder.adapters)
