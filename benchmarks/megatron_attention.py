"""GatorTron's architecture with fused attention beside transformers' own, and how far their results differ.

A random ``megatron-bert`` of GatorTron-base's width and heads (1,024 and 16) with fewer layers; rows of 512 sub-words, some of them
padding. The two alternate, the same weights in both.

    python benchmarks/megatron_attention.py [--layers 4]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import torch
from transformers import MegatronBertConfig, MegatronBertModel

from clinical_ie.models.megatron_attention import use_fused_attention

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rows", type=int, default=4)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    config = MegatronBertConfig(
        vocab_size=1000,
        hidden_size=1024,
        num_attention_heads=16,
        intermediate_size=4096,
        num_hidden_layers=options.layers,
        max_position_embeddings=512,
    )
    plain = MegatronBertModel(config, add_pooling_layer=False).to(device)
    fused = copy.deepcopy(plain)
    use_fused_attention(fused)
    ids = torch.randint(1000, (options.rows, 512), device=device)
    mask = torch.ones_like(ids)
    mask[0, 400:] = 0
    with torch.inference_mode():
        difference = (plain.eval()(ids, mask)[0] - fused.eval()(ids, mask)[0])[mask.bool()].abs().max().item()
    print(f"greatest difference of hidden states in float32: {difference:.1e}\n")
    print(f"| {device} | plain, s | fused, s | plain / fused |\n|---|---|---|---|")
    for train in (False, True):
        seconds: dict[str, list[float]] = {"plain": [], "fused": []}
        for _ in range(ROUNDS):
            for name, model in (("plain", plain), ("fused", fused)):
                model.train(train)
                begun = time.perf_counter()
                with torch.set_grad_enabled(train), torch.autocast(device, torch.bfloat16):
                    hidden = model(ids, mask)[0]
                if train:
                    hidden.float().square().mean().backward()
                    model.zero_grad()
                if device == "cuda":
                    torch.cuda.synchronize()
                seconds[name].append(time.perf_counter() - begun)
        one, other = (statistics.median(seconds[name][1:]) for name in ("plain", "fused"))
        print(f"| {'forward and backward' if train else 'forward'}, bfloat16 | {one:.2f} | {other:.2f} | {one / other:.2f} |", flush=True)


if __name__ == "__main__":
    main()
