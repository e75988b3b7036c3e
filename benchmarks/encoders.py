"""Ways of asking an encoder and of tuning it, side by side: relations, reading comprehension, end to end, and parameter-efficient tuning.

Every row is an ordinary run of the command line with MiniLM and the last state tested, the same corpora, splits and seeds in all
rows of a table. Runs are kept under --runs and not made twice, so an interrupted benchmark goes on.

    python benchmarks/encoders.py end_to_end CORPORA_FOLDER --runs RUNS --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDERS = {"uw": "uw_social_history_mtsamples", "maccrobat": "maccrobat2020"}
PIPELINES = {
    "uw_pipeline": ("uw", "uw_social_history"),
    "uw_reading_pipeline": ("uw", "uw_social_history_reading"),
    "maccrobat_pipeline": ("maccrobat", "maccrobat"),
}
FITS = {
    "uw_pair": ("task/relation_classification_pair", "model/minilm", "experiment/uw_relations"),
    "uw_reading_single": ("task/entity_reading_single", "model/minilm", "experiment/uw_reading"),
    **{
        f"uw_{name}": ("task/entity_tagging", "model/minilm", f"peft/{name}", "experiment/uw_layers")
        for name in ("full", "lora", "dora", "ia3", "prefix_tuning", "prompt_tuning", "p_tuning", "prompt_tuning_unfrozen", "frozen")
    },
}
EPOCHS = {"uw_pair": 3, "uw_reading_single": 3}
"""Fewer than 5 where an epoch has several times as many inputs, as in the study."""
TABLES: dict[str, list[str]] = {
    "end_to_end": list(PIPELINES),
    "pairs": ["uw_pipeline", "uw_pair"],
    "readers": ["uw_pipeline", "uw_reading_pipeline", "uw_reading_single"],
    "peft": [name for name in FITS if name not in ("uw_pair", "uw_reading_single")],
}


def run(name: str, seed: int, corpora: Path, runs: Path) -> Path:
    """The folder of a finished run."""
    folder = runs / f"{name}-{seed}"
    if (folder / "finished").exists():
        return folder
    shared = [f"--seed_everything={seed}", "--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false"]
    shared += ["--trainer.precision=bf16-mixed", "--trainer.accelerator=cpu"]
    command = [sys.executable, "-m", "clinical_ie"]
    if name in PIPELINES:
        corpus, recipe = PIPELINES[name]
        options = [*shared, f"--data.root={corpora / FOLDERS[corpus]}"]
        command += ["pipeline", recipe, *(f"--both={option}" for option in options)]
    else:
        chain = [part for file in FITS[name] for part in ("-c", file)]
        command += ["fit", *chain, *shared, f"--data.root={corpora / FOLDERS['uw']}"]
        command += [f"--trainer.max_epochs={EPOCHS.get(name, 5)}"]
        last = folder / "checkpoints" / "last.ckpt"
        command += [f"--ckpt_path={last}"] if last.exists() else []
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([*command, f"--run_dir={folder}"], check=True, stdout=subprocess.DEVNULL, env=environment)
    (folder / "finished").touch()
    return folder


def _corpus(name: str, corpora: Path) -> Any:
    from clinical_ie.corpora import Maccrobat, UWSocialHistory

    if name.startswith("maccrobat"):
        return Maccrobat(str(corpora / FOLDERS["maccrobat"]))
    return UWSocialHistory(str(corpora / FOLDERS["uw"]))


def scores(folder: Path, name: str, corpora: Path) -> dict[str, float]:
    """F1 of a prediction folder's test notes under the rule sets, and recall of mentions that share words with others."""
    from clinical_ie.corpora import CorpusReader
    from clinical_ie.formats import jsonl
    from clinical_ie.scoring.rules import rule_set
    from clinical_ie.scoring.score import score

    corpus = _corpus(name, corpora)
    gold = CorpusReader(corpus).read("test")
    predicted = jsonl.read(folder / "predictions" / "test" / f"{corpus.name}.jsonl")
    found = score(gold, predicted, rule_set("strict-one-to-one"))
    result = {f"{kind}/{mode}": found.micro(kind, mode).f1 for kind in ("entities", "relations") for mode in ("strict", "lenient")}
    result["shac"] = score(gold, predicted, rule_set("shac-2022")).events_overall().f1
    by_id = {document.id: {(entity.type, entity.span) for entity in document.entities} for document in predicted}
    counts = {"nested": [0, 0], "apart": [0, 0]}
    for document in gold:
        for entity in document.entities:
            shares = any(other is not entity and other.span.overlaps(entity.span) for other in document.entities)
            row = counts["nested" if shares else "apart"]
            row[0] += (entity.type, entity.span) in by_id[document.id]
            row[1] += 1
    return result | {f"recall/{kind}": hit / all_ if all_ else 0.0 for kind, (hit, all_) in counts.items()}


