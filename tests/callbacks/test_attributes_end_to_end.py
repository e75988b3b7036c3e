"""Attributes of mentions that another model found: its links stay beside them, gold ones never come along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clinical_ie.callbacks.outputs import OutputCollector
from clinical_ie.corpora import Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.streaming import DocumentChunk
from clinical_ie.formats import jsonl
from clinical_ie.formats.findings import Findings
from clinical_ie.tasks import AttributeClassification, RelationClassification


@pytest.mark.parametrize("end_to_end", [False, True])
def test_links_that_came_with_the_mentions_stay(end_to_end: bool, tiny_bert: str, tmp_path: Path) -> None:
    demo = Demo()
    linked = [document for path in demo.folders()["test"] for document in demo.load(path, Findings())]
    jsonl.write(linked, tmp_path / "demo.jsonl")
    mentions = str(tmp_path) if end_to_end else None
    data = ExtractionDataModule([demo], [AttributeClassification()], tiny_bert, mentions=mentions)  # type: ignore[list-item]
    data.setup("test")
    collector = OutputCollector(data, "test")
    stream = data.stream("test")
    made = [(key, stream.examples(key, collector.coverage[key.source])) for key in stream.mine]
    chunk = DocumentChunk()
    chunk.documents.extend(made)
    collector.expect(chunk)
    collector.take({example.id: {} for _, examples in made for example in examples})  # a model that says nothing
    decoded: dict[str, Any] = {document.id: document for _, document, _ in collector.decoded}
    assert set(decoded) == {document.id for document in linked}
    for document in linked:
        kept = document if end_to_end else None
        assert decoded[document.id].relations == (kept.relations if kept else ())
        assert decoded[document.id].events == (kept.events if kept else ())
        assert decoded[document.id].attributes == (kept.attributes if kept else ())


def test_a_task_that_links_starts_from_mentions_alone(tiny_bert: str, tmp_path: Path) -> None:
    demo = Demo()
    jsonl.write([one for path in demo.folders()["test"] for one in demo.load(path, Findings())], tmp_path / "demo.jsonl")
    data = ExtractionDataModule([demo], [RelationClassification()], tiny_bert, mentions=str(tmp_path))  # type: ignore[list-item]
    data.setup("test")
    inputs = [document for documents in data.inputs["test"].values() for document in documents]
    assert inputs
    assert not any(document.relations or document.events or document.attributes for document in inputs)
