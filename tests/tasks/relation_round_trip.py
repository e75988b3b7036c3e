"""What the tests of pairs of mentions share: tasks with short windows, and a note labelled with its gold labels."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from clinical_ie.document import Document
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.relation_classification import PairExample, RelationClassification
from clinical_ie.tasks.task import Source

ENCODINGS = ("shared", "pair")
DECISIONS = ("multi_class", "multi_label", "binary")
encodings = st.sampled_from(ENCODINGS)


@st.composite
def tasks(draw: st.DrawFn, **fixed: Any) -> RelationClassification:
    """Short windows, so that notes have several, and any distance."""
    options = {
        "encoding": draw(encodings),
        "decision": draw(st.sampled_from(DECISIONS[:2])),
        "sentences": draw(st.sampled_from([None, 0, 1, 2])),
        "subwords": draw(st.sampled_from([None, None, 0, 5, 20])),
        "window": draw(st.integers(12, 50)),
        "overlap": draw(st.integers(0, 20)),
    }
    return RelationClassification(**options | fixed)


def gold_outputs(examples: list[PairExample]) -> dict[str, dict[int, list[tuple[int, float, None]]]]:
    return {
        example.id: {place: [(rank, 1.0, None) for rank in ranks] for place, ranks in enumerate(example.labels) if ranks}
        for example in examples
    }


def there_and_back(task: RelationClassification, document: Document, source: Source) -> tuple[Document, Coverage, list[PairExample]]:
    coverage = Coverage()
    examples = task.examples(document, source, coverage)
    assert len({example.id for example in examples}) == len(examples)
    bare = Document(document.id, document.text, document.entities)
    return task.annotations(bare, examples, gold_outputs(examples), source.schema), coverage, examples
