"""Attributes of MACCROBAT's gold mentions: a trained classifier beside what needs no model, on the same test reports.

Usage: python benchmarks/attributes.py CORPUS [RUN], with the corpus' folder and a run of `-c task/attribute_classification -c model/minilm
-c experiment/maccrobat_attributes`, whose split the others have too; without a run, only what needs no model.

* majority by type: each mention gets the commonest class of its entity type in training, none included
* majority by words: the commonest class of its type and words in training, none where they were not seen
* cues before: NEG where a cue of negation stands among the six words before the mention in its sentence, after the idea of NegEx
  (Chapman et al., A simple algorithm for identifying negated findings and diseases in discharge summaries, 2001) with the short list below
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from clinical_ie.corpora import Maccrobat
from clinical_ie.corpora.hash_split import HashSplit
from clinical_ie.corpora.reading import CorpusReader
from clinical_ie.document import Attribute, Document, Entity
from clinical_ie.formats import jsonl
from clinical_ie.formats.findings import Findings
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score
from clinical_ie.scoring.strings import normalised
from clinical_ie.segmentation.sentences import sentences

CUES = {"no", "not", "without", "denied", "denies", "negative", "never", "neither", "nor", "absence", "absent", "unremarkable", "ruled"}
Said = Iterable[tuple[str, str | None]]


def labelled(document: Document, say: Callable[[Entity], Said]) -> Document:
    """The document's mentions with the attributes that a rule says of them."""
    said = [(entity, kind, value) for entity in document.entities for kind, value in say(entity)]
    attributes = tuple(Attribute(f"A{rank}", kind, entity.id, value) for rank, (entity, kind, value) in enumerate(said, 1))
    return Document(document.id, document.text, document.entities, attributes=attributes)


def majorities(documents: Iterable[Document], key: Callable[[Document, Entity], object]) -> dict[object, list[tuple[str, str | None]]]:
    """Key of a mention -> the classes that most mentions with this key have, none left out."""
    mentions: Counter[object] = Counter()
    classes: dict[object, Counter[tuple[str, str | None]]] = {}
    for document in documents:
        mentions.update(key(document, entity) for entity in document.entities)
        for attribute, bearer in document.mention_attributes():
            classes.setdefault(key(document, bearer), Counter())[attribute.type, attribute.value] += 1
    return {name: [said for said, number in counts.items() if 2 * number > mentions[name]] for name, counts in classes.items()}


def cued(document: Document) -> Callable[[Entity], Said]:
    """NEG behind a cue of negation."""
    starts = [start for start, _ in sentences(document.text)]

    def say(entity: Entity) -> Said:
        begin = max((start for start in starts if start <= entity.start), default=0)
        before = [word.strip(".,;:()") for word in document.text[begin : entity.start].lower().split()[-6:]]
        return [("POLARITY", "NEG")] if CUES & set(before) else []

    return say


def main(root: str, run: str | None = None) -> None:
    """Print a row for each way."""
    corpus, shares = Maccrobat(root), {"maccrobat": 0.2}
    reader = CorpusReader(corpus, HashSplit(test_share=shares, dev_share={"maccrobat": 0.0}), Findings())
    training, gold = ([document.joined() for document in reader.read(part)] for part in ("train", "test"))
    by_type = majorities(training, lambda _, entity: entity.type)
    by_words = majorities(training, lambda document, entity: (entity.type, normalised(document, entity)))

    def words_of(document: Document) -> Callable[[Entity], Said]:
        return lambda entity: by_words.get((entity.type, normalised(document, entity)), [])

    ways = {
        "majority by type": [labelled(document, lambda entity: by_type.get(entity.type, [])) for document in gold],
        "majority by words": [labelled(document, words_of(document)) for document in gold],
        "cues before": [labelled(document, cued(document)) for document in gold],
    }
    if run is not None:
        found = {document.id: document for document in jsonl.read(Path(run) / "predictions" / "test" / "maccrobat.jsonl", Findings())}
        ways["classifier"] = [found[document.id] for document in gold]
    print(f"{len(training)} training and {len(gold)} test reports, gold mentions, strict-one-to-one\n")
    print("| way | P | R | F1 | F1 POLARITY=NEG | F1 POLARITY=UNCERTAIN | F1 TREND |\n|---|---:|---:|---:|---:|---:|---:|")
    for name, predicted in ways.items():
        result = score(gold, predicted, rule_set("strict-one-to-one"))
        micro, types = result.micro("attributes", "strict"), result.types("attributes", "strict")
        trend = sum((counts for label, counts in types.items() if label.startswith("TREND")), type(micro)())
        shown = (micro.precision, micro.recall, micro.f1, types["POLARITY=NEG"].f1, types["POLARITY=UNCERTAIN"].f1, trend.f1)
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in shown)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
