"""Mentions -> places in the text, beside langextract's aligner and llm-ie's span finder, each in its own interpreter.

    python benchmarks/grounding.py MACCROBAT_FOLDER --langextract PYTHON_WITH_LANGEXTRACT --llmie PYTHON_WITH_LLM_IE

MACCROBAT's notes one behind the other are the text; their contiguous gold mentions, by start and longest first, are what a perfect
model would say. They are said in text order, shuffled, and with one typing error each; many also note by note, as one would run them.
"Exact" is the share of gold types and spans that come back, whatever the order; "aligned" the share of mentions that come back at the
very place that they were taken from. Times are medians of three runs without imports (of one where it takes longer than ten seconds);
all aligners have their defaults, and are stopped after the limit.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clinical_ie.corpora import CorpusReader, Maccrobat

SEED = 13
FEW, MANY = 300, 10_000
Mention = tuple[str, str, int, int]  # type, words, start, end

_TIMED = """
import json, statistics, sys, time
pieces = json.load(sys.stdin)
seconds, places = [], []
while len(seconds) < 3 and sum(seconds) < 10:
    said = [(text, prepared(mentions)) for text, mentions in pieces]
    begun = time.perf_counter()
    found = [aligned(text, mentions) for text, mentions in said]
    seconds.append(time.perf_counter() - begun)
    places = [placed(answers) for answers in found]
print(json.dumps([statistics.median(seconds), places]))
"""
_OURS = (
    """
from clinical_ie.prompts.grounding import ground
def prepared(mentions):
    return [(kind, words) for kind, words in mentions]
def aligned(text, said):
    return ground(text, said)
def placed(found):
    return [[one.span.start, one.span.end] if one.span else None for one in found]
"""
    + _TIMED
)
_LANGEXTRACT = (
    """
from langextract.data import Extraction
from langextract.resolver import Resolver
def prepared(mentions):
    return [Extraction(extraction_class=kind, extraction_text=words) for kind, words in mentions]
def aligned(text, said):
    return list(Resolver().align(said, text, token_offset=0, char_offset=0))
def placed(found):
    return [[one.char_interval.start_pos, one.char_interval.end_pos] if one.char_interval else None for one in found]
"""
    + _TIMED
)
_LLM_IE = (
    """
from llm_ie.extractors import BasicFrameExtractor
extractor = BasicFrameExtractor(inference_engine=None, prompt_template="{{text}}")
def prepared(mentions):
    return [words for _, words in mentions]
def aligned(text, said):
    return extractor._find_entity_spans(text, said)
def placed(found):
    return found
"""
    + _TIMED
)


@dataclass(frozen=True)
class Piece:
    """A text, and what is said of it."""

    text: str
    said: tuple[Mention, ...]

    def shuffled(self, chance: random.Random) -> Piece:
        """The same in no order."""
        return replace(self, said=tuple(chance.sample(self.said, len(self.said))))

    def misspelt(self, chance: random.Random) -> Piece:
        """The same with a typing error in each mention."""
        return replace(self, said=tuple((kind, _misspelt(words, chance), start, end) for kind, words, start, end in self.said))


@dataclass(frozen=True)
class Result:
    """Seconds of all pieces, and the two shares."""

    seconds: float
    exact: float
    aligned: float


def notes(folder: str, count: int) -> list[Piece]:
    """As many notes as it takes, with their first mentions."""
    parts = CorpusReader(Maccrobat(folder)).read_all()
    found: list[Piece] = []
    for document in sorted((document for documents in parts.values() for document in documents), key=lambda document: document.id):
        if count:
            spans = [(entity.type, entity.start, entity.end) for entity in document.entities if not entity.span.discontinuous]
            spans = sorted(spans, key=lambda row: (row[1], -row[2]))[:count]
            count -= len(spans)
            said = tuple((kind, document.text[start:end], start, end) for kind, start, end in spans)
            found.append(Piece(document.text.rstrip() + "\n\n", said))
    return found


def joined(pieces: Sequence[Piece]) -> Piece:
    """All notes as one text."""
    text = ""
    said: list[Mention] = []
    for piece in pieces:
        said += [(kind, words, len(text) + start, len(text) + end) for kind, words, start, end in piece.said]
        text += piece.text
    return Piece(text, tuple(said))


def _misspelt(words: str, chance: random.Random) -> str:
    """The same words with one letter replaced, left out or put in."""
    at = chance.randrange(len(words))
    kind = chance.choice(("replace", "put in") if len(words) < 2 else ("replace", "leave out", "put in"))
    letter = chance.choice([letter for letter in string.ascii_lowercase if letter != words[at].lower()])
    if kind == "leave out":
        return words[:at] + words[at + 1 :]
    return words[:at] + letter + words[at + (kind == "replace") :]


def measure(python: str, code: str, pieces: Sequence[Piece], limit: float) -> Result | str:
    """What an aligner makes of mentions that should be found where they were taken from, or why there is no result."""
    given = json.dumps([[piece.text, [(kind, words) for kind, words, _, _ in piece.said]] for piece in pieces])
    command = [python, "-W", "ignore", "-c", code]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"over {limit:.0f}"
    if done.returncode:
        print(f"# failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}", file=sys.stderr)
        return "failed"
    seconds, places = json.loads(done.stdout.strip().splitlines()[-1])
    exact = aligned = total = 0
    for piece, answers in zip(pieces, places, strict=True):
        wanted = [(kind, start, end) for kind, _, start, end in piece.said]
        found = [(row[0], *place) if place else None for row, place in zip(wanted, answers, strict=True)]
        exact += sum((Counter(wanted) & Counter(one for one in found if one)).values())
        aligned += sum(one == other for one, other in zip(wanted, found, strict=True))
        total += len(wanted)
    return Result(seconds, exact / total, aligned / total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--langextract", help="a Python that has langextract")
    parser.add_argument("--llmie", help="a Python that has llm-ie")
    parser.add_argument("--limit", type=float, default=120, help="seconds after which a row is given up")
    options = parser.parse_args()
    aligners = {"clinical_ie": (sys.executable, _OURS)}
    if options.langextract:
        aligners["langextract"] = (options.langextract, _LANGEXTRACT)
    if options.llmie:
        aligners["llm-ie"] = (options.llmie, _LLM_IE)
    chance = random.Random(SEED)
    few, many = notes(options.folder, FEW), notes(options.folder, MANY)
    cases = {
        f"{FEW:,}, in text order": [joined(few)],
        f"{FEW:,}, shuffled": [joined(few).shuffled(chance)],
        f"{FEW:,}, one typing error each": [joined(few).misspelt(chance)],
        f"{MANY:,}, in text order": [joined(many)],
        f"{MANY:,}, shuffled": [joined(many).shuffled(chance)],
        f"{MANY:,}, in text order, note by note": many,
        f"{MANY:,}, shuffled, note by note": [piece.shuffled(chance) for piece in many],
    }
    print("| mentions | aligner | seconds | times ours | exact | aligned |\n|---|---|---|---|---|---|")
    for case, pieces in cases.items():
        ours: float | None = None
        for name, (python, code) in aligners.items():
            found = measure(python, code, pieces, options.limit)
            if isinstance(found, str):
                print(f"| {case} | {name} | {found} | | | |", flush=True)
                continue
            ours = found.seconds if ours is None else ours
            row = f"{found.seconds:.3f} | {found.seconds / ours:.1f} | {found.exact:.3f} | {found.aligned:.3f}"
            print(f"| {case} | {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
