"""F1 of finished instruction runs on UW social history, under the constraint with one `backtrack_threshold` or several, or free (``free``).

python benchmarks/instructed.py CORPORA_FOLDER RUN... [--split dev] [--backtrack_threshold 0 0.1 0.3 free]

Mixed precision in bfloat16 on a CPU that computes in it, as runs test themselves. Syntaxes that have no grammar are always free.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import yaml

from clinical_ie import tasks
from clinical_ie.commands.export import load_run
from clinical_ie.commands.precision import computes_in_bfloat16
from clinical_ie.commands.quiet import quieten
from clinical_ie.corpora import UWSocialHistory
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score
from clinical_ie.tasks.task import Source


def completions(model: Any, examples: list[Any]) -> dict[str, Any]:
    """What the run's own prediction says."""

    class Batch:
        def __init__(self) -> None:
            self.examples = examples

    with torch.autocast("cpu", torch.bfloat16) if computes_in_bfloat16("cpu") else contextlib.nullcontext():
        return dict(model.predict_step({"examples": Batch()}, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--backtrack_threshold", nargs="+", default=["0.3"])
    options = parser.parse_args()
    quieten()
    corpus = UWSocialHistory(str(options.corpora / "uw_social_history_mtsamples"))
    gold = corpus.read(options.split)
    columns = ["run", "syntax", "threshold", "strict F1", "lenient F1", "links, strict F1", "backtracked", "not parsed", "not in the text"]
    print("| " + " | ".join([*columns, "cut", "seconds"]) + " |\n" + "|---" * (len(columns) + 2) + "|")
    for run in options.runs:
        model = load_run(run)
        settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data"]["tasks"][0]
        kind = getattr(tasks, settings["class_path"].rpartition(".")[2])
        task = kind(**{**settings["init_args"], "augmentation": None})
        source = Source(corpus.name, corpus.schema, model.subwords)
        examples = [example for document in gold for example in task.examples(document, source)]
        for threshold in options.backtrack_threshold if examples[0].grammar is not None else ["free"]:
            model.constrained = threshold != "free"
            model.backtrack_threshold = float(threshold) if model.constrained else 0.0
            begun = time.perf_counter()
            outputs = completions(model, examples)
            seconds = time.perf_counter() - begun
            outcomes: Counter[str] = Counter()
            predicted = [
                task.annotations(d, [e for e in examples if e.document_id == d.id], outputs, corpus.schema, outcomes) for d in gold
            ]
            found = score(gold, predicted, rule_set("strict-one-to-one"))
            backtracked, truncated = outcomes.pop("mentions and links backtracked", 0), outcomes.pop("completions truncated", 0)
            del outcomes["completions"]
            unparsed = sum(number for what, number in outcomes.items() if not what.startswith("mentions,"))
            figures = [found.micro("entities", "strict").f1, found.micro("entities", "lenient").f1, found.micro("relations", "strict").f1]
            cells = [run.name, task.response.name, threshold, *(f"{figure:.3f}" for figure in figures)]
            cells += [str(number) for number in (backtracked, unparsed, outcomes["mentions, none"], truncated)]
            print("| " + " | ".join([*cells, f"{seconds:.0f}"]) + " |", flush=True)


if __name__ == "__main__":
    main()
