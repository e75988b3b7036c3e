"""Survival of gold: what of each corpus comes back of each task and response format, as tables in Markdown.

    python benchmarks/survival.py CORPORA_FOLDER > docs/results/survival.md

The named alternative is the loading rule of a well-known clinical encoder's release: words are what white space parts, a mention tags the
words that lie inside it, mentions come by their start, and a later one overwrites the tags of one before.
"""

from __future__ import annotations

import argparse
import platform
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from clinical_ie.commands.corpus_survival import DECODER, ENCODER, GoldSurvival, backbone_of
from clinical_ie.corpora import CorpusReader, LeafClinicalTrials, Maccrobat, Phee, UWSocialHistory
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.document import Document, Entity, Span
from clinical_ie.formats.findings import Findings
from clinical_ie.prompts.word_pattern import WORD
from clinical_ie.reports.gold_survival import Survival
from clinical_ie.tasks import bio
from clinical_ie.tasks.coverage import Coverage

CORPORA: dict[str, tuple[type[Corpus], str]] = {
    "UW social history": (UWSocialHistory, "uw_social_history_mtsamples"),
    "MACCROBAT": (Maccrobat, "maccrobat2020"),
    "PHEE": (Phee, "phee"),
    "Leaf Clinical Trials": (LeafClinicalTrials, "leaf_clinical_trials"),
}
PREFACE = """\
# Survival of gold

The share of gold annotations that comes back unchanged after reading, windows or segments, encoding and decoding of each task, all
outputs being the gold ones, under `strict-one-to-one`; all documents of each corpus that has annotations (MTSamples has none). *F1 of
gold outputs* is what a model gets that has learnt its examples to the letter, *best F1* what no output exceeds, however long it may be.
Rows with a format are instructions that are answered in it, as if nothing constrained the answer: grammars open no mention inside a word.
*A, then B* are links of B between the mentions that come back of A. The last row is a named alternative for mentions: the loading rule
of a well-known clinical encoder's release.

Measured {day:%Y-%m-%d} by `python benchmarks/survival.py`, {machine}, Python {python}, transformers {transformers}, tokenizers
{tokenizers}; tasks as `configs/task` sets them, tokenizers of `{minilm}` for encoders and of `{smollm2_135m}` for decoders. Nothing here
is drawn at random."""
PARTS, OVERWRITTEN = "not whole words that white space parts", "overwritten by a later mention"


def white_space_tags(document: Document, coverage: Coverage) -> Document:
    """What comes back under the alternative's rule."""
    document = document.joined()
    words = [match.span() for match in re.finditer(r"\S+", document.text)]
    starts, ends = {start for start, _ in words}, {end for _, end in words}
    tags = [bio.OUTSIDE] * len(words)
    for entity in sorted(document.entities, key=lambda entity: entity.start):
        inside = [place for place, (start, end) in enumerate(words) if entity.start <= start and end <= entity.end]
        for rank, place in enumerate(inside):
            tags[place] = f"{'I' if rank else 'B'}-{entity.type}"
        coverage.unrepresentable[PARTS] += entity.start not in starts or entity.end not in ends or entity.span.discontinuous
    found = [Entity(f"T{n}", name, Span.of(words[a][0], words[b - 1][1])) for n, (name, a, b) in enumerate(bio.decode(tags), 1)]
    return Document(document.id, document.text, tuple(found))


def alternative(documents: list[Document]) -> Survival:
    found = Survival(Coverage(of="mentions"))
    for document in documents:
        found.take(document, white_space_tags(document, found.coverage))
    found.coverage.unrepresentable[OVERWRITTEN] = found.counts.fn - found.coverage.unrepresentable[PARTS]
    return found


def begin_inside_words(documents: list[Document]) -> int:
    """Mentions that begin where grammars open none."""
    count = 0
    for document in documents:
        starts = {word.start() for word in WORD.finditer(document.text)}
        count += sum(entity.start not in starts and not document.text[entity.start].isspace() for entity in document.entities)
    return count


def lines_of(task: str, survival: Survival, *, bounded: bool = True) -> str:
    found = survival.to_dict()
    causes = "; ".join(f"{count:,} {cause}" for cause, count in sorted(found["causes"].items(), key=lambda item: -item[1]))
    best = f"{found['best_f1']:.4f}" if bounded else ""
    share, f1 = f"{found['share']:.4f}", f"{found['gold_f1']:.4f}"
    return f"| {task} | {found['gold']:,} {found['of']} | {found['returned']:,} | {share} | {f1} | {best} | {causes} |"


def tables(folder: Path) -> Iterator[str]:
    for title, (kind, name) in CORPORA.items():
        corpus = kind(str(folder / name))
        parts = CorpusReader(corpus, findings=Findings(strict=False)).read_all()
        documents = [document for part in parts.values() for document in part]
        inside = begin_inside_words(documents)
        yield f"\n## {title}\n\n{len(documents):,} documents; {inside:,} of their mentions begin inside a word.\n"
        yield "| task | gold | come back | share | F1 of gold outputs | best F1 | what does not, and why |"
        yield "|---|---:|---:|---:|---:|---:|---|"
        measured = GoldSurvival(corpus.name, corpus.schema, documents)
        for row in measured.rows(formats=True):
            yield lines_of(row.task, row.survival)
        yield lines_of("*white-space words, later mentions overwrite*", alternative(documents), bounded=False)
        for task, reason in measured.left_out.items():
            yield f"\nWithout {task}: {reason}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    options = parser.parse_args()
    names = {model: backbone_of(model).removeprefix("package:") for model in (ENCODER, DECODER)}
    versions = {name: version(name) for name in ("transformers", "tokenizers")}
    print(PREFACE.format(day=datetime.now(tz=UTC), machine=platform.machine(), python=platform.python_version(), **names, **versions))
    for line in tables(options.corpora):
        print(line, flush=True)


if __name__ == "__main__":
    main()
