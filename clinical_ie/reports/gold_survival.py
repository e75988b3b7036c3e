"""Survival of gold: what of the annotations comes back from examples and gold outputs, by cause of loss.

A document is made into examples, each is answered by its gold output, and the annotations that come of it are held against the document
under ``strict-one-to-one``. What does not come back no training can teach, so a table of scores without this number has an unknown ceiling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clinical_ie.corpora.views import keep
from clinical_ie.document import Document, Entity
from clinical_ie.scoring.counts import Counts, TypeCounts, by_type, total
from clinical_ie.scoring.strict_one_to_one import StrictOneToOne
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.task import Example, Source, SubwordEncoder, Task

ELSEWHERE = "found where the same words stand elsewhere"
MISFOUND = "found as other words, or not at all"
MENTION_LOST = "a mention of it does not come back"

_RULES = StrictOneToOne()


@dataclass(slots=True)
class Survival:
    """Gold annotations of one kind and those that come back.

    `coverage` has the reasons that the task gives, `types` the strict counts of each type, gold answers in the place of predictions.
    `elsewhere` counts annotations that came back with the same words at another place.
    """

    coverage: Coverage = field(default_factory=Coverage)
    types: TypeCounts = field(default_factory=dict)
    elsewhere: int = 0

    def take(self, gold: Document, returned: Document) -> None:
        """Count what comes back of a document."""
        counts = _RULES.count(gold, returned)
        found = {"mentions": counts.entities, "links": counts.relations, "attributes": counts.attributes}[self.of]
        self.types = by_type((self.types, found["strict"]))
        if any(one.fp for one in found["strict"].values()):
            ours, theirs = (_with_words(document.joined(), self.of) for document in (gold, returned))
            self.elsewhere += (_words_alone(ours - theirs) & _words_alone(theirs - ours)).total()

    def add(self, other: Survival) -> None:
        """Take in what came back elsewhere of other documents."""
        self.coverage.add(other.coverage)
        self.types = by_type((self.types, other.types))
        self.elsewhere += other.elsewhere

    @property
    def of(self) -> str:
        """``mentions``, ``links`` or ``attributes``."""
        return self.coverage.of

    @property
    def counts(self) -> Counts:
        """Over all types: `tp` come back, `fn` do not, `fp` come back and are not gold."""
        return total(self.types.values())

    @property
    def gold(self) -> int:
        """Annotations."""
        return self.counts.tp + self.counts.fn

    @property
    def returned(self) -> int:
        """Annotations that come back unchanged."""
        return self.counts.tp

    @property
    def share(self) -> float:
        """Of the annotations, those that come back; 1 where there are none."""
        return self.returned / self.gold if self.gold else 1.0

    @property
    def best_f1(self) -> float:
        """The strict F1 that no output exceeds, however long it may be: all that can be found, and nothing else."""
        ceiling = self.coverage.recall_ceiling
        return 2 * ceiling / (1 + ceiling)

    @property
    def causes(self) -> dict[str, int]:
        """Why annotations do not come back: the task's reasons, and what a generated answer does not say clearly enough."""
        found = Counter(self.coverage.unrepresentable)
        left = self.counts.fn - found.total()
        found[ELSEWHERE] += min(max(left, 0), self.elsewhere)
        found[MISFOUND] += left - found[ELSEWHERE]
        return {cause: count for cause, count in sorted(found.items()) if count}

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        counts = self.counts
        return {
            "of": self.of,
            "gold": self.gold,
            "returned": self.returned,
            "share": self.share,
            "spurious": counts.fp,
            "gold_f1": counts.f1 if self.gold else 1.0,
            "recall_ceiling": self.coverage.recall_ceiling,
            "best_f1": self.best_f1,
            "causes": self.causes,
            "types": {name: {"gold": one.tp + one.fn, "returned": one.tp} for name, one in self.types.items() if one.tp + one.fn},
        }


def survival(documents: Iterable[Document], task: Task[Any], source: Source) -> Survival:
    """What comes back of documents.

    Args:
        documents: With gold annotations of types that the schema declares.
        task: Makes examples, and annotations of their gold outputs.
        source: Corpus, schema and the tokenizer of a model.

    Raises:
        SettingError: The tokenizer is none for the task, or a prompt leaves no room for an answer.
    """
    found = Survival(Coverage(of=task.counted))
    for document in documents:
        found.take(document, returned(document, task, source, found.coverage))
    return found


def returned(document: Document, task: Task[Any], source: Source, coverage: Coverage) -> Document:
    """What comes back of one document; what its task has reasons for is counted."""
    return answered(document, task.examples(document, source, coverage), task, source)


def answered(document: Document, examples: Sequence[Example], task: Task[Any], source: Source) -> Document:
    """The annotations that gold outputs of a document's examples stand for."""
    outputs = gold_outputs(examples, task, source.encoder)
    known = document.entities if task.needs_mentions else ()
    return task.annotations(Document(document.id, document.text, known), examples, outputs, source.schema)


def gold_outputs(examples: Iterable[Example], task: Task[Any], encoder: SubwordEncoder) -> Mapping[str, Any]:
    """Example id -> its gold output."""
    return {example.id: task.gold_output(example, encoder) for example in examples}


def end_to_end(documents: Iterable[Document], first: Task[Any], second: Task[Any], source: Source) -> Survival:
    """What comes back of links where the mentions are those that come back from another task.

    Its ceiling is that of the second task behind gold outputs of the first.

    Args:
        documents: With gold mentions and links.
        first: Finds mentions.
        second: Links them.
        source: Corpus, schema and the tokenizer of both models.

    Raises:
        SettingError: As for `survival`.
    """
    found = Survival(Coverage(of="links"))
    for document in documents:
        left = keep(document, surviving(document, returned(document, first, source, Coverage())))
        links, relations = (
            sum(1 for _ in document.links()) - sum(1 for _ in left.links()),
            len(document.relations) - len(left.relations),
        )
        found.coverage.gold += links
        found.coverage.unrepresentable += Counter({MENTION_LOST: links})
        found.coverage.countable.update({"strict-one-to-one": links, "n2c2-2018": relations})
        found.take(document, returned(left, second, source, found.coverage))
    return found


def surviving(document: Document, back: Document) -> list[Entity]:
    """The mentions of a document that came back; of equal ones as many as there are."""
    left = Counter((entity.type, entity.span) for entity in back.joined().entities)
    found = []
    for entity, joined in zip(document.entities, document.joined().entities, strict=True):
        key = joined.type, joined.span
        if left[key]:
            left[key] -= 1
            found.append(entity)
    return found


def _with_words(document: Document, of: str) -> Counter[tuple[Any, Any]]:
    """Annotations of a kind as types and words, and places."""
    named = {entity.id: (entity.type, document.covered(entity.span)) for entity in document.entities}
    if of == "mentions":
        return Counter((named[entity.id], entity.span) for entity in document.entities)
    if of == "attributes":
        return Counter(((one.label, named[bearer.id]), bearer.span) for one, bearer in document.mention_attributes())
    return Counter(((name, named[head.id], named[tail.id]), (head.span, tail.span)) for _, name, head, tail in document.links())


def _words_alone(annotations: Counter[tuple[Any, Any]]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for (words, _), count in annotations.items():
        found[words] += count
    return found
