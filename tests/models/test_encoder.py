"""Adapters, virtual tokens and markers over three architectures, each built on disk and loaded as published ones are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from torch import Tensor, nn
from transformers import AutoModel, MegatronBertConfig, MegatronBertForPreTraining, RobertaConfig, RobertaModel

from clinical_ie.errors import SettingError
from clinical_ie.models.encoder import Encoder

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated")  # PEFT and we ask transformers so

CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 2e-5}
SIZES: dict[str, Any] = {"vocab_size": 96, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
KINDS = ("bert", "megatron-bert", "roberta")
METHODS = ("lora", "dora", "ia3", "p_tuning", "prefix_tuning", "prompt_tuning")
PROMPTS = ("p_tuning", "prefix_tuning", "prompt_tuning")
PEFT_FILES = Path(__file__).parents[2] / "configs" / "peft"
PAD = {"bert": 0, "megatron-bert": 0, "roberta": 1}


def spread(model: nn.Module) -> None:
    """Weights as different as trained ones; small random ones hide every mistake."""
    torch.manual_seed(7)
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, mean=1.0 if "LayerNorm.weight" in name or "ln.weight" in name else 0.0, std=0.2)


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder for each architecture; 40 positions."""
    from transformers import BertConfig, BertModel

    folders = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    bert = BertModel(BertConfig(**SIZES, max_position_embeddings=40))
    spread(bert)
    bert.save_pretrained(folders["bert"])
    roberta = RobertaModel(RobertaConfig(**SIZES, max_position_embeddings=42, pad_token_id=1, type_vocab_size=1))
    spread(roberta)
    roberta.save_pretrained(folders["roberta"])
    megatron = MegatronBertForPreTraining(MegatronBertConfig(**SIZES, max_position_embeddings=40))
    spread(megatron)
    torch.save(megatron.state_dict(), folders["megatron-bert"] / "pytorch_model.bin")
    config = SIZES | {"model_type": "megatron-bert", "max_position_embeddings": 40}
    (folders["megatron-bert"] / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return {kind: str(folder) for kind, folder in folders.items()}


def config_of(method: str) -> PeftConfig:
    """A fresh configuration from its file."""
    given = yaml.safe_load((PEFT_FILES / f"{method}.yaml").read_text(encoding="utf-8"))["model"]["init_args"]["peft"]
    kinds = {"LoraConfig": LoraConfig, "IA3Config": IA3Config, "PromptEncoderConfig": PromptEncoderConfig}
    kinds |= {"PrefixTuningConfig": PrefixTuningConfig, "PromptTuningConfig": PromptTuningConfig}
    found: PeftConfig = kinds[given["class_path"].removeprefix("peft.")](**given["init_args"])
    return found


Made = Callable[..., Encoder]


@pytest.fixture
def made(bases: dict[str, str]) -> Made:
    """An encoder without dropout whose adapters do something."""

    def make(kind: str, method: str | None = None, **options: Any) -> Encoder:
        torch.manual_seed(1)
        encoder = Encoder(bases[kind], peft=None if method is None else config_of(method), **{"dropout": 0.0, **options})
        for name, parameter in encoder.named_parameters():
            if name in encoder.adapters:
                nn.init.normal_(parameter, mean=1.0 if "ia3" in name or "magnitude" in name else 0.0, std=0.2)
        return encoder.eval()

    return make


def text(kind: str, rows: int = 3, width: int = 9) -> tuple[Tensor, Tensor]:
    """Sub-words (never padding ones) and a mask of rows as long as the width, and two shorter."""
    ids = torch.randint(5, 96, (rows, width), generator=torch.Generator().manual_seed(2))
    mask = torch.ones(rows, width, dtype=torch.long)
    mask[1, 6:] = 0
    mask[2, 3:] = 0
    return ids.masked_fill(mask == 0, PAD[kind]), mask


def test_every_method_has_its_file() -> None:
    assert {path.stem for path in PEFT_FILES.glob("*.yaml")} == {
        *METHODS,
        "full",
        "frozen",
        "prompt_tuning_unfrozen",
        "lora_study",
        "qlora",
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [None, *METHODS])
def test_one_vector_for_each_sub_word(kind: str, method: str | None, made: Made) -> None:
    ids, mask = text(kind)
    found = made(kind, method)(ids, mask)
    assert found.shape == (3, 9, 24)
    if method is not None:
        assert not torch.allclose(found[mask.bool()], made(kind)(ids, mask)[mask.bool()], atol=1e-2), "the adapter does something"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [None, *METHODS])
