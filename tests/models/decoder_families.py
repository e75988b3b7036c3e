"""Tiny random decoders of the real classes of transformers, made from configurations: one of each family that somebody may bring.

Sizes are the least that each class takes; windows are shorter than every text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

S: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
    "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
W: dict[str, Any] = {"sliding_window": 5}
LAYERS = {"layer_types": ["sliding_attention", "full_attention"]}
GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "bos_token_id": 0, "eos_token_id": 0}
FALCON: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "bos_token_id": 0, "eos_token_id": 0}
OPT: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48, "max_position_embeddings": 512, "bos_token_id": 0,
    "eos_token_id": 0, "pad_token_id": 1,
}  # fmt: skip
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("Llama", S),
    "Mistral": ("Mistral", {**S, **W}),
    "Ministral": ("Ministral", {**S, **W, **LAYERS, "head_dim": 8}),
    "Mixtral": ("Mixtral", {**S, "num_local_experts": 4}),
    "Qwen2": ("Qwen2", S),
    "Qwen3": ("Qwen3", {**S, "head_dim": 8}),
    "Qwen3-MoE": ("Qwen3Moe", {**S, **MOE, "head_dim": 8, "decoder_sparse_step": 1}),
    "Gemma": ("Gemma", {**S, "head_dim": 8}),
    "Gemma 2": ("Gemma2", {**S, **W, "head_dim": 8, "query_pre_attn_scalar": 8}),
    "Gemma 3": ("Gemma3Text", {**S, **W, **LAYERS, "head_dim": 8, "query_pre_attn_scalar": 8}),
    "Gemma 3 with images": ("Gemma3", {
        "text_config": {**S, **W, **LAYERS, "head_dim": 8, "query_pre_attn_scalar": 8},
        "vision_config": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
                          "patch_size": 14},
        "mm_tokens_per_image": 4, "image_token_index": 5, "boi_token_index": 6, "eoi_token_index": 7,
    }),
    "Phi": ("Phi", S),
    "Phi-3": ("Phi3", {**S, "sliding_window": None}),
    "Phi-3 with window": ("Phi3", {**S, **W}),
    "GPT-2": ("GPT2", GPT2),
    "GPT-BigCode": ("GPTBigCode", {**GPT2, "multi_query": True}),
    "GPT-J": ("GPTJ", {**GPT2, "rotary_dim": 4}),
    "GPT-NeoX": ("GPTNeoX", {key: value for key, value in S.items() if key != "num_key_value_heads"}),
    "GPT-OSS": ("GptOss", {**S, **W, **LAYERS, "head_dim": 8, "num_local_experts": 4}),
    "OPT": ("OPT", {**OPT, "word_embed_proj_dim": 32}),
    "OPT with projection": ("OPT", {**OPT, "word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "BioGPT": ("BioGpt", {key: value for key, value in S.items() if key != "num_key_value_heads"} | {"pad_token_id": 1}),
    "Granite": ("Granite", {**S, "logits_scaling": 8.0, "embedding_multiplier": 2.0, "attention_multiplier": 0.2}),
    "Cohere": ("Cohere", {**S, "logit_scale": 0.0625}),
    "Cohere 2": ("Cohere2", {**S, **W, **LAYERS, "logit_scale": 0.0625}),
    "OLMo-2": ("Olmo2", S),
    "StableLM": ("StableLm", S),
    "StarCoder-2": ("Starcoder2", {**S, **W}),
    "SmolLM-3": ("SmolLM3", {**S, "no_rope_layers": [1, 0]}),
    "Nemotron": ("Nemotron", S),
    "GLM-4": ("Glm4", {**S, "head_dim": 8}),
    "DeepSeek-V3": ("DeepseekV3", {
        **S, "num_key_value_heads": 4, "moe_intermediate_size": 16, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
        "num_experts_per_tok": 2, "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "v_head_dim": 8, "qk_nope_head_dim": 8,
        "first_k_dense_replace": 1,
    }),
    "Falcon": ("Falcon", {**FALCON, "multi_query": True, "alibi": False}),
    "Falcon, new": ("Falcon", {**FALCON, "num_kv_heads": 2, "new_decoder_architecture": True, "alibi": False}),
    "Falcon with ALiBi": ("Falcon", {**FALCON, "multi_query": True, "alibi": True}),
    "MPT": ("Mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512}),
    "Bloom": ("Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}),
    "GPT-Neo": ("GPTNeo", {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 5,
        "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 0,
    }),
    "Llama 4": ("Llama4Text", {
        **S, "head_dim": 8, "intermediate_size_mlp": 48, "num_local_experts": 2, "attention_chunk_size": 5,
        "layer_types": ["chunked_attention", "full_attention"], "no_rope_layers": [1, 0],
    }),
    "Mamba": ("Mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "bos_token_id": 0, "eos_token_id": 0}),
    "Mamba-2": ("Mamba2", {
        "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "head_dim": 8, "num_heads": 8, "n_groups": 2, "bos_token_id": 0,
        "eos_token_id": 0, "chunk_size": 16,
    }),
    "LFM2": ("Lfm2", {**S, "layer_types": ["conv", "full_attention"], "block_ff_dim": 48, "conv_L_cache": 3}),
    "Falcon-H1": ("FalconH1", {
        **S, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16,
    }),
    "Qwen3-Next": ("Qwen3Next", {
        **S, **MOE, "head_dim": 8, "layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 4,
        "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "shared_expert_intermediate_size": 16,
    }),
    "Jamba": ("Jamba", {**S, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "use_mamba_kernels": False}),
    "Granite-4 hybrid": ("GraniteMoeHybrid", {
        **S, "layer_types": ["mamba", "attention"], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "num_local_experts": 0,
        "shared_intermediate_size": 48, "mamba_chunk_size": 16,
    }),
    "RecurrentGemma": ("RecurrentGemma", {**S, "lru_width": 32, "attention_window_size": 5, "block_types": ["recurrent", "attention"]}),
    "RWKV": ("Rwkv", {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32}),
    "xLSTM": ("xLSTM", {"hidden_size": 32, "num_hidden_layers": 2, "num_heads": 4}),
}  # fmt: skip
"""Family -> class of transformers and its settings."""

CAPS = {"Gemma 2": 5.0}
"""Families whose soft cap of the logits is made low, so that it matters for small weights."""
STATES = ("A_log", ".D", "dt_bias")
"""Weights of recurrent layers that must keep their sign."""


def save_family(family: str, folder: Path, vocabulary: int = 96) -> str:
    """A random model with weights as different as trained ones."""
    kind, settings = FAMILIES[family]
    settings = dict(settings) | ({"final_logit_softcapping": CAPS[family]} if family in CAPS else {})
    if "text_config" in settings:
        settings["text_config"] = {**settings["text_config"], "vocab_size": vocabulary}
    else:
        settings["vocab_size"] = vocabulary
    config = getattr(transformers, f"{kind}Config")(**settings)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    torch.manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = ("norm" in name.lower() or "ln_" in name) and name.endswith("weight")
            if not name.endswith(STATES):
                nn.init.normal_(parameter, mean=float(is_norm), std=0.2)
    model.save_pretrained(folder)
    return str(folder)
