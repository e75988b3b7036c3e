"""Generating the answers of MACCROBAT's test notes: a queue for each batch of the data, and one over all of them.

    python benchmarks/generation_queue.py CORPORA_FOLDER [--notes N] [--count]

SmolLM2-135M says the gold answers (as in `response_formats.py`: it computes all that it would, and is never wrong), `inline` and
constrained, with the batches, rows, draft tokens and precision of a run. Both ways say the same tokens. Seconds are those of one thread's
CPU; beside them stands the number of steps that they would take without draft tokens. Before 2026-11-25 each batch had a queue of its
own, which read the shared prefix again (and merged adapters again, of which there are none here).
"""

from __future__ import annotations

import argparse
import heapq
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from response_formats import BACKBONE, ROWS, sayable, saying

from clinical_ie.commands.precision import computes_in_bfloat16
from clinical_ie.commands.quiet import quieten
from clinical_ie.corpora import CorpusReader, Maccrobat
from clinical_ie.data.batching import budget_batches
from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.decoding.generation import GenerationQueue, GenerationRequest
from clinical_ie.models.decoder import Decoder
from clinical_ie.tasks import EntityInstruction
from clinical_ie.tasks.task import Source

BATCH_BUDGET = 8192


def plain_steps(examples: Sequence[Any]) -> int:
    """Steps of a queue in which each step says a token in each row."""
    ends: list[int] = []
    for example in sorted(examples, key=lambda example: -len(example.input_ids)):
        heapq.heappush(ends, (heapq.heappop(ends) if len(ends) >= ROWS else 0) + len(example.response))
    return max(ends)


def run(backbone: Decoder, encoder: ChatTokenizer, batches: Sequence[Sequence[Any]], *, one_queue: bool) -> tuple[int, float, float, int]:
    """Steps, the share of occupied rows, seconds and tokens."""
    gold = {example.id: example.response for batch in batches for example in batch}
    precision = torch.bfloat16 if computes_in_bfloat16("cpu") else torch.float32
    queues: list[GenerationQueue] = []
    begun = time.process_time()
    with saying(gold), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        for number, batch in enumerate(batches, 1):
            if not queues or not one_queue:
                queues.append(GenerationQueue(backbone, encoder, batch_size=ROWS, num_draft_tokens=None, backtrack_threshold=0.3))
            for e in batch:
                grammar = e.grammar if sayable(e, encoder) else None  # mentions that begin inside of words
                queues[-1].add(e.id, GenerationRequest(e.prefix_ids, e.input_ids, 4 * len(e.response), grammar))
            said = queues[-1].run(to_the_end=not one_queue or number == len(batches))
            assert all((*sequence.ids, encoder.end_id) == gold[name] for name, sequence in said.items())
    seconds, steps = time.process_time() - begun, sum(queue.steps for queue in queues)
    return steps, sum(queue.rows_of_steps for queue in queues) / (steps * ROWS), seconds, sum(queue.tokens for queue in queues)


def read_nothing(queue: Any) -> None:
    """Stands for the prefill of a prefix."""
    queue._prefixes |= queue._unread
    queue._unread.clear()
    queue._cache = SimpleNamespace(admit=lambda *_: None, move=lambda *_: None)


def compute_nothing(queue: Any, spans: Sequence[tuple[int, Sequence[int]]], running: int) -> torch.Tensor:
    """Stands for the hidden states of a step; the answers are given anyway."""
    return torch.zeros(1, sum(len(ids) for _, ids in spans), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--notes", type=int, help="so many notes only")
    parser.add_argument("--count", action="store_true", help="count the steps only, with a decoder that computes nothing")
    options = parser.parse_args()
    quieten()
    encoder, backbone = ChatTokenizer(BACKBONE), Decoder(BACKBONE)
    if options.count:
        size = backbone.base.config.vocab_size
        GenerationQueue._read_prefix = read_nothing  # type: ignore[method-assign]
        GenerationQueue._forward = compute_nothing  # type: ignore[method-assign]
        backbone.logits = lambda hidden: torch.zeros(len(hidden), size)  # type: ignore[method-assign]
    corpus = Maccrobat(str(options.corpora / "maccrobat2020"))
    source, task = Source(corpus.name, corpus.schema, encoder), EntityInstruction("inline", window=8192)
    examples = [example for note in CorpusReader(corpus).read("test")[: options.notes] for example in task.examples(note, source)]
    batches = [[examples[place] for place in batch] for batch in budget_batches([len(e.input_ids) for e in examples], BATCH_BUDGET)]
    print(f"{len(examples)} requests, {sum(len(e.response) for e in examples)} tokens, {len(batches)} batches, {ROWS} rows")
    print("| way | steps | rows occupied, % | CPU s | tokens/s | steps without draft tokens |\n|---|---|---|---|---|---|")
    for name, one_queue in (("a queue for each batch", False), ("one queue", True)):
        steps, occupied, seconds, tokens = run(backbone, encoder, batches, one_queue=one_queue)
        plain = plain_steps(examples) if one_queue else sum(map(plain_steps, batches))
        print(f"| {name} | {steps} | {100 * occupied:.0f} | {seconds:.0f} | {tokens / seconds:.0f} | {plain} |", flush=True)


if __name__ == "__main__":
    main()
