"""Configurations of tiny encoders of the real classes, one for each architecture that is said to be known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedConfig

WORD_PIECES = Path(__file__).parents[1] / "assets" / "wordpiece.txt"
_SIZES: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 256, "pad_token_id": 0,
}  # fmt: skip
_BEHIND_PADDING = _SIZES | {"pad_token_id": 1, "max_position_embeddings": 258}
_OWN_NAMES = {"vocab_size": 300, "pad_token_id": 0}
_T5 = _OWN_NAMES | {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
_RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
_SPECIAL = {"cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3, "mask_token_id": 4}

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", _SIZES),
    "megatron-bert": ("MegatronBertConfig", _SIZES),
    "ernie": ("ErnieConfig", _SIZES),
    "electra": ("ElectraConfig", _SIZES | {"embedding_size": 16}),
    "albert": ("AlbertConfig", _SIZES | {"embedding_size": 16}),
    "distilbert": ("DistilBertConfig", _OWN_NAMES | {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
    "roberta": ("RobertaConfig", _BEHIND_PADDING),
    "xlm-roberta": ("XLMRobertaConfig", _BEHIND_PADDING),
    "camembert": ("CamembertConfig", _BEHIND_PADDING),
    "mpnet": ("MPNetConfig", _BEHIND_PADDING),
    "modernbert": ("ModernBertConfig", _SIZES | _SPECIAL | {"local_attention": 16, "global_attn_every_n_layers": 2}),
    "eurobert": ("EuroBertConfig", _SIZES | _SPECIAL | {"num_key_value_heads": 4}),
    "nomic_bert": ("NomicBertConfig", _SIZES),
    "roformer": ("RoFormerConfig", _SIZES),
    "convbert": ("ConvBertConfig", _SIZES),
    "deberta": ("DebertaConfig", _SIZES | _RELATIVE),
    "deberta-v2": ("DebertaV2Config", _SIZES | _RELATIVE | {"position_buckets": 16, "share_att_key": True, "norm_rel_ebd": "layer_norm"}),
    "longformer": ("LongformerConfig", _BEHIND_PADDING | {"attention_window": 8}),
    "big_bird": ("BigBirdConfig", _SIZES | {"attention_type": "block_sparse", "block_size": 8, "num_random_blocks": 1}),
    "xlnet": ("XLNetConfig", _OWN_NAMES | {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48}),
    "funnel": ("FunnelConfig", _OWN_NAMES | {"block_sizes": [1, 1], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 48}),
    "t5": ("T5Config", _T5),
    "mt5": ("MT5Config", _T5),
}  # fmt: skip
"""Architecture -> class of its configuration and what that is given."""


def config_of(kind: str, **more: Any) -> PreTrainedConfig:
    """The configuration of a tiny encoder."""
    name, values = KINDS[kind]
    found: PreTrainedConfig = getattr(transformers, name)(**values | more)
    return found


def save_tokenizer(folder: Path, vocabulary: int = 300) -> int:
    """A WordPiece tokenizer of the demo notes, by default with at most as many sub-words as the encoders have: its size.

    Its sub-words were trained once, for 1,500 of them: the trainer breaks ties in another way in every process, and models of other
    vocabularies learn more or less.
    """
    pieces = WORD_PIECES.read_text(encoding="utf-8").splitlines()[:vocabulary]
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    BertTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return int(tokenizer.get_vocab_size())
