"""A Llama-3.1-8B-shaped decoder on the CUDA machine at hand: tokens per second, MFU and peak memory of tuning, and speed of generation.

    python benchmarks/gpu.py --folder /scratch/llama8b          # 16 GB of random weights are made there once
    python benchmarks/gpu.py --toy                              # the same script at toy size, on a CPU too

Rows of the first table: LoRA and QLoRA on every linear layer with packed rows of 4,096 tokens, one row a step, the frozen base in
bfloat16 or 4 bits, with activation checkpointing and with activations kept, as written and compiled; all weights under ZeRO-3 with offload
to the host, where DeepSpeed and several GPUs are. The second has tokens generated per second, 32 completions side by side, with and
without a grammar. Weights are random and notes are the invented ones of the demo, so speed and memory mean something here and answers do
not.

MFU is the share of the device's bfloat16 peak that goes into operations which the step needs: 4 for each weight of a layer and token where
the base is frozen (none for gradients of its weights), 6 where it is trained, those of the output layer for tokens that are predicted, and
12 for each pair of tokens that attends, layer and unit of width. What checkpointing computes again does not count.

Aims, for one H100 or A100: MFU of at least 45 %; LoRA of 8 B parameters at one row a step with checkpointing in at most 20 GB.

Reference: Chowdhery et al., PaLM (2022), appendix B, for MFU.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import torch

SHAPES: dict[bool, dict[str, Any]] = {
    False: {
        "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "max_position_embeddings": 131_072, "rope_theta": 500_000.0,
    },
    True: {
        "vocab_size": 1024, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 4096,
    },
}  # fmt: skip
PEAKS = {"H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "L40S": 362, "A40": 150, "A10": 125, "L4": 121, "4090": 165, "A6000": 155}
"""Dense bfloat16 TFLOP/s that makers state, by a part of the device's name; the first that fits."""
WARM_UP = 5
WAYS = ["LoRA, checkpointing", "LoRA", "LoRA, checkpointing, compiled", "LoRA, compiled", "QLoRA, checkpointing"]
GENERATES = WAYS[0]


