"""Tiny random decoders on disk, with a byte-level tokenizer of the demo notes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from clinical_ie.corpora import Demo

WINDOW = 5
"""Of the architectures that look back over a window only; shorter than every row of the tests."""

_SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
    "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
_LAYERS = ["sliding_attention", "full_attention"]
_GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "bos_token_id": 0, "eos_token_id": 0}
ARCHITECTURES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, _SIZES),
    "llama tied": (LlamaForCausalLM, LlamaConfig, {**_SIZES, "tie_word_embeddings": True}),
    "mistral": (MistralForCausalLM, MistralConfig, {**_SIZES, "sliding_window": WINDOW}),
    "mistral without window": (MistralForCausalLM, MistralConfig, {**_SIZES, "sliding_window": None}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, _SIZES),
    "qwen2 with window": (
        Qwen2ForCausalLM, Qwen2Config, {**_SIZES, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {**_SIZES, "head_dim": 8}),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig, {**_SIZES, "head_dim": 8, "sliding_window": WINDOW, "layer_types": _LAYERS}),
    "gemma3 capped": (
        Gemma3ForCausalLM, Gemma3TextConfig,
        {**_SIZES, "head_dim": 8, "sliding_window": WINDOW, "layer_types": _LAYERS, "final_logit_softcapping": 2.0},
    ),
    "gpt2": (GPT2LMHeadModel, GPT2Config, {**_GPT2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}),
}  # fmt: skip
WINDOWED = ("mistral", "qwen2 with window", "gemma3", "gemma3 capped")


def spread(model: nn.Module) -> None:
    """Weights as different as trained ones; small random ones hide every mistake."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            nn.init.normal_(parameter, mean=1.0 if "norm" in name or "ln_" in name else 0.0, std=0.2)


def save_decoder(kind: str, folder: Path, vocabulary: int = 96, **other: Any) -> str:
    architecture, config, sizes = ARCHITECTURES[kind]
    torch.manual_seed(0)
    model: PreTrainedModel = architecture(config(vocab_size=vocabulary, **{**sizes, **other}))
    spread(model)
    model.save_pretrained(folder)
    return str(folder)


@cache
def _tokenizer_json() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<|end|>", "<|turn|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([document.text for document in Demo().read("train")], trainer)
    return tokenizer.to_str()


TEMPLATE = (
    "{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def save_tokenizer(folder: Path, *, turns: bool = False) -> int:
    """The size of its vocabulary."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_tokenizer_json()), eos_token="<|end|>", pad_token="<|end|>", bos_token="<|end|>"
    )
    if turns:
        tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def tiny_generator(folder: Path, *, turns: bool = False, hidden: int = 48, positions: int = 4096) -> str:
    """A Llama with a tokenizer, initialised as models that are to be trained."""
    vocabulary = save_tokenizer(folder, turns=turns)
    torch.manual_seed(0)
    sizes = {**_SIZES, "hidden_size": hidden, "intermediate_size": 2 * hidden, "max_position_embeddings": positions}
    LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **sizes)).save_pretrained(folder)
    return str(folder)
