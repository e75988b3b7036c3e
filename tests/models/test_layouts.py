"""Checkpoint folders as they are published: GatorTron, SpanBERT and BERT-large, in the files and key names of their time."""

from __future__ import annotations

import json
import os
import string
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import nn
from transformers import BertConfig, BertForPreTraining, MegatronBertConfig, MegatronBertForMaskedLM, MegatronBertForPreTraining

from clinical_ie.data.tokenization import Subwords, load_tokenizer
from clinical_ie.errors import SettingError
from clinical_ie.models.backbones import load_encoder

TEXT = "Café visit: MRI of Chest, HbA1c 7.2%; Metformin 500 mg\nPatient DENIES pain."
SPECIAL = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def vocabulary(letters: str, words: str) -> list[str]:
    characters = [*letters, *string.digits]
    return [*SPECIAL, *string.punctuation, *characters, *(f"##{c}" for c in characters), *words.split()]


CASED = vocabulary(string.ascii_letters + "é", "Café MRI Chest Metformin Patient pain mg ##form")
# BERT's own uncased vocabulary holds an ℝ: an upper-case letter that lower-casing leaves alone.
UNCASED = vocabulary(string.ascii_lowercase + "ℝ", "cafe mri chest metformin patient pain mg ##form")
SIZES: dict[str, Any] = {
    "vocab_size": 256, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 64, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02,
}  # fmt: skip
SPANBERT = SIZES | {"directionality": "bidi", "pooler_fc_size": 16, "pooler_num_fc_layers": 3, "pooler_type": "first_token_transform"}
GATORTRON = SIZES | {"model_type": "megatron-bert"}
BERT = SIZES | {
    "model_type": "bert",
    "architectures": ["BertForMaskedLM"],
    "gradient_checkpointing": False,
    "position_embedding_type": "absolute",
}