@pytest.mark.parametrize("markers", [False, True])
def test_vectors_do_not_depend_on_padding_or_neighbours(kind: str, method: str | None, markers: bool, made: Made) -> None:
    encoder = made(kind, method, markers=[[5, 6]] if markers else [])
    ids, mask = text(kind)
    with torch.no_grad():
        together = encoder(ids, mask)
        wider = encoder(nn.functional.pad(ids, (0, 5), value=PAD[kind]), nn.functional.pad(mask, (0, 5)))
        for row in range(3):
            length = int(mask[row].sum())
            alone = encoder(ids[row : row + 1, :length], mask[row : row + 1, :length])[0]
            torch.testing.assert_close(together[row, :length], alone, **CLOSE)
            torch.testing.assert_close(wider[row, :length], alone, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [None, *METHODS])
@pytest.mark.parametrize("markers", [False, True])
def test_positions_count_from_0_by_default(kind: str, method: str | None, markers: bool, made: Made) -> None:
    encoder = made(kind, method, markers=[[5, 6]] if markers else [])
    ids, mask = text(kind)
    one, two = encoder(ids, mask), encoder(ids, mask, torch.arange(9).expand(3, 9))
    torch.testing.assert_close(one[mask.bool()], two[mask.bool()], rtol=0, atol=1e-6)
    moved = encoder(ids, mask, torch.arange(9).expand(3, 9) + 3)
    assert not torch.allclose(one[mask.bool()], moved[mask.bool()], atol=1e-2), "positions are used"


@pytest.mark.parametrize("kind", KINDS)
def test_without_adapters_it_is_the_backbone(kind: str, made: Made, bases: dict[str, str]) -> None:
    ids, mask = text(kind)
    plain = AutoModel.from_pretrained(bases[kind], add_pooling_layer=False).eval()
    expected = plain(input_ids=ids, attention_mask=mask)[0][mask.bool()]
    torch.testing.assert_close(made(kind)(ids, mask)[mask.bool()], expected, **CLOSE)
    torch.testing.assert_close(made(kind, markers=[[5]])(ids, mask)[mask.bool()], expected, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [None, *METHODS])
def test_more_sub_words_than_positions(kind: str, method: str | None, made: Made) -> None:
    """Levitated markers, and virtual tokens, come on top of all positions that there are."""
    encoder = made(kind, method, markers=[[5]])
    ids = torch.randint(5, 96, (2, 40), generator=torch.Generator().manual_seed(2))
    ids = torch.cat([ids, torch.full((2, 10), -1)], 1)
    positions = torch.cat([torch.arange(40), torch.arange(0, 40, 4)]).expand(2, 50)
    assert encoder(ids, torch.ones_like(ids), positions).shape == (2, 50, 24)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [None, *METHODS])
def test_markers_that_share_a_position(kind: str, method: str | None, made: Made) -> None:
    """Without positions of their own, the same markers in another order give the same vectors."""
    encoder = made(kind, method, markers=[[5], [7]])
    ids = torch.tensor([[4, 9, 8, 6, -1, -2, -1]])
    positions = torch.tensor([[0, 1, 2, 3, 1, 2, 3]])
    order = [0, 1, 2, 3, 6, 4, 5]
    one = encoder(ids, torch.ones_like(ids), positions)
    two = encoder(ids[:, order], torch.ones_like(ids), positions[:, order])
    torch.testing.assert_close(two, one[:, order], **CLOSE)
    assert not torch.allclose(one[0, 4], one[0, 6], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [None, "lora", "prompt_tuning", "prefix_tuning"])
def test_a_marker_is_a_word_of_our_own(kind: str, method: str | None, made: Made) -> None:
    encoder = made(kind, method, markers=[[5], [7, 8]])
    assert encoder.markers is not None
    ids, mask = text(kind)
    with torch.no_grad():
        encoder.markers.weight[0] = encoder.embed_tokens(torch.tensor(11))
        encoder.markers.weight[1] = encoder.embed_tokens(torch.tensor(12))
        ids[0, 2], ids[1, 4], ids[0, 5] = 11, 11, 12
        marked = ids.clone()
        marked[0, 2], marked[1, 4], marked[0, 5] = -1, -1, -2
        torch.testing.assert_close(encoder(marked, mask), encoder(ids, mask), rtol=0, atol=1e-6)
    encoder(marked, mask)[0].sum().backward()
    assert encoder.markers.weight.grad is not None


def test_markers_begin_near_their_words(made: Made) -> None:
    torch.manual_seed(0)
    encoder = made("bert", markers=[[5], [7, 8], *([9],) * 200])
    assert encoder.markers is not None
    words = encoder.embed_tokens(torch.arange(96)).detach()
    weight = encoder.markers.weight.detach()
    noise = torch.cat([weight[:1] - words[5], weight[1:2] - words[[7, 8]].mean(0), weight[2:] - words[9]])
    assert float(noise.std()) == pytest.approx(0.1 * float(words.std()), rel=0.05)
    assert len({tuple(row.tolist()) for row in weight}) == 202, "no two are the same"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [None, "lora", "p_tuning", "prefix_tuning"])
