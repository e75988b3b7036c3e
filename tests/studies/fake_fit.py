"""Stands for ``clinical-ie fit``: takes its time, writes a part first, and then results that follow from the run's folder name."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def results(key: str, corpora: dict[str, int]) -> dict[str, Any]:
    """Results as a run writes them: F1 rises with the number that a corpus is given."""
    content = int(key[:4], 16)
    splits = {name: {"entity_reading": _entry(content % 3 + right)} for name, right in corpora.items()}
    run = {
        "fingerprint": key[:8], "seed": 0, "steps": 4, "seconds": 7.5, "training_subwords": 1000, "parameters": 1000,
        "trainable_parameters": 250, "peak_memory_bytes": 5_000_000, "checkpoint_bytes": 10, "checkpoint_model_bytes": 10,
        "shots": {}, "label_shift": {},
    }  # fmt: skip
    return {"run": run, "splits": {"test": splits}}


def _entry(right: int) -> dict[str, Any]:
    documents = {f"note{number}": [right, 2, 8 - min(right, 8)] for number in range(5)}
    tp, fp, fn = (sum(row[place] for row in documents.values()) for place in range(3))
    micro = {"precision": tp / (tp + fp), "recall": tp / (tp + fn), "f1": 2 * tp / (2 * tp + fp + fn), "tp": tp, "fp": fp, "fn": fn}
    scores = {"micro": micro, "macro": {"f1": micro["f1"]}, "types": {}}
    return {
        "rules": "strict-one-to-one", "documents": 5, "missing": 0, "finds": "entities", "entities": {"strict": scores, "lenient": scores},
        "intervals": {}, "per_document": {"entities/strict": documents, "entities/lenient": documents}, "groups": {}, "coverage": None,
        "outcomes": {"completions": 5, "malformed lines": 1},
    }  # fmt: skip


def main(key: str, run_dir: str, fails: bool) -> int:
    """Write a run in steps, so that it can be killed between them."""
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    time.sleep(0.02)
    (folder / "results.json").write_text(json.dumps({**results(key, {}), "splits": {}}), encoding="utf-8")
    time.sleep(0.02)
    if fails:
        print("progress\nclinical-ie fit: the model is too large", file=sys.stderr)
        return 1
    partial = folder / "results.partial"
    partial.write_text(json.dumps(results(key, {"uw": 3})), encoding="utf-8")
    partial.replace(folder / "results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3] == "fails"))