def write(folder: Path, config: dict[str, Any], vocab: list[str] = CASED, **files: dict[str, Any]) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocab), encoding="utf-8")
    for name, content in {"config": config, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return str(folder)


def pretrained(kind: type[nn.Module], config: Any) -> Any:
    """A random model whose norms and biases are told apart from freshly initialised ones."""
    torch.manual_seed(7)
    model = kind(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def published(model: nn.Module) -> dict[str, torch.Tensor]:
    """A state dict with the buffer that old versions of transformers stored."""
    positions = torch.arange(SIZES["max_position_embeddings"])[None]
    return {**{key: value.clone() for key, value in model.state_dict().items()}, "bert.embeddings.position_ids": positions}


def check_encoder(folder: str, original: Any) -> None:
    encoder = load_encoder(folder)
    assert encoder.training
    assert not any("pooler" in name for name, _ in encoder.named_modules())
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    ids = torch.randint(SIZES["vocab_size"], (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(ids).last_hidden_state, original.bert(ids).last_hidden_state, rtol=0, atol=1e-6)


def plain(surface: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", surface.lower()) if not unicodedata.combining(c))


def check_subwords(folder: str, vocab: list[str], *, cased: bool) -> None:
    """Every sub-word is the characters that its offsets name, all characters but blanks are named once, nothing is unknown."""
    subwords = Subwords(folder)
    ids, offsets = subwords.encode(TEXT)
    pieces = [vocab[index] for index in ids]
    surfaces = [TEXT[start:end] for start, end in offsets]
    assert [piece.removeprefix("##") for piece in pieces] == (surfaces if cased else [plain(surface) for surface in surfaces])
    assert "".join(surfaces) == "".join(TEXT.split())
    assert pieces[:2] == (["Café", "v"] if cased else ["cafe", "v"])
    assert ("MRI" if cased else "mri") in pieces
    assert ([vocab[i] for i in subwords.prefix], [vocab[i] for i in subwords.suffix], vocab[subwords.pad_id]) == (
        ["[CLS]"],
        ["[SEP]"],
        "[PAD]",
    )


@pytest.mark.parametrize("kind", [MegatronBertForPreTraining, MegatronBertForMaskedLM])
def test_gatortron_weights(tmp_path: Path, kind: type[nn.Module]) -> None:
    original = pretrained(kind, MegatronBertConfig(**SIZES))
    folder = write(tmp_path, GATORTRON)
    torch.save(published(original), tmp_path / "pytorch_model.bin")
    check_encoder(folder, original)


@pytest.mark.parametrize("settings", [None, {"model_max_length": 512}], ids=["no settings", "silent settings"])
@pytest.mark.parametrize("cased", [True, False], ids=["cased", "uncased"])
def test_casing_follows_the_vocabulary(tmp_path: Path, cased: bool, settings: dict[str, Any] | None) -> None:
    vocab = CASED if cased else UNCASED
    folder = write(tmp_path, GATORTRON, vocab, **({} if settings is None else {"tokenizer_config": settings}))
    check_subwords(folder, vocab, cased=cased)


@pytest.mark.parametrize("vocab", [CASED, UNCASED], ids=["cased", "uncased"])
@pytest.mark.parametrize("lower", [True, False], ids=["lower", "as is"])
def test_declared_casing_wins(tmp_path: Path, vocab: list[str], lower: bool) -> None:
    folder = write(tmp_path, GATORTRON, vocab, tokenizer_config={"do_lower_case": lower})
    assert load_tokenizer(folder).backend_tokenizer.normalizer.normalize_str("MRI é") == ("mri e" if lower else "MRI é")
    unknown = any(vocab[index] == "[UNK]" for index in Subwords(folder).encode(TEXT)[0])
    assert unknown == (vocab is UNCASED and not lower)


@pytest.mark.parametrize("kept", ["strip_accents", "tokenize_chinese_chars"])
def test_other_declared_settings_stay(tmp_path: Path, kept: str) -> None:
    folder = write(tmp_path, GATORTRON, tokenizer_config={kept: kept == "strip_accents"})
    assert load_tokenizer(folder).backend_tokenizer.normalizer.normalize_str("É患") == ("E 患 " if kept == "strip_accents" else "É患")


@pytest.mark.parametrize("typed", [True, False], ids=["model_type", "no model_type"])
def test_spanbert(tmp_path: Path, typed: bool) -> None:
    original = pretrained(BertForPreTraining, BertConfig(**SIZES))
    folder = write(tmp_path, SPANBERT | ({"model_type": "bert"} if typed else {}))
    weights = {key: value for key, value in published(original).items() if key.startswith("bert.")}
    torch.save(weights, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    check_encoder(folder, original)
    check_subwords(folder, CASED, cased=True)


def test_an_untyped_config_that_is_not_berts_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 256})
    torch.save(published(pretrained(BertForPreTraining, BertConfig(**SIZES))), tmp_path / "pytorch_model.bin")
    with pytest.raises(SettingError, match="model_type"):
        load_encoder(folder)


@pytest.mark.parametrize("settings", [{"do_lower_case": False}, {"model_max_length": 512}], ids=["declared", "tokenizer.json alone"])
def test_bert_large(tmp_path: Path, settings: dict[str, Any]) -> None:
    original = pretrained(BertForPreTraining, BertConfig(**SIZES))
    folder = write(tmp_path, BERT, tokenizer_config=settings)
    tokenizer = Tokenizer(models.WordPiece({token: index for index, token in enumerate(CASED)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    weights = {}
    for key, value in published(original).items():
        stem = ".".join(key.split(".")[-2:])
        weights[key.removesuffix(stem) + old.get(stem, stem)] = value
    assert sum(key.endswith((".gamma", ".beta")) for key in weights) == 12
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    check_encoder(folder, original)
    check_subwords(folder, CASED, cased=True)


class Trap:
    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_runs_nothing(tmp_path: Path, zipped: bool) -> None:
    folder = write(tmp_path / "model", GATORTRON)
    weights = tmp_path / "model" / "pytorch_model.bin"
    state = published(pretrained(MegatronBertForPreTraining, MegatronBertConfig(**SIZES)))
    torch.save({**state, "trap": Trap(tmp_path / "sprung")}, weights, _use_new_zipfile_serialization=zipped)
    with pytest.raises(SettingError):
        load_encoder(folder)
    assert not (tmp_path / "sprung").exists()
    torch.load(weights, weights_only=False)
    assert (tmp_path / "sprung").exists(), "the trap itself must work"


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("bert.encoder.layer.1.", None),
        ("bert.encoder.layer.0.attention.self.query.bias", None),
        ("bert.embeddings.word_embeddings.weight", None),
        ("bert.", "transformer."),
        ("bert.", "module.bert."),
    ],
    ids=["layer", "bias", "embeddings", "wrong prefix", "prefix of a wrapper"],
)
@pytest.mark.parametrize("base", ["bert", "megatron-bert"])
def test_missing_encoder_weights_are_refused(tmp_path: Path, base: str, pattern: str, replacement: str | None) -> None:
    if base == "bert":
        original = pretrained(BertForPreTraining, BertConfig(**SIZES))
    else:
        original = pretrained(MegatronBertForPreTraining, MegatronBertConfig(**SIZES))
    weights = published(original)
    hit = [key for key in weights if key.startswith(pattern)]
    assert hit
    for key in hit:
        value = weights.pop(key)
        if replacement is not None:
            weights[replacement + key.removeprefix(pattern)] = value
    folder = write(tmp_path, SIZES | {"model_type": base})
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(SettingError):
        load_encoder(folder)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, GATORTRON | {"vocab_size": 300})
    torch.save(published(pretrained(MegatronBertForPreTraining, MegatronBertConfig(**SIZES))), tmp_path / "pytorch_model.bin")
    with pytest.raises(SettingError):
        load_encoder(folder)


@pytest.mark.parametrize("prefix", ["bert.", ""])
def test_heads_and_pooler_may_be_absent(tmp_path: Path, prefix: str) -> None:
    original = pretrained(MegatronBertForPreTraining, MegatronBertConfig(**SIZES))
    kept = {key.removeprefix("bert."): value for key, value in published(original).items() if key.startswith("bert.")}
    torch.save({prefix + key: value for key, value in kept.items() if "pooler" not in key}, tmp_path / "pytorch_model.bin")
    check_encoder(write(tmp_path, GATORTRON), original)
