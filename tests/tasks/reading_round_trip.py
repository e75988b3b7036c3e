"""What the tests of reading share: settings with short windows, and a note read with its gold answers."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from clinical_ie.document import Document, Entity, Span
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.reading_comprehension import EntityReading, RelationReading
from clinical_ie.tasks.reading_inputs import ReadingExample
from clinical_ie.tasks.task import Source

ENCODINGS = ("packed", "single")
encodings = st.sampled_from(ENCODINGS)
ENTITIES = (
    Entity("T1", "Trigger", Span.of(0, 2)),
    Entity("T2", "Thing", Span.of(3, 9)),
    Entity("T3", "Place", Span.of(3, 9)),
    Entity("T4", "Thing", Span.of(3, 6)),
    Entity("T5", "Thing", Span.of(7, 9)),
    Entity("T6", "Thing", Span(((0, 2), (3, 9)))),
)


@st.composite
def options(draw: st.DrawFn, **fixed: Any) -> dict[str, Any]:
    """Short windows, so that notes have several; room for the longest query."""
    encoding = draw(encodings)
    drawn = {
        "encoding": encoding,
        "window": draw(st.integers(12, 40) if encoding == "packed" else st.integers(50, 70)),
        "overlap": draw(st.integers(0, 16)),
        "queries_per_input": draw(st.sampled_from([1, 2, 5, 128])),
        "definitions": draw(st.booleans()),
    }
    return drawn | fixed


def gold_outputs(examples: list[ReadingExample]) -> dict[str, list[tuple[int, int, int, float, None]]]:
    return {
        example.id: [(query, first, last, 1.0, None) for query, spans in enumerate(example.spans) for first, last in spans]
        for example in examples
    }


def there_and_back(
    task: EntityReading | RelationReading, document: Document, source: Source
) -> tuple[Document, Coverage, list[ReadingExample]]:
    coverage = Coverage()
    examples = task.examples(document, source, coverage)
    assert len({example.id for example in examples}) == len(examples)
    known = document.entities if task.needs_mentions else ()
    predicted = task.annotations(Document(document.id, document.text, known), examples, gold_outputs(examples), source.schema)
    return predicted, coverage, examples
