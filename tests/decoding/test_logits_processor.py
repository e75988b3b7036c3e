"""Under a grammar every completion of transformers' own generate parses, and every mention occurs in its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from clinical_ie.corpora import Demo
from clinical_ie.decoding.logits_processor import GrammarConstrainedLogitsProcessor
from clinical_ie.decoding.token_trie import TokenTrie
from clinical_ie.prompts.answers import LabelNames
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.grounding import ground
from clinical_ie.prompts.responses import Grouped, Lines

TEXTS = ["Takes aspirin 5 mg\r\n daily; no  pain 😀.", "Smokes."]
TYPES = ("Drug", "Dose")
LABELS = (("Of", frozenset({(1, 0)})),)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<end>", "<pad>"]
    texts = [document.text for document in Demo().read("train")[:20]]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<pad>")


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    "how",
    [{"do_sample": False}, {"do_sample": True, "temperature": 3.0}, {"num_beams": 3, "do_sample": False}],
    ids=["greedy", "sampling", "beams"],
)
def test_mentions_occur_in_the_text(how: dict[str, Any], grouped: bool, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        eos_token_id=0, pad_token_id=1, bos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    tokenizer.padding_side = "left"
    inputs = tokenizer(TEXTS, return_tensors="pt", padding=True, return_token_type_ids=False)
    grammars = [Grammar("grouped" if grouped else "lines", text, TYPES, LABELS) for text in TEXTS]
    length = inputs["input_ids"].shape[1]
    processor = GrammarConstrainedLogitsProcessor(TokenTrie(tokenizer), grammars, prompt_length=length, end_id=0)
    found = model.generate(**inputs, max_new_tokens=200, logits_processor=[processor], **how)
    syntax = Grouped() if grouped else Lines()
    number = 0
    for text, ids in zip(TEXTS, found[:, length:].tolist(), strict=True):
        assert 0 in ids, "it comes to an end by itself"
        parsed = syntax.parse(tokenizer.decode(ids, skip_special_tokens=True), LabelNames(TYPES, ("Of",)))
        assert not parsed.problems
        places = ground(text, [(mention.type, mention.text) for mention in parsed.mentions], literal=True)
        assert all(place.span is not None for place in places)
        assert all(parsed.mentions[link.head].type == "Dose" and parsed.mentions[link.tail].type == "Drug" for link in parsed.links)
        number += len(parsed.mentions)
    assert number > 0
