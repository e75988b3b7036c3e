"""Demonstrations out of shots in a whole data module: of the k documents only, in training and in tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.corpora import BratFolder, Demo, HashSplit
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document, Entity, Span
from clinical_ie.formats import brat
from clinical_ie.tasks import EntityInstruction
from clinical_ie.tasks.shot_demonstrations import ShotDemonstrations


@pytest.fixture
def ward(tmp_path: Path) -> BratFolder:
    """Short notes, each of which is known by a number in it."""
    notes = [f"patient{number} takes aspirin{number} for pain{number}" for number in range(20)]
    found = [
        Document(f"n{number}", text, (Entity("T1", "Drug", Span.of(text.index("aspirin"), text.index(" for"))),))
        for number, text in enumerate(notes)
    ]
    brat.write(found, tmp_path / "notes")
    return BratFolder(str(tmp_path / "notes"), {"entities": ["Drug"]}, corpus_name="ward")


@pytest.mark.parametrize("stages", [("fit", "test"), ("test",), ("predict",)])
@pytest.mark.parametrize("by", ["similarity", "random"])
def test_only_shots_stand_in_prompts_of_the_corpus_that_is_held_out(
    stages: tuple[str, ...], by: str, ward: BratFolder, tiny_llama: str
) -> None:
    task = EntityInstruction(shot_demonstrations=ShotDemonstrations(2, by))  # type: ignore[arg-type]
    data = ExtractionDataModule([Demo(), ward], [task], tiny_llama, split=HashSplit(held_out="ward", shots=3))
    for stage in stages:
        data.setup(stage)
    shots = set(data.reader.ids("ward")["train"])
    assert len(shots) == 3
    examples = list(data.examples["train"]) if "fit" in stages else []
    last = "predict" if "predict" in stages else "test"
    for corpus, documents in data.documents[last].items():  # type: ignore[index]
        examples += [example for document in list(documents)[:5] for example in task.examples(document, data._source(corpus))]
    decoded = {example.id: (example, data.encoder.decode(list(example.prefix_ids))) for example in examples}
    assert {example.corpus for example, _ in decoded.values()} == {"demo", "ward"}
    for example, prefix in decoded.values():
        shown = {f"n{number}" for number in range(20) if f"patient{number} takes" in prefix}
        if example.corpus == "demo":
            assert not shown
        else:
            assert shown <= shots - {example.document_id}
            assert len(shown) == 2
    if by == "random" and "fit" not in stages:
        assert len({example.prefix_ids for example, _ in decoded.values() if example.corpus == "ward"}) == 1