def test_added_vectors(kind: str, method: str | None, made: Made) -> None:
    encoder = made(kind, method, markers=[[5], [7]])
    assert encoder.markers is not None
    ids, mask = text(kind)
    ids[0, 2] = ids[0, 3] = ids[1, 1] = -1
    with torch.no_grad():
        encoder.markers.weight[0] = 0
        rows, places = torch.tensor([0, 0, 1, 1]), torch.tensor([2, 3, 1, 1])
        vectors = encoder.embed_tokens(torch.tensor([20, 21, 22, 23]))
        vectors[3] -= vectors[2]  # two vectors for one place are summed
        found = encoder(ids, mask, None, (rows, places, vectors))
        ids[0, 2], ids[0, 3], ids[1, 1] = 20, 21, 23
        torch.testing.assert_close(found, encoder(ids, mask), **CLOSE)


def test_added_vectors_need_no_markers(made: Made) -> None:
    encoder = made("bert")
    ids, mask = text("bert")
    at, vectors = torch.tensor([0]), torch.ones(1, 24)
    assert not torch.allclose(encoder(ids, mask, None, (at, at, vectors)), encoder(ids, mask)), "nothing is dropped silently"


@pytest.mark.parametrize("kind", ["bert", "megatron-bert"])
@pytest.mark.parametrize("method", ["prompt_tuning", "p_tuning"])
def test_prompts_are_those_of_peft_where_positions_agree(kind: str, method: str, made: Made) -> None:
    """PEFT counts positions through virtual tokens and text; ours gives each its own count."""
    encoder = made(kind, method)
    ids, mask = text(kind)
    theirs = encoder.model(input_ids=ids, attention_mask=mask)[0][:, 20:]
    ours = encoder(ids, mask, torch.arange(20, 29).expand(3, 9))
    torch.testing.assert_close(ours[mask.bool()], theirs[mask.bool()], **CLOSE)
    assert not torch.allclose(encoder(ids, mask)[mask.bool()], theirs[mask.bool()], atol=1e-2), "by default the text begins at 0"


