"""Estimated memory of training beside measured: small runs over strategy, tuning, activation checkpointing, precision and length.

What is measured is what the CPU's allocator hands out and takes back: torch's profiler notes each allocation and each release with its
bytes, inside of operations, too, and the sum of all since before the model is there is what is held at a time. The peak is that of the
second and third step, when the optimizer has its states. Resident memory of the process is no measure: it holds the libraries, and what is
freed does not go back to the system.

    python benchmarks/memory_estimate.py [--only TEXT] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig
from torch.autograd.profiler import profile

from clinical_ie.commands.memory_estimate import Strategy, estimate
from clinical_ie.commands.memory_simulation import simulate
from clinical_ie.commands.memory_step import step_of
from clinical_ie.corpora import Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.modules import EncoderTagger, InstructionGenerator
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.tasks import EntityInstruction, EntityTagging
from tests.conftest import _fill_tiny_bert, _fill_tiny_llama
from tests.integration.processes import in_ranks

MARKS = "steps begin", "steps end"


@dataclass(frozen=True)
class Case:
    """One run."""

    model: str
    tuning: str
    checkpointing: bool = False
    budget: int = 1024
    precision: str = "32-true"
    strategy: Strategy = "single"
    accumulate: int = 1

    @property
    def name(self) -> str:
        """As tables show it."""
        more = (
            [self.precision] * (self.precision != "32-true")
            + ["checkpointing"] * self.checkpointing
            + [f"x{self.accumulate}"] * (self.accumulate > 1)
        )
        return " ".join([self.strategy, self.model, self.tuning, str(self.budget), *more])


def cases() -> Iterator[Case]:
    """What is run."""
    for checkpointing in (False, True):
        for budget in (1024, 2048):
            for tuning in ("full", "lora", "prompt_tuning", "ia3"):
                yield Case("decoder", tuning, checkpointing, budget)
        for budget in (1024, 4096):
            for tuning in ("full", "lora", "frozen"):
                yield Case("encoder", tuning, checkpointing, budget)
        for tuning in ("full", "lora"):
            yield Case("decoder", tuning, checkpointing, 1536, "bf16-mixed")
            yield Case("encoder", tuning, checkpointing, 2048, "bf16-mixed")
    for budget in (1024, 2048):
        yield Case("decoder", "prefix_tuning", False, budget)
        yield Case("decoder", "full", False, budget, accumulate=2)
    for strategy in ("ddp", "fsdp2", "zero1", "zero2", "zero3"):
        yield Case("decoder", "full", False, 1536, strategy=strategy)  # type: ignore[arg-type]
        yield Case("decoder", "lora", False, 1536, strategy=strategy)  # type: ignore[arg-type]
        yield Case("encoder", "full", True, 2048, strategy=strategy)  # type: ignore[arg-type]


def _peft(tuning: str) -> Any:
    return {
        "lora": LoraConfig(r=16, target_modules="all-linear", lora_dropout=0.05),
        "prompt_tuning": PromptTuningConfig(num_virtual_tokens=20),
        "prefix_tuning": PrefixTuningConfig(num_virtual_tokens=20),
        "ia3": IA3Config(target_modules="all-linear", feedforward_modules=["down_proj"]),
    }.get(tuning)


def made(case: Case, models: Path) -> tuple[TunedModule, ExtractionDataModule]:
    """Module and data, nothing loaded."""
    decoder = case.model == "decoder"
    backbone = str(models / case.model)
    task: Any = EntityInstruction(segment=128, window=1024) if decoder else EntityTagging(256, 16)
    data = ExtractionDataModule([Demo()], [task], backbone, batch_budget=case.budget, dev_documents=1)
    options: dict[str, Any] = {
        "peft": _peft(case.tuning),
        "gradient_checkpointing": case.checkpointing,
        "freeze": case.tuning not in ("full",),
    }
    kind = InstructionGenerator if decoder else EncoderTagger
    return kind(backbone, data.schemas, **options), data


class Steps(pl.Callback):
    """Marks the second and third step; weights lie in memory that the allocator gave, not in that of a mapped file."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        for tensor in [*pl_module.parameters(), *pl_module.buffers()]:
            if type(tensor.data) is torch.Tensor:
                tensor.data = tensor.data.clone()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: D102
        if trainer.global_step == 1:
            with torch.profiler.record_function(MARKS[0]):
                pass

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: D102
        with torch.profiler.record_function(MARKS[1]):
            pass


