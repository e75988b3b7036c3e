"""Seconds for 1,000 words of extraction with a decoder, beside plain `generate` and beside llama.cpp with the same weights.

    python benchmarks/extract_decoder.py RUN NOTES.csv --text transcription --every 30 --corpus demo

RUN is a generator that finds mentions, on SmolLM2 or another Llama that came from a GGUF file. All ways get the same prompts, say the most
likely token each time, compute in bfloat16 with as many threads, and are cut off at the same number of tokens. `generate` has the adapter
merged, and batches of 8 that are padded on the left. llama.cpp (llama-cpp-python, left out where it is not installed) gets the merged
weights as a GGUF file in bfloat16 and answers one prompt after the other, as its Python package does; what prompts share it keeps. Its
grammar holds answers to the syntax and the types; that the words are the note's it cannot say, ours does.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from generation import plain  # beside this file

from clinical_ie import Extractor, load
from clinical_ie.commands.export import load_run
from clinical_ie.commands.quiet import quieten
from clinical_ie.decoding.generation import GenerationRequest
from clinical_ie.document import Document
from clinical_ie.tasks.instruction import InstructionExample

GBNF = {
    "lines": 'root ::= (line ("\\n" line)*)?\nline ::= type "\\t" [^\\t\\n]+\n',
    "inline": 'root ::= part*\npart ::= [^\\\\{|}] | "\\\\" [\\\\{|}] | "{" part+ "|" type ("," type)* "}"\n',
}
"""Syntax of answers -> llama.cpp's grammar of it."""
Said = list[list[int]]
"""Tokens of each answer."""


def plain_answers(model: Any, language_model: Any, examples: list[Any], most: Callable[[Any], int]) -> Said:
    requests = [GenerationRequest(each.prefix_ids, each.input_ids, most(each)) for each in examples]
    return [ids for ids, _ in plain(model, language_model, 8, requests)]


def write_gguf(language_model: Any, source: Path, file: Path) -> None:
    """The weights of a Llama in bfloat16, norms in 32 bits, with the settings and the vocabulary of the GGUF file that it came from."""
    import gguf

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(file, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    config = language_model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    weights = language_model.state_dict()
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    for name, weight in weights.items():
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if name.endswith(f"{part}.weight"):  # llama.cpp has the two halves of a rotation interleaved
                weight = weight.reshape(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)
        values = weight.float().numpy()
        kind = gguf.GGMLQuantizationType.BF16 if values.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def in_llama_cpp(llama: Any, grammar: Any, end: int, examples: list[Any], most: Callable[[Any], int]) -> Said:
    found = []
    for each in examples:
        said: list[int] = []
        limit = most(each)
        for token in llama.generate([*each.prefix_ids, *each.input_ids], temp=0.0, repeat_penalty=1.0, grammar=grammar):
            if token == end or len(said) == limit:
                break
            said.append(token)
        found.append(said)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("notes", type=Path)
    parser.add_argument("--text", default="transcription", help="the column")
    parser.add_argument("--every", type=int, default=30, help="take every n-th note")
    parser.add_argument("--corpus", help="of a run of several, whose types are asked for")
    parser.add_argument("--gguf", type=Path, required=True, help="the GGUF file that the backbone came from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--generate", type=int, default=0, help="plain generate answers only so many prompts, which it is extrapolated from"
    )
    options = parser.parse_args()
    quieten()
    torch.set_num_threads(options.threads)
    with options.notes.open(encoding="utf-8", newline="") as file:
        texts = [row[options.text] for row in csv.DictReader(file) if row[options.text].strip()][:: options.every]
    extractor = load(options.run, corpus=options.corpus, device="cpu", precision="bf16")
    stage = extractor.stages[0]
    extractor = Extractor([stage], extractor.name)
    model: Any = stage.model
    documents = [Document(f"n{number}", text) for number, text in enumerate(texts)]
    examples: list[InstructionExample] = [each for document in documents for each in stage.task.examples(document, stage.source)]
    words = sum(len(text.split()) for text in texts)
    base, ratio, end = model.max_new_tokens_base, model.max_new_tokens_ratio, model.subwords.end_id

    def most(example: Any) -> int:
        return int(base + int(ratio * len(example.input_ids)))

    print(f"{len(texts)} notes, {words:,} words, {len(examples)} prompts; torch {torch.__version__}, {options.threads} threads, bfloat16")
    print(f"{'':<52} {'s/1,000 words':>13} {'tokens said':>11} {'mentions':>9}")

    def shown(name: str, seconds: float, said: int | None, mentions: int | None, of: int = 0) -> None:
        scale = len(examples) / of if of else 1.0
        counts = ("" if each is None else each for each in (said, mentions))
        print("{:<52} {:>13.1f} {:>11} {:>9}".format(name, 1000 * scale * seconds / words, *counts), flush=True)

    for sure in (True, False):
        model.confidences = sure
        list(extractor.annotate(documents[:1]))
        begun = time.perf_counter()
        found = list(extractor.annotate(documents))
        shown(f"extract{'' if sure else ', without confidences'}", time.perf_counter() - begun, None, sum(len(d.entities) for d in found))

    merged = load_run(options.run).backbone.model
    merged = (merged.merge_and_unload() if hasattr(merged, "merge_and_unload") else merged).to(torch.bfloat16).eval()
    ways: dict[str, tuple[Callable[[list[Any], Callable[[Any], int]], Said], int]] = {
        "transformers generate, batches of 8": (partial(plain_answers, model, merged), options.generate)
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            from llama_cpp import Llama, LlamaGrammar
        except ImportError:
            print("llama-cpp-python is not installed: left out")
        else:
            import llama_cpp

            file = Path(folder, "model.gguf")
            write_gguf(merged, options.gguf, file)
            longest = max(len(each.prefix_ids) + len(each.input_ids) + most(each) for each in examples)
            llama = Llama(str(file), n_ctx=longest + 8, n_threads=options.threads, n_threads_batch=options.threads, verbose=False)
            names = stage.task.spec(stage.source.corpus, stage.source.schema).label_names.types
            rules = GBNF.get(stage.task.response.name)
            types = " | ".join(f'"{name}"' for name in names)
            ways["llama.cpp"] = partial(in_llama_cpp, llama, None, end), 0
            if rules is not None:
                grammar = LlamaGrammar.from_string(f"{rules}type ::= {types}\n", verbose=False)
                ways["llama.cpp, its grammar"] = partial(in_llama_cpp, llama, grammar, end), 0
            print(f"llama-cpp-python {llama_cpp.__version__}", flush=True)
        reference: Said = []
        for name, (way, few) in ways.items():
            asked = examples[:few] if few else examples
            way(examples[:1], most)
            begun = time.perf_counter()
            said = way(asked, most)
            reference = reference or said
            shown(name + (f" ({few} prompts)" if few else ""), time.perf_counter() - begun, sum(map(len, said)), None, of=few)
            same = sum(one == other for one, other in zip(said, reference, strict=False))
            print(f"{'':<52} {same} of {min(len(said), len(reference))} answers are those of generate", flush=True)


if __name__ == "__main__":
    main()