@pytest.mark.parametrize("kind", ["bert", "megatron-bert"])
def test_prefixes_are_those_of_peft_where_positions_agree(kind: str, made: Made) -> None:
    encoder = made(kind, "prefix_tuning")
    ids, mask = text(kind)
    theirs = encoder.model(input_ids=ids, attention_mask=mask)[0]
    ours = encoder(ids, mask, torch.arange(20, 29).expand(3, 9))  # PEFT lets positions count from behind the prefix
    torch.testing.assert_close(ours[mask.bool()], theirs[mask.bool()], **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_virtual_tokens_equal_words_in_front(kind: str, made: Made) -> None:
    """Virtual tokens that are the vectors of words act as those words at the first positions."""
    encoder = made(kind, "prompt_tuning")
    front = torch.arange(30, 50)
    with torch.no_grad():
        dict(encoder.named_parameters())["model.prompt_encoder.default.embedding.weight"].copy_(encoder.embed_tokens(front))
        ids, mask = text(kind)
        both = torch.cat([front.expand(3, 20), ids], 1)
        positions = torch.cat([torch.arange(20), torch.arange(9)]).expand(3, 29)
        expected = made(kind)(both, torch.cat([torch.ones(3, 20, dtype=torch.long), mask], 1), positions)[:, 20:]
        torch.testing.assert_close(encoder(ids, mask)[mask.bool()], expected[mask.bool()], **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("freeze", [None, False])
def test_what_is_trained(kind: str, method: str, freeze: bool | None, made: Made) -> None:
    encoder = made(kind, method, freeze=freeze, markers=[[5]])
    marks = ("lora_", "ia3_", "prompt_encoder.")
    named = dict(encoder.named_parameters())
    adapters = {name for name in named if any(mark in name for mark in marks)}
    assert adapters == encoder.adapters
    assert adapters
    expected = adapters | {"markers.weight"} if freeze is None else set(named)
    assert {name for name, parameter in named.items() if parameter.requires_grad} == expected
    assert (encoder.identity is None) == (freeze is False)
    ids, mask = text(kind)
    encoder.train()(ids.index_fill(1, torch.tensor([1]), -1), mask)[mask.bool()].pow(3).sum().backward()
    with_gradient = {name for name, parameter in named.items() if parameter.grad is not None and parameter.grad.any()}
    # words that did not occur are fine; a word, position or type table as a whole is not
    assert with_gradient >= {name for name in expected if not name.endswith("self.key.bias")}
    assert with_gradient <= expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [None, *METHODS])
@pytest.mark.parametrize("freeze", [True, False])
def test_gradient_checkpointing_gives_the_same_gradients(kind: str, method: str | None, freeze: bool, made: Made) -> None:
    if method == "prefix_tuning":
        with pytest.raises(SettingError, match="prefix tuning works through cached keys"):
            made(kind, method, freeze=freeze, gradient_checkpointing=True)
        return
    ids, mask = text(kind)
    gradients = []
    for checkpointing in (False, True):
        encoder = made(kind, method, freeze=freeze, gradient_checkpointing=checkpointing, markers=[[5]]).train()
        if method in ("lora", "dora"):
            for name, module in encoder.named_modules():
                if "lora_dropout" in name and isinstance(module, nn.Dropout):
                    module.p = 0.0
        calls: list[int] = []
        layer = encoder.base.encoder.layer[0]  # type: ignore[union-attr]
        layer.attention.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        encoder(ids.index_fill(1, torch.tensor([1]), -1), mask)[mask.bool()].pow(3).sum().backward()
        assert len(calls) == 1 + checkpointing, "activations are computed again"
        gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-4, msg=lambda said, name=name: f"{name}: {said}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [None, *METHODS])
@pytest.mark.parametrize("markers", [False, True])
def test_unattended_tokens_attend_and_are_not_attended_to(kind: str, method: str | None, markers: bool, made: Made) -> None:
    """Each unattended token gets what it gets as the only one, and the others what they get without any."""
    encoder = made(kind, method, markers=[[5], [7]] if markers else [])
    ids, mask = text(kind)
    behind = torch.tensor([-1, -2, -1]) if markers else torch.tensor([11, 12, 11])
    mask, positions = torch.ones_like(mask), torch.tensor([*range(9), 9, 3, 9]).expand(3, 12)
    mask[2, 4:] = 0  # a gap of padding before unattended tokens
    both, there = torch.cat([ids, behind.expand(3, 3)], 1), torch.cat([mask, torch.ones(3, 3, dtype=torch.long)], 1)
    unattended = torch.arange(12).expand(3, 12) >= 9
    with torch.no_grad():
        found = encoder(both, there, positions, None, unattended)
        without = encoder(ids, mask, positions[:, :9])
        torch.testing.assert_close(found[:, :9][mask.bool()], without[mask.bool()], **CLOSE)
        for place in (9, 10, 11):
            keep = [*range(9), place]
            alone = encoder(both[:, keep], there[:, keep], positions[:, keep], None, unattended[:, keep])
            torch.testing.assert_close(found[:, place], alone[:, 9], **CLOSE)
        torch.testing.assert_close(found[:, 9], found[:, 11], **CLOSE)
        assert not torch.allclose(encoder(both, there, positions)[:, :9], found[:, :9], atol=1e-2), "it makes a difference"
        nothing = encoder(ids, mask, None, None, torch.zeros_like(mask).bool())
        torch.testing.assert_close(nothing[mask.bool()], encoder(ids, mask)[mask.bool()], **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [None, "lora", "p_tuning", "prefix_tuning"])
def test_in_bfloat16(kind: str, method: str | None, made: Made) -> None:
    """As the trainer's mixed precision runs it; also with a mask that differs from place to place."""
    encoder = made(kind, method, markers=[[5]])
    ids, mask = text(kind)
    unattended = torch.zeros_like(mask).bool()
    unattended[:, 8] = True
    with torch.no_grad():
        full = [encoder(ids, mask)[mask.bool()], encoder(ids, mask, None, None, unattended)[mask.bool()]]
        with torch.autocast("cpu", torch.bfloat16):
            half = [encoder(ids, mask)[mask.bool()], encoder(ids, mask, None, None, unattended)[mask.bool()]]
    for one, two in zip(full, half, strict=True):
        assert two.isfinite().all()
        assert float((one - two.float()).abs().mean()) < 0.05 * float(one.abs().mean())


def test_an_adapter_that_does_not_fit_is_refused(bases: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="LoraConfig does not fit"):
        Encoder(bases["bert"], peft=LoraConfig(task_type="FEATURE_EXTRACTION", target_modules=["no_such_layer"]))


def test_a_configuration_serves_twice(bases: dict[str, str]) -> None:
    """What PEFT writes into a configuration must not reach the next model that is made of it."""
    config = config_of("prompt_tuning")
    before = config.to_dict()
    Encoder(bases["bert"], peft=config)
    assert config.to_dict() == before
    Encoder(bases["roberta"], peft=config)