def _cost(folder: Path) -> dict[str, float]:
    cost = json.loads((folder / "results.json").read_text(encoding="utf-8"))["run"]
    return {
        "share": 100 * cost["trainable_parameters"] / cost["parameters"],
        "model megabytes": cost["checkpoint_model_bytes"] / 1e6,
        "minutes": cost["training_seconds"] / 60,
    }


def rows(table: str, name: str, folder: Path, corpora: Path) -> dict[str, dict[str, float]]:
    """Label -> figures of one run."""
    if table == "end_to_end":
        gold = scores(folder / "relations", name, corpora)
        return {f"{name}, gold entities": gold, f"{name}, end to end": scores(folder, name, corpora)}
    stage = {"pairs": "relations", "readers": "entities"}.get(table, "")
    inner = folder / stage if name in PIPELINES else folder
    return {name: scores(inner, name, corpora) | _cost(inner)}


COLUMNS: dict[str, list[tuple[str, str, str]]] = {
    "end_to_end": [("entities/strict", "entities, strict F1", ".3f"), ("relations/strict", "relations, strict F1", ".3f"),
                   ("relations/lenient", "lenient F1", ".3f"), ("shac", "shac-2022 F1", ".3f")],
    "pairs": [("relations/strict", "strict F1", ".3f"), ("shac", "shac-2022 F1", ".3f"), ("minutes", "training minutes", ".1f")],
    "readers": [("entities/strict", "strict F1", ".3f"), ("entities/lenient", "lenient F1", ".3f"),
                ("recall/nested", "recall, words shared", ".3f"), ("recall/apart", "recall, the others", ".3f"),
                ("minutes", "training minutes", ".1f")],
    "peft": [("entities/strict", "strict F1", ".3f"), ("entities/lenient", "lenient F1", ".3f"), ("share", "trained %", ".2f"),
             ("model megabytes", "model in checkpoint, MB", ".1f")],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("corpora", type=Path, help="the folder that holds the corpora")
    parser.add_argument("--runs", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="rows of the table to make")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        for name in options.only or TABLES[options.table]:
            for label, figures in rows(options.table, name, run(name, seed, options.corpora, options.runs), options.corpora).items():
                found.setdefault(label, []).append(figures)
                print(f"# seed {seed}, {label}: {figures}", flush=True)
    columns = COLUMNS[options.table]
    print(
        f"\n| {options.table}, {len(options.seeds)} seeds | "
        + " | ".join(title for _, title, _ in columns)
        + " |\n|---" * (len(columns) + 1)
        + "|"
    )
    for label, figures in found.items():
        print(f"| {label} | " + " | ".join(_mean(figures, key, form) for key, _, form in columns) + " |")


def _mean(figures: list[dict[str, float]], key: str, form: str) -> str:
    values = [row[key] for row in figures]
    spread: Callable[[list[float]], float] = statistics.stdev if len(values) > 1 else lambda _: 0.0
    return f"{statistics.mean(values):{form}}" + (
        f" ({spread(values):{form}})" if key.endswith(("strict", "lenient", "shac", "nested", "apart")) else ""
    )


if __name__ == "__main__":
    main()
