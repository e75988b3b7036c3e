from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clinical_ie.callbacks.split_facts import SplitFacts
from clinical_ie.compressed import CompressedSequence
from clinical_ie.corpora import Corpus, Demo, HashSplit
from clinical_ie.corpora.brat_folder import BratFolder
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document
from clinical_ie.formats import brat
from clinical_ie.formats.findings import Findings
from clinical_ie.tasks import EntityInstruction, JointInstruction, RelationInstruction


def facts(split: HashSplit, *corpora: Corpus, tasks: Sequence[Any] = (JointInstruction(),), **options: Any) -> dict[str, Any]:
    data = ExtractionDataModule(list(corpora), list(tasks), "no tokenizer", split=split, **options)
    taught = data.corpora_of("train")
    data.documents["train"] = {name: CompressedSequence(data.reader.read(one, "train")) for name, one in taught.items()}
    callback = SplitFacts()
    callback.setup(SimpleNamespace(datamodule=data), None, "fit")  # type: ignore[arg-type]
    assert json.loads(json.dumps(callback.facts)) == callback.facts
    return callback.facts


@pytest.fixture
def clinic(tmp_path: Path) -> BratFolder:
    """The demo's test notes, which nothing is trained on, under a few other names."""
    notes = Demo(entity_types=["Drug", "Dosage", "Problem", "Occupation"]).read("test")
    brat.write([Document(one.id, one.text, one.entities, one.relations) for one in notes], tmp_path / "notes")
    schema = {
        "entities": [{"Drug": "A drug."}, {"Dosage": "A dosage."}, {"Problem": "A problem."}, {"Occupation": "The kind of work."}],
        "relations": [{"Dosage": {"heads": ["Dosage"], "tails": ["Drug"]}}, "Reason", "ADE"],
    }
    return BratFolder(str(tmp_path / "notes"), schema, corpus_name="clinic", rename={"Occupation": "Work", "Problem": "Finding"})


def test_shots_and_label_shift_of_a_corpus_that_is_held_out(clinic: BratFolder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = facts(HashSplit(held_out="clinic", shots=3), Demo(), clinic)
    shots = found["shots"]["clinic"]
    assert shots["documents"] == len(shots["ids"]) == 3
    notes = [document for document in Demo().read("test") if document.id in shots["ids"]]
    for kind, name in (("Drug", "Drug"), ("Finding", "Problem"), ("Work", "Occupation")):
        assert shots["mentions"][kind] == sum(entity.type == name for note in notes for entity in note.entities)
    assert shots["mentions"]["Work"] >= 1, "the rarest type"
    assert set(shots["links"]) == {"Dosage", "Reason", "ADE"}
    shift = found["label_shift"]
    assert shift["renamed"] == {"clinic": {"Occupation": "Work", "Problem": "Finding"}}
    assert shift["two_meanings"] == {}
    entities = shift["corpora"]["clinic"]["entities"]
    assert entities["labels"] == {"Drug": "name", "Dosage": "name", "Finding": "not at all", "Work": "definition"}
    assert sum(entities["shares"].values()) == pytest.approx(1)
    assert shift["corpora"]["clinic"]["links"]["labels"] == {"Dosage": "name", "Reason": "name", "ADE": "name"}
    assert f"clinic: 3 shots with {sum(shots['mentions'].values())} mentions of 4 types" in caplog.text
    assert "by definition" in caplog.text
    assert found["isolation"]["learned"] == {"demo": 80, "clinic": 3}


def test_label_shift_counts_the_documents_that_are_scored(clinic: BratFolder) -> None:
    split, gold = HashSplit(held_out="clinic"), list[int]()
    for most in (None, 2, {"clinic": 2}):
        shift = facts(split, Demo(), clinic, test_documents=most)["label_shift"]["corpora"]["clinic"]
        gold.append(sum(shift["entities"]["gold"].values()))
    scored = ExtractionDataModule([Demo(), clinic], [JointInstruction()], "no tokenizer", split=split, test_documents=2)
    documents = list(scored.reader.read(clinic, "test", scored.most("clinic", "test")))
    assert len(documents) == 2
    assert gold[1] == gold[2] == sum(len(document.entities) for document in documents) < gold[0]


def test_what_no_training_document_holds_was_not_seen(clinic: BratFolder) -> None:
    less = Demo(entity_types=["Drug", "Dosage", "Route"])
    load = less.load

    def without_dosages(path: Path, findings: Findings) -> Any:
        for document in load(path, findings):
            yield Document(document.id, document.text, tuple(entity for entity in document.entities if entity.type != "Dosage"))

    less.load = without_dosages  # type: ignore[method-assign]
    shift = facts(HashSplit(held_out="clinic"), less, clinic)["label_shift"]["corpora"]["clinic"]
    assert shift["entities"]["labels"] == {"Drug": "name", "Dosage": "not at all", "Finding": "not at all", "Work": "not at all"}
    assert set(shift["links"]["labels"].values()) == {"not at all"}


def test_a_run_of_one_corpus_has_isolation_only() -> None:
    assert set(facts(HashSplit(), Demo())) == {"isolation"}


def test_names_with_two_meanings_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Social(BratFolder):
        meanings = {"Drug": "DrugUse"}  # noqa: RUF012

    brat.write([Document(f"n{number}", f"Nothing is taken by {number}.") for number in range(8)], tmp_path)
    schema = {"entities": ["Drug", "Tobacco"]}
    found = facts(HashSplit(), Demo(), Social(str(tmp_path), schema, corpus_name="social"))
    assert found["label_shift"]["two_meanings"] == {"drug": {"demo": "Drug", "social": "DrugUse"}}
    assert "the corpora call different things 'drug' (Drug in demo, DrugUse in social)" in caplog.text
    caplog.clear()
    found = facts(HashSplit(), Demo(), Social(str(tmp_path), schema, corpus_name="social", rename={"Drug": "DrugUse"}))
    assert found["label_shift"]["two_meanings"] == {}
    assert found["label_shift"]["renamed"] == {"social": {"Drug": "DrugUse"}}
    assert "different things" not in caplog.text


def test_of_a_task_that_is_held_out_the_links_are_new_and_the_mentions_are_not(clinic: BratFolder) -> None:
    tasks = (EntityInstruction(), RelationInstruction())
    shift = facts(HashSplit(held_out="relation_instruction"), Demo(), clinic, tasks=tasks)["label_shift"]["corpora"]
    assert set(shift) == {"demo", "clinic"}
    assert set(shift["clinic"]) == {"links"}
    assert set(shift["clinic"]["links"]["labels"].values()) == {"not at all"}
    shift = facts(HashSplit(held_out="clinic/relation_instruction"), Demo(), clinic, tasks=tasks)["label_shift"]["corpora"]
    assert shift.keys() == {"clinic"}
    assert shift["clinic"]["links"]["labels"] == {"Dosage": "name", "Reason": "name", "ADE": "name"}


def test_a_corpus_whose_tasks_are_all_held_out_is_not_learned_from(clinic: BratFolder) -> None:
    found = facts(HashSplit(held_out=["clinic/joint_instruction"]), Demo(), clinic)
    assert found["isolation"]["learned"] == {"demo": 80}
    assert set(found["label_shift"]["corpora"]["clinic"]) == {"entities", "links"}