def make_model(folder: Path, shape: dict[str, Any]) -> None:
    """Random weights in bfloat16, and a byte-level tokenizer of the demo notes, whose tokens are among the first of the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from clinical_ie.corpora import Demo

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([document.text for document in Demo().read("train")], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>", bos_token="<|end|>")
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM._from_config(LlamaConfig(**shape, bos_token_id=0, eos_token_id=0, pad_token_id=0), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)


class Meter(pl.Callback):
    """Seconds, tokens and operations of each step behind the first ones, and the peak of memory; generation at the end."""

    def __init__(self, generates: int) -> None:
        self.generates = generates
        self.steps: list[tuple[float, int, float]] = []
        self.peak = 0
        self.speeds: dict[str, float] = {}
        self._begun = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: D102 (Lightning's hook)
        if torch.cuda.is_available():  # transformers takes 4 bytes a weight for a moment where there is room, to warm the allocator up
            torch.cuda.reset_peak_memory_stats()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: D102
        _wait()
        self._begun = time.perf_counter()

    def on_train_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        _wait()
        if trainer.global_step > WARM_UP:
            seconds = time.perf_counter() - self._begun
            self.steps.append((seconds, int(batch["subwords"]), operations(pl_module.backbone, batch)))

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: D102
        cuda = torch.cuda.is_available()
        self.peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if self.generates:
            device = pl_module.device.type
            with torch.autocast(device, torch.bfloat16, enabled=str(trainer.precision) == "bf16-mixed"), torch.no_grad():
                for constrained in (False, True):
                    self.speeds["with a grammar" if constrained else "free"] = generated(
                        pl_module, trainer.datamodule.examples["train"], self.generates, constrained=constrained
                    )


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def operations(backbone: Any, batch: Any) -> float:
    """Floating-point operations that a step needs, see the top."""
    from clinical_ie.models.packed_attention import PackedRows

    config = backbone.base.config
    layers, hidden = config.num_hidden_layers, config.hidden_size
    head = hidden // config.num_attention_heads * config.num_key_value_heads
    weights = layers * (2 * hidden * hidden + 2 * hidden * head + 3 * hidden * config.intermediate_size)
    each = 4 if backbone.freeze else 6
    pairs = int(PackedRows(batch["segment_ids"], batch["prefix_segment_ids"]).dense().sum())
    return float(
        each * weights * batch["subwords"] + each * hidden * config.vocab_size * len(batch["targets"]) + 12 * layers * hidden * pairs
    )


def generated(model: Any, examples: Any, most: int, *, constrained: bool) -> float:
    """Tokens per second of one queue over all notes, after a short one for warming up."""
    from clinical_ie.decoding.generation import GenerationQueue, GenerationRequest

    speed = 0.0
    for limit in (8, most):
        queue = GenerationQueue(model.backbone, model.subwords, batch_size=32, num_draft_tokens=0)
        for number, example in enumerate([*examples][:64]):
            grammar = example.grammar if constrained else None
            queue.add(str(number), GenerationRequest(example.prefix_ids, example.input_ids, limit, grammar))
        queue.run(to_the_end=True)
        speed = queue.tokens / queue.seconds
    return speed


def tuned(folder: str, way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of a way of tuning, in this process alone."""
    from peft import LoraConfig

    from clinical_ie.commands.precision import computes_in_bfloat16
    from clinical_ie.commands.quiet import quieten
    from clinical_ie.corpora import Demo
    from clinical_ie.data.datamodule import ExtractionDataModule
    from clinical_ie.modules import InstructionGenerator
    from clinical_ie.tasks import EntityInstruction

    quieten()
    data = ExtractionDataModule([Demo()], [EntityInstruction("lines")], folder, batch_budget=options.tokens, packing=True)
    peft = None if "full" in way else LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear")
    data.setup("fit")
    model = InstructionGenerator(
        folder, data.schemas, peft=peft, quantized="nf4" if "QLoRA" in way else None, gradient_checkpointing="checkpointing" in way,
        compiled="compiled" in way,
    )  # fmt: skip
    meter = Meter(options.generate if way == GENERATES else 0)
    precision: Any = "bf16-mixed" if computes_in_bfloat16("auto") else "32-true"
    trainer = pl.Trainer(
        max_steps=WARM_UP + options.steps, max_epochs=-1, devices=1, precision=precision, callbacks=[meter], gradient_clip_val=1.0,
        limit_val_batches=0, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(model, data)
    return {
        "tokens": median(tokens / seconds for seconds, tokens, _ in meter.steps), "seconds": median(step[0] for step in meter.steps),
        "flops": median(flops / seconds for seconds, _, flops in meter.steps), "all_seconds": [round(step[0], 3) for step in meter.steps],
        "peak": meter.peak, "speeds": meter.speeds, "blocks": bool(model.backbone._block_sparse),
    }  # fmt: skip


def full_on_all(folder: str, options: argparse.Namespace, root: Path) -> dict[str, Any]:
    """All weights under ZeRO-3 with offload on all GPUs, through the command line; its seconds include the first steps."""
    command = [sys.executable, "-m", "clinical_ie", "fit", f"--run_dir={root}", "--test_after_fit=false"]
    for name in ("task/entity_instruction", "model/llama31_8b", "peft/full", "data/demo", "strategy/zero3_offload"):
        command += ["-c", name]
    command += [f"--model.init_args.backbone={folder}", f"--data.batch_budget={options.tokens}", f"--trainer.max_steps={options.steps}"]
    command += ["--trainer.max_epochs=-1", "--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false"]
    subprocess.run(command, check=True)
    run = json.loads((root / "results.json").read_text(encoding="utf-8"))["run"]
    seconds = run["training_seconds"]
    return {"tokens": run["training_subwords"] / seconds, "seconds": seconds / run["steps"], "flops": 0, "peak": run["peak_memory_bytes"]}


def machine() -> tuple[str, float]:
    """Its name, and the bfloat16 peak of its device in operations per second; 0 where that is not known."""
    if not torch.cuda.is_available():
        return f"{platform.processor() or platform.machine()}, CPU", 0.0
    name = torch.cuda.get_device_name()
    peak = next((tera * 1e12 for part, tera in PEAKS.items() if all(word in name for word in part.split())), 0.0)
    return f"{torch.cuda.device_count()} x {name}, {torch.cuda.get_device_properties(0).total_memory / 1e9:.0f} GB", peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the random model is made, and taken from if it is there; else a temporary one")
    parser.add_argument("--tokens", type=int, help="of a packed row (4096; 256 with --toy)")
    parser.add_argument("--steps", type=int, help="that are measured, behind the first ones (20; 2 with --toy)")
    parser.add_argument("--generate", type=int, help="most tokens of a completion (256; 8 with --toy)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="rows of the first table")
    parser.add_argument("--errors", type=Path, help="folder for what rows that fail say, and for all seconds of the others")
    parser.add_argument("--peak", type=float, help="the device's bfloat16 peak in TFLOP/s, if it is not known here")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.tokens = options.tokens or (256 if options.toy else 4096)
    options.steps = options.steps or (2 if options.toy else 20)
    options.generate = options.generate or (8 if options.toy else 256)
    if options.only:
        print(json.dumps(tuned(str(options.folder), options.only, options)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary, "model")
        if not (folder / "config.json").is_file():
            make_model(folder, SHAPES[options.toy])
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        table(folder, Path(temporary), options)


def table(folder: Path, temporary: Path, options: argparse.Namespace) -> None:
    """Print both tables."""
    name, peak = machine()
    peak = options.peak * 1e12 if options.peak else peak
    ways = [way for way in options.ways if "QLoRA" not in way or (importlib.util.find_spec("bitsandbytes") and not options.toy)]
    ways += ["full, checkpointing"] if options.toy else []
    shape = "toy size" if options.toy else "the shape of Llama 3.1 8B"
    print(
        f"{name}; torch {torch.__version__}; {datetime.date.today()}; random weights of {shape}, packed rows of {options.tokens} tokens\n"
    )
    print("| tuning | tokens/s | s/step | MFU, % | peak memory, GB | attention |\n|---|---|---|---|---|---|", flush=True)
    speeds: dict[str, float] = {}
    for way in ways:
        arguments = [sys.executable, __file__, "--only", way, "--folder", str(folder)]
        arguments += [f"--{key}={getattr(options, key)}" for key in ("tokens", "steps", "generate")]
        arguments += ["--toy"] if options.toy else []
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode:
            if options.errors:
                Path(options.errors, f"{way}.txt").write_text(done.stderr, encoding="utf-8")
            print(f"| {way} | failed: {(done.stderr.strip().splitlines() or ['?'])[-1][:150]} | | | | |", flush=True)
            continue
        row = json.loads(done.stdout.strip().splitlines()[-1])
        if options.errors:
            Path(options.errors, f"{way}.json").write_text(json.dumps(row), encoding="utf-8")
        speeds |= row["speeds"]
        print(line(way, row, peak, "block-sparse" if row["blocks"] else "dense"), flush=True)
    if importlib.util.find_spec("deepspeed") and torch.cuda.device_count() > 1:
        print(line("full, ZeRO-3, offload, all GPUs", full_on_all(str(folder), options, temporary / "full"), 0.0, ""), flush=True)
    print("\n| generation, 32 side by side | tokens/s |\n|---|---|")
    for way, speed in speeds.items():
        print(f"| {way} | {speed:.0f} |")


def line(way: str, row: dict[str, Any], peak: float, attention: str) -> str:
    """A line of the first table."""
    share = f"{100 * row['flops'] / peak:.1f}" if peak and row["flops"] else "?"
    return f"| {way} | {row['tokens']:.0f} | {row['seconds']:.2f} | {share} | {row['peak'] / 1e9:.1f} | {attention} |"


if __name__ == "__main__":
    main()