def measured(case: Case, models: str, output: str, ranks: int) -> None:
    """Train three steps; the peak goes to a file for each rank."""
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from clinical_ie.strategies import sharding, zero  # noqa: F401 (they register their names)

    pl.seed_everything(0, verbose=False)
    module, data = made(case, Path(models))
    gc.collect()  # what an earlier case has left is not to be given back while this one is measured, and so taken off its sum
    with tempfile.TemporaryDirectory() as folder, profile(use_cpu=True, profile_memory=True) as seen:
        trainer = pl.Trainer(
            accelerator="cpu", devices=ranks, strategy={"single": "auto"}.get(case.strategy, case.strategy), max_steps=3, logger=False,
            precision=case.precision, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
            use_distributed_sampler=False, limit_val_batches=0, default_root_dir=folder, callbacks=[Steps()], gradient_clip_val=1.0,
            accumulate_grad_batches=case.accumulate,
        )  # type: ignore[arg-type]  # fmt: skip
        trainer.fit(module, data)
    Path(f"{output}.{trainer.global_rank}").write_text(str(peak(seen)))


def peak(seen: profile) -> int:
    """Most bytes that were held between the first of the marks and the last."""
    events = sorted(seen.kineto_results.events(), key=lambda event: event.start_ns())
    begin = min(event.start_ns() for event in events if event.name() == MARKS[0])
    end = max(event.start_ns() for event in events if event.name() == MARKS[1])
    if not any(event.name() == "[memory]" and begin <= event.start_ns() <= end for event in events):
        raise SystemExit(
            "the profiler noted no memory between the marks, as happened once among many runs; measure this case by itself (--only)"
        )
    held = most = 0
    for event in events:
        if event.name() == "[memory]":
            held += event.nbytes()
            if begin <= event.start_ns() <= end:
                most = max(most, held)
    return most


def run(case: Case, models: Path, folder: Path) -> dict[str, Any]:
    """Estimate and measure."""
    module, data = made(case, models)
    ranks = 1 if case.strategy == "single" else 2
    step = step_of(module, data, case.precision)
    found = estimate(simulate(module, step, micro_steps=case.accumulate), step, case.strategy, ranks, on_gpu=False)
    output = folder / "peak"
    if ranks == 1:
        measured(case, str(models), str(output), ranks)
    else:
        code, printed = in_ranks(measured, case, str(models), str(output), ranks, ranks=ranks)
        if code:
            raise SystemExit(f"{case.name}: {printed[-3000:]}")
    real = max(int(path.read_text()) for path in folder.glob("peak.*"))
    total = found.total
    return {
        "case": case.name, **asdict(case), "low": total.low, "expected": total.expected, "high": total.high, "measured": real,
        "parts": {name: part.expected for name, part in found.parts.items()},
    }  # fmt: skip


def write_models(folder: Path) -> None:
    """Random models of four layers that are wide enough for tensors to count, with the tokenizers of the demo notes."""
    from transformers import AutoTokenizer, BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    for name, fill in (("encoder", _fill_tiny_bert), ("decoder", _fill_tiny_llama)):
        (folder / name).mkdir()
        fill(folder / name)
    words = len(AutoTokenizer.from_pretrained(folder / "encoder"))
    sizes: dict[str, Any] = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
    BertModel(BertConfig(vocab_size=words, intermediate_size=1024, max_position_embeddings=512, **sizes)).save_pretrained(
        folder / "encoder"
    )
    words = len(AutoTokenizer.from_pretrained(folder / "decoder"))
    llama = LlamaConfig(
        vocab_size=words, intermediate_size=704, num_key_value_heads=2, max_position_embeddings=4096, eos_token_id=2, pad_token_id=0,
        tie_word_embeddings=False, **sizes,
    )  # fmt: skip
    LlamaForCausalLM(llama).save_pretrained(folder / "decoder")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    with tempfile.TemporaryDirectory() as place:
        models = Path(place) / "models"
        models.mkdir()
        write_models(models)
        print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}\n")
        print("| run | low | expected | high | measured | measured / expected |\n|---|---:|---:|---:|---:|---:|")
        for number, case in enumerate(one for one in cases() if options.only in one.name):
            folder = Path(place) / str(number)
            folder.mkdir()
            row = run(case, models, folder)
            rows.append(row)
            numbers = " | ".join(f"{row[name] / 1e6:.1f}" for name in ("low", "expected", "high", "measured"))
            print(f"| {case.name} | {numbers} | {row['measured'] / row['expected']:.3f} |", flush=True)
    inside = sum(row["low"] <= row["measured"] <= row["high"] for row in rows)
    near = sum(abs(row["measured"] / row["expected"] - 1) <= 0.15 for row in rows)
    print(f"\n{len(rows)} runs, MB: {inside} inside [low, high], {near} within 15 % of expected")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
