"""What the probe says of architectures, held against what their papers and their code say, and against real backward passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from transformers import AutoModel, BartConfig, T5EncoderModel

from clinical_ie.errors import SettingError
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.encoder_classes import encoder_class, small_copy
from clinical_ie.models.encoder_probe import EncoderProbe, Tuning
from clinical_ie.models.learning_rates import parameter_groups, tells_layers_apart
from clinical_ie.models.positions import most_positions
from clinical_ie.modules import EncoderTagger
from clinical_ie.tasks import EntityTagging
from tests.models.tiny_encoders import KINDS, config_of

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated")

ABSOLUTE = {"bert", "megatron-bert", "ernie", "electra", "albert", "distilbert", "roberta", "xlm-roberta", "camembert", "big_bird"}
ROTARY = {"modernbert", "eurobert", "nomic_bert"}
"""With explicit positions. Of the others DeBERTa, XLNet, Funnel, T5 and MPNet count distances in columns, ConvBERT convolves over
columns, RoFormer makes its angles from columns, and Longformer attends to columns nearby."""
VIRTUAL = {"task_type": "FEATURE_EXTRACTION", "num_virtual_tokens": 3}


@pytest.mark.parametrize("kind", KINDS)
def test_what_architectures_can_do(kind: str) -> None:
    probe = EncoderProbe(kind, config_of(kind))
    able = kind in ABSOLUTE | ROTARY
    assert (probe.shares_positions(), probe.directs_attention()) == (able, able)
    for precision in ("bf16-mixed", "16-mixed"):
        assert probe.computes_in(precision) == (kind != "deberta"), "its mask is the least number of 32 bits, which is none of 16"
    assert probe.computes_in("32-true")


@pytest.mark.parametrize("kind", ["bert", "deberta-v2", "longformer", "convbert", "funnel"])
def test_an_encoder_that_reads_padding_is_known(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """ConvBERT convolves over it, Funnel pools it."""
    reads = kind in ("convbert", "funnel")
    assert EncoderProbe(kind, config_of(kind)).ignores_padding() != reads
    config_of(kind).save_pretrained(tmp_path)
    module = EncoderTagger(str(tmp_path), {"c": {"entities": ["Drug"]}})
    for _ in range(2):
        module.check(EntityTagging(), training=True)
    assert sum("reads padding" in record.message for record in caplog.records) == reads


def test_random_numbers_and_modes_stay() -> None:
    state = torch.get_rng_state()
    EncoderProbe("bert", config_of("bert"), Tuning(peft=PromptEncoderConfig(**VIRTUAL), dropout=0.5)).check(training=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("kind", ["longformer", "xlnet", "bert", "t5", "funnel"])
@pytest.mark.parametrize("adapter", [False, True])
def test_all_that_is_trained_gets_a_gradient(kind: str, adapter: bool, tmp_path: Path) -> None:
    """Or distributed training would stop: parameters that no text reaches are frozen, and so are adapters on them."""
    torch.manual_seed(0)
    encoder_class(config_of(kind))(config_of(kind)).save_pretrained(tmp_path)
    lora = LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules="all-linear")
    encoder = Encoder(str(tmp_path), peft=lora if adapter else None, freeze=False, markers=[[5]])
    ids = torch.tensor([[9, 10, -1, 11, 12, 13]])
    encoder(ids, torch.ones_like(ids)).pow(3).sum().backward()
    trained = {name: parameter.grad for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert [name for name, gradient in trained.items() if gradient is None] == []
    frozen = [name for name, parameter in encoder.named_parameters() if not parameter.requires_grad]
    assert all("_global" in name or "r_s_bias" in name or "seg_embed" in name or "mask_emb" in name for name in frozen)
    assert bool(frozen) == (kind in ("longformer", "xlnet"))


def test_of_t5_the_encoder_is_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    AutoModel.from_config(config_of("t5")).save_pretrained(tmp_path)  # both halves
    theirs, ids = T5EncoderModel.from_pretrained(tmp_path).eval(), torch.tensor([[9, 10, 11], [12, 13, 0]])
    mask = (ids > 0).long()
    expected = theirs(input_ids=ids, attention_mask=mask)[0][mask.bool()]
    torch.testing.assert_close(Encoder(str(tmp_path)).eval()(ids, mask)[mask.bool()], expected)


def test_an_encoder_with_a_decoder_is_refused() -> None:
    with pytest.raises(SettingError, match="a bart is an encoder with a decoder, and transformers has no class for the first alone"):
        EncoderProbe("x", BartConfig(d_model=16, encoder_layers=1, decoder_layers=1)).check(training=True)


@pytest.mark.parametrize(
    ("kind", "tuning", "message"),
    [
        ("modernbert", Tuning(peft=PrefixTuningConfig(**VIRTUAL)), "PrefixTuningConfig does not work with x, a modernbert .*-c peft/lora"),
        ("albert", Tuning(peft=PrefixTuningConfig(**VIRTUAL)), "PrefixTuningConfig does not work with x, a albert"),
        ("deberta-v2", Tuning(peft=PrefixTuningConfig(**VIRTUAL)), "PrefixTuningConfig does not work with x, a deberta-v2"),
        ("convbert", Tuning(peft=PrefixTuningConfig(**VIRTUAL)), "PrefixTuningConfig does not work with x, a convbert"),
        ("longformer", Tuning(peft=PrefixTuningConfig(**VIRTUAL)), "PrefixTuningConfig does not work with x, a longformer"),
        ("albert", Tuning(gradient_checkpointing=True), "gradient_checkpointing to false"),
        ("mpnet", Tuning(gradient_checkpointing=True), "gradient_checkpointing to false"),
        ("xlnet", Tuning(gradient_checkpointing=True), "gradient_checkpointing to false"),
    ],
)
def test_what_cannot_be_tuned_is_refused(kind: str, tuning: Tuning, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        EncoderProbe("x", config_of(kind), tuning).check(training=True)


@pytest.mark.parametrize("kind", ["albert", "electra", "distilbert", "xlnet", "t5", "modernbert"])
@pytest.mark.parametrize("peft", [PromptTuningConfig, PromptEncoderConfig])
def test_virtual_tokens_are_as_wide_as_embeddings(kind: str, peft: Any) -> None:
    EncoderProbe("x", config_of(kind), Tuning(peft=peft(**VIRTUAL))).check(training=True)


def test_any_number_of_virtual_tokens_is_tried() -> None:
    many = {"task_type": "FEATURE_EXTRACTION", "num_virtual_tokens": 200}  # of 256 positions; a small copy has fewer
    EncoderProbe("x", config_of("bert"), Tuning(peft=PromptTuningConfig(**many))).check(training=True)


def test_adapters_of_layers_that_a_small_copy_lacks() -> None:
    config = config_of("bert", num_hidden_layers=4)
    lora = LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules=["query"], layers_to_transform=[3])
    EncoderProbe("x", config, Tuning(peft=lora)).check(training=True)
    Encoder("x", base=encoder_class(config)(config), peft=lora)


@pytest.mark.parametrize("kind", ["bert", "modernbert", "eurobert", "distilbert", "xlnet", "t5", "funnel", "nomic_bert", "deberta-v2"])
def test_dropout_has_the_rate_that_is_set(kind: str, tmp_path: Path) -> None:
    """Two passes in training mode: equal without dropout, different with it; with a rate of almost 1 hardly anything is left."""
    torch.manual_seed(0)
    encoder_class(config_of(kind))(config_of(kind)).save_pretrained(tmp_path)
    ids = torch.arange(8).unsqueeze(0) + 9
    for dropout in (0.0, 0.5):
        EncoderProbe("x", config_of(kind), Tuning(dropout=dropout)).check(training=True)
        encoder = Encoder(str(tmp_path), dropout=dropout).train()
        one, two = encoder(ids, torch.ones_like(ids)), encoder(ids, torch.ones_like(ids))
        assert torch.equal(one, two) == (dropout == 0), dropout


def test_dropout_that_has_no_effect_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinical_ie.models.encoder_probe.prepared", lambda config, dropout: config)  # as names of settings may change
    with pytest.raises(SettingError, match=r"backbone_dropout is 0\.0, but in x, a bert, some dropout is left; leave it out"):
        EncoderProbe("x", config_of("bert"), Tuning(dropout=0.0)).check(training=True)
    still = config_of("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    with pytest.raises(SettingError, match="it has no effect"):
        EncoderProbe("x", still, Tuning(dropout=0.5)).check(training=True)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_can_have_rates_of_their_own(kind: str, tmp_path: Path) -> None:
    """ALBERT's layers share their weights, Funnel's stand in blocks; elsewhere embeddings have 1/8, layers 1/4 and 1/2."""
    config = config_of(kind)
    assert tells_layers_apart(small_copy(config)) == (kind not in ("albert", "funnel"))
    if kind in ("albert", "funnel"):
        return
    encoder = Encoder(kind, base=encoder_class(config)(config))
    groups = parameter_groups(
        encoder, torch.nn.Module(), learning_rate=1.0, head_learning_rate=7.0, adapter_learning_rate=5.0, layer_decay=0.5, weight_decay=0.0
    )
    rates = {parameter: group["lr"] for group in groups for parameter in group["params"]}  # type: ignore[attr-defined]
    assert rates[encoder.base.get_input_embeddings().weight] == 0.125
    found = {name: rates[parameter] for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert {rate for name, rate in found.items() if re.search(r"(layer|layers|block)\.0\.", name) and ".1.layer.0." not in name} == {0.25}
    assert {rate for name, rate in found.items() if re.search(r"(layer|layers|block)\.1\.", name) and ".0.layer.1." not in name} == {0.5}
    assert set(found.values()) <= {0.125, 0.25, 0.5, 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_all_positions_are_there_and_markers_come_on_top(kind: str) -> None:
    """A text of as many sub-words as are said to fit; behind it, where positions are shared, markers that need none of their own."""
    config = config_of(kind)
    most = most_positions(config)
    assert most == (None if kind in ("xlnet", "funnel", "t5", "mt5") else 512 if kind == "distilbert" else 256)
    length, behind = most or 300, 20 if kind in ABSOLUTE | ROTARY else 0
    encoder = Encoder(kind, base=encoder_class(config)(config), markers=[[5]]).eval()
    ids = torch.cat([torch.arange(length) % 250 + 9, torch.full((behind,), -1)]).unsqueeze(0)
    positions = torch.cat([torch.arange(length), torch.arange(behind)]).unsqueeze(0)
    with torch.no_grad():
        assert bool(encoder(ids, torch.ones_like(ids), positions).isfinite().all())
