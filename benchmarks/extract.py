"""Notes a second of extraction, beside a plain token-classification pipeline of transformers and beside the backbone alone.

All in this process with one thread, one after the other in rounds; the best round of each counts, in seconds of the processor, so that
what else the machine does changes little. The pipeline has the run's backbone and a head of as many labels.

    python benchmarks/extract.py RUN NOTES.csv --text transcription --every 4
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from clinical_ie import Extractor, load
from clinical_ie.commands.quiet import quieten
from clinical_ie.formats import brat, jsonl
from clinical_ie.models.folders import locate
from clinical_ie.scoring.rules import StrictOneToOne
from clinical_ie.scoring.score import score

STRIDE = 32
"""Sub-words that two inputs of the pipeline share: as much as twice the overlap of our windows."""


def seconds_of(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def backbone_alone(extractor: Extractor, texts: list[str], width: int, rows: int) -> Callable[[], Any]:
    """The limit: the encoder in the same precision on rows that are full, with real sub-words, and nothing else."""
    (stage,) = extractor.stages
    ids = [token for text in texts for token in stage.source.encoder.encode(text)[0]]
    full = torch.tensor(ids[: len(ids) // width * width]).reshape(-1, width)

    def run() -> None:
        with torch.inference_mode(), stage._precision():
            for start in range(0, len(full), rows):
                batch = full[start : start + rows]
                stage.model.backbone(batch, torch.ones_like(batch))

    return run


def plain_pipeline(extractor: Extractor, dtype: torch.dtype, **options: Any) -> Any:
    name = locate(extractor.stages[0].model.backbone_name)
    labels = sum(2 * len(types) + 1 for types in extractor.schema.layers.values())
    model = AutoModelForTokenClassification.from_pretrained(name, num_labels=labels, dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(name)
    tokenizer.model_max_length = 512
    return pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first", batch_size=8, **options)


def show_f1(run: str, folder: str) -> None:
    gold = jsonl.read(folder) if folder.endswith(".jsonl") else brat.read(folder)
    print(f"\nStrict F1 of mentions in {len(gold)} annotated notes")
    plain = load(run, device="cpu", precision="32", batch_budget=8192)
    plain.stages[0].model.backbone._packs = False
    for name, extractor in (("extract, as above", load(run, device="cpu")), ("float32, padded", plain)):
        print(f"{name:<52} {score(gold, extractor.annotate(gold), StrictOneToOne()).micro('entities', 'strict').f1:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("notes", type=Path)
    parser.add_argument("--text", default="transcription", help="the column")
    parser.add_argument("--every", type=int, default=1, help="take every n-th note")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--budgets", type=int, nargs="+", default=[2048], help="sub-words of our batches")
    parser.add_argument("--windows", type=int, nargs="+", default=[0], help="sub-words of our windows; 0 for the run's own")
    parser.add_argument("--gold", help="annotated notes (BRAT or JSON lines), for F1 beside float32 with padding, the road of `predict`")
    parser.add_argument("--skip", nargs="+", default=[], choices=["pipeline"], help="what is left out")
    options = parser.parse_args()
    quieten()
    torch.set_num_threads(1)
    with options.notes.open(encoding="utf-8", newline="") as file:
        texts = [row[options.text] for row in csv.DictReader(file) if row[options.text].strip()][:: options.every]
    extractor = load(options.run, device="cpu")
    (stage,) = extractor.stages
    subwords = sum(len(stage.source.encoder.encode(text)[0]) for text in texts)
    seen = sum(min(510, len(stage.source.encoder.encode(text)[0])) for text in texts)
    own = stage.task.window
    print(f"{len(texts)} notes, {subwords:,} sub-words; bf16: {stage.bf16}; torch {torch.__version__}, one thread")

    measured: dict[str, Callable[[], Any]] = {}

    def ours(window: int, budget: int) -> Callable[[], Any]:
        def run() -> None:
            stage.task.window, stage.batch_budget = window, budget
            for _ in extractor.stream(texts):
                pass

        return run

    for window in options.windows:
        window = window or own
        measured[f"limit: backbone alone, windows of {window}"] = backbone_alone(extractor, texts, window, max(1, 2048 // window))
        for budget in options.budgets:
            measured[f"ours, windows of {window}, batches of {budget}"] = ours(window, budget)
    if "pipeline" not in options.skip:
        for name, dtype in (("bf16", torch.bfloat16), ("float32", torch.float32)):
            default, striding = plain_pipeline(extractor, dtype), plain_pipeline(extractor, dtype, stride=STRIDE)
            measured[f"pipeline, default, {name} (sees {seen / subwords:.0%})"] = lambda default=default: default(texts)
            measured[f"pipeline, stride {STRIDE}, {name}"] = lambda striding=striding: striding(texts)
    best = dict.fromkeys(measured, float("inf"))
    for _ in range(options.rounds):
        for name, work in measured.items():
            best[name] = min(best[name], seconds_of(work))
    print(f"\n{'':<52} {'s of a core':>11} {'notes/s':>8} {'sub-words of notes/s':>21}")
    for name, seconds in best.items():
        part = seen if "sees" in name else subwords
        print(f"{name:<52} {seconds:>11.1f} {len(texts) / seconds:>8.2f} {part / seconds:>21,.0f}", flush=True)
    if options.gold:
        show_f1(options.run, options.gold)


if __name__ == "__main__":
    main()
