from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.corpora import BratFolder, Demo, HashSplit
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.mixing import Mixing
from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import FileFormatError, InputError, SettingError
from clinical_ie.formats import jsonl
from clinical_ie.scoring.strings import digests
from clinical_ie.tasks.entity_tagging import EntityTagging

SCHEMA = {"entities": ["Drug"]}


def corpus(folder: Path, *, broken: bool) -> BratFolder:
    for rank in range(5):
        (folder / f"{rank}.txt").write_text("gave aspirin or heparin", encoding="utf-8")
        lines = ["T1\tDrug 5 12\taspirin", "T2\tDrug 5 12;16 23\taspirin heparin"]
        if broken:
            lines.append("T3\tDrug nowhere\taspirin")
        (folder / f"{rank}.ann").write_text("\n".join(lines), encoding="utf-8")
    return BratFolder(str(folder), SCHEMA)


def test_what_was_read_and_lost_is_said(tiny_bert: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = ExtractionDataModule([corpus(tmp_path, broken=True)], [EntityTagging()], tiny_bert, lenient=True)
    with caplog.at_level(logging.INFO, logger="clinical_ie"):
        data.setup("fit")
    said = caplog.text
    assert "6 mentions, 3 of them cannot be expressed (3 discontinuous)" in said
    assert "5 x malformed-record while reading" in said
    assert "aspirin" not in said


def test_broken_files_stop_a_run(tiny_bert: str, tmp_path: Path) -> None:
    data = ExtractionDataModule([corpus(tmp_path, broken=True)], [EntityTagging()], tiny_bert)
    with pytest.raises(FileFormatError, match=r"0\.ann:3: not a mention; expected"):
        data.setup("fit")


def test_strings_of_training_are_known_before_and_after_training_and_to_a_test_alone(
    tiny_bert: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = []
    for stages in (["fit", "test"], ["test"]):
        (tmp_path / "notes").mkdir(exist_ok=True)
        data = ExtractionDataModule([corpus(tmp_path / "notes", broken=False)], [EntityTagging()], tiny_bert)
        for stage in stages:
            data.setup(stage)
        found.append(data.seen_strings.found)
    note = Document("a", "Aspirin heparin", (Entity("T1", "X", Span.of(0, 7)), Entity("T2", "X", Span.of(0, 15))))
    assert found == [digests([note])] * 2
    gone = ExtractionDataModule([BratFolder(str(tmp_path / "gone"), SCHEMA)], [EntityTagging()], tiny_bert)
    assert gone.seen_strings.found is None
    assert "recall of strings seen in training is not told" in caplog.text


def test_without_texts_there_is_nothing_to_predict_on(tiny_bert: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    data = ExtractionDataModule([corpus(tmp_path, broken=False)], [EntityTagging()], tiny_bert, texts=str(tmp_path / "empty"))
    with pytest.raises(SettingError, match=r"no \.txt file"):
        data.setup("predict")


def test_tags_are_as_wide_as_units_whichever_corpus_is_longest(tiny_bert: str) -> None:
    from clinical_ie.corpora import Demo
    from clinical_ie.data.collation import TaggingCollator
    from clinical_ie.data.tokenization import Subwords
    from clinical_ie.document import Document
    from clinical_ie.schema import Schema
    from clinical_ie.tasks.task import Source

    schemas = {"demo": Demo().schema, "other": Schema.from_dict(SCHEMA)}
    encoder = Subwords(tiny_bert)
    texts = {"demo": "aspirin", "other": "gave aspirin or heparin to him"}
    examples = [EntityTagging().examples(Document("d", text), Source(name, schemas[name], encoder))[0] for name, text in texts.items()]
    batch = TaggingCollator(encoder.pad_id, schemas)(examples)
    assert {tuple(tags.shape) for tags in batch["tags"].values()} == {tuple(batch["unit_mask"].shape)}


def test_texts_to_predict_on_may_be_one_file_and_lie_behind_links(tiny_bert: str, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "store" / "a.txt").write_text("gave aspirin")
    (tmp_path / "texts" / "B.TXT").write_text("gave heparin")
    (tmp_path / "texts" / "._B.txt").write_bytes(b"\0\5\x16\7\xff")
    (tmp_path / "texts" / "linked").symlink_to("../store")
    notes = corpus(tmp_path / "corpus", broken=False)
    for given, ids in (("texts", ["B", "linked/a"]), ("texts/B.TXT", ["B"])):
        data = ExtractionDataModule([notes], [EntityTagging()], tiny_bert, texts=str(tmp_path / given))
        data.setup("predict")
        assert [document.id for document in data.documents["predict"]["brat_folder"]] == ids
    assert data.findings.counts() == {}
    data = ExtractionDataModule([notes], [EntityTagging()], tiny_bert, texts=str(tmp_path / "missing"))
    with pytest.raises(SettingError, match="no such file or folder"):
        data.setup("predict")


def linking(folder: Path, tiny_bert: str) -> ExtractionDataModule:
    """What links the mentions of a folder in five notes."""
    from clinical_ie.tasks.relation_classification import RelationClassification

    notes = folder / "notes"
    notes.mkdir(parents=True)
    for rank in range(5):
        (notes / f"{rank}.txt").write_text("gave aspirin\nor heparin", encoding="utf-8")
    schema = {"entities": ["Drug"], "relations": [{"name": "With", "heads": ["Drug"], "tails": ["Drug"]}]}
    corpora = [BratFolder(str(notes), schema, corpus_name="ward")]
    return ExtractionDataModule(corpora, [RelationClassification()], tiny_bert, texts=str(notes), mentions=str(folder / "mentions"))


def mentions(folder: Path, text: str, count: int) -> None:
    found = [Document(str(rank), text, (Entity("T1", "Drug", Span.of(len(text) - 7, len(text))),)) for rank in range(count)]
    jsonl.write(found, folder / "mentions" / "ward.jsonl")


def test_mentions_of_a_copy_with_other_line_ends_are_moved(tiny_bert: str, tmp_path: Path) -> None:
    data = linking(tmp_path, tiny_bert)
    mentions(tmp_path, "gave aspirin\r\nor heparin", 5)
    data.setup("predict")
    assert {document.entities[0].span for document in data.inputs["predict"]["ward", "relation_classification"]} == {Span.of(16, 23)}
    assert data.findings.counts()["other-line-ends"] == 5
    assert not data.make_examples("predict"), "one mention makes no pair, and that is no error"
    assert list(data.predict_dataloader()) == []


def test_mentions_of_more_documents_are_counted(tiny_bert: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = linking(tmp_path, tiny_bert)
    mentions(tmp_path, "gave aspirin\nor heparin", 7)
    with caplog.at_level(logging.INFO, logger="clinical_ie"):
        data.setup("predict")
    assert "ward, mentions of 2 other documents are not used" in caplog.text


@pytest.mark.parametrize(
    ("text", "count", "said"),
    [
        ("gave aspirin\nor heparin", 3, r"no mentions of 2 of 5 documents of corpus ward \(first: 3\)"),
        ("gave xspirin\nor heparin", 5, r"document 0: its text differs .*, first at offset 5"),
        ("", 0, "no such folder"),
    ],
)
def test_mentions_that_do_not_fit(text: str, count: int, said: str, tiny_bert: str, tmp_path: Path) -> None:
    data = linking(tmp_path, tiny_bert)
    if count:
        mentions(tmp_path, text, count)
    with pytest.raises(InputError, match=said) as stopped:
        data.setup("predict")
    assert "aspirin" not in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_a_task_that_only_links_leaves_out_a_corpus_without_relations(
    tiny_bert: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The mix of a study: one of its corpora has mentions alone. It was refused as a whole."""
    from clinical_ie.corpora import Demo
    from clinical_ie.tasks import JointInstruction, RelationClassification, RelationReading

    def mix(task: Any, *corpora: Any) -> ExtractionDataModule:
        return ExtractionDataModule(list(corpora), [task], tiny_bert)

    notes = corpus(tmp_path, broken=False)
    data = mix(RelationClassification(), Demo(), notes)
    assert list(data.corpora) == list(data.schemas) == ["demo"]
    assert data.corpora_left_out == ["brat_folder"]
    assert data.sources_left_out == {("brat_folder", "relation_classification"): "its schema declares no relations"}
    data.data_log.left_out(data.sources_left_out, data.corpora_left_out)
    assert "brat_folder is left out of this run: its schema declares no relations" in caplog.text
    data.split.check(data.corpora, data.corpora_left_out)
    for task in (EntityTagging(), JointInstruction("lines")):
        assert list(mix(task, Demo(), notes).corpora) == ["demo", "brat_folder"], "mentions are part of what it finds"
    with pytest.raises(
        SettingError, match=r"RelationReading links mentions, but the schema of no corpus declares relations \(brat_folder\)"
    ):
        mix(RelationReading(), notes)
    # a head of no tags would be trained on nothing
    nothing = Demo(entity_types=[])
    assert mix(EntityTagging(), nothing, notes).sources_left_out == {("demo", "entity_tagging"): "its schema declares no entities"}
    with pytest.raises(SettingError, match=r"EntityTagging finds mentions, but .* declares entities \(demo\); give one that does$"):
        mix(EntityTagging(), nothing)


def test_no_documents_names_split_and_corpus(tiny_bert: str, tmp_path: Path) -> None:
    from clinical_ie.corpora import Demo

    jsonl.write([Document("one", "gave aspirin")], tmp_path / "train.jsonl")
    for split in ("dev", "test"):
        (tmp_path / f"{split}.jsonl").touch()
    data = ExtractionDataModule([Demo(str(tmp_path))], [EntityTagging()], tiny_bert)
    data.setup("fit")
    assert data.val_dataloader() == []
    with pytest.raises(SettingError, match="test: no documents in the test split of demo"):
        data.setup("test")


def test_declared_names_are_those_of_models_and_documents() -> None:
    from clinical_ie.corpora import UWSocialHistory

    usual, distinct = (
        ExtractionDataModule([UWSocialHistory("nowhere")], [EntityTagging()], "none", distinct_names=chosen) for chosen in (False, True)
    )
    names = [{kind["name"] for kind in data.schemas["uw_social_history"]["entities"]} for data in (usual, distinct)]
    assert names[0] - names[1] == set(UWSocialHistory.meanings)
    assert names[1] - names[0] == set(UWSocialHistory.meanings.values())


@pytest.mark.parametrize(
    ("held_out", "taught"),
    [
        ("relation_instruction", {"demo/entity_instruction", "own/entity_instruction"}),
        ("demo/entity_instruction", {"demo/relation_instruction", "own/entity_instruction", "own/relation_instruction"}),
        (["own", "relation_instruction"], {"demo/entity_instruction"}),
    ],
)
def test_what_is_held_out_is_tested_only(held_out: list[str] | str, taught: set[str], tiny_llama: str, tmp_path: Path) -> None:
    from clinical_ie.corpora import Demo, HashSplit
    from clinical_ie.formats import brat
    from clinical_ie.tasks import EntityInstruction, RelationInstruction

    notes = [Document(f"own{note.id}", f"{note.id} {note.text}") for note in Demo().read("dev")]
    brat.write(notes, tmp_path)
    own = BratFolder(str(tmp_path), {"entities": ["Drug"], "relations": ["With"]}, corpus_name="own")
    data = ExtractionDataModule([Demo(), own], [EntityInstruction(), RelationInstruction()], tiny_llama, split=HashSplit(held_out=held_out))
    data.split.check(data.corpora, data.corpora_left_out, data.tasks)
    data.setup("fit")
    assert {str(source) for source in data.inputs["train"]} == taught
    assert {str(source) for source in data.inputs["dev"]} == taught
    assert {str(source) for source in data.examples["train"].sources} <= taught
    data.setup("test")
    assert {str(source) for source in data.inputs["test"]} == {
        f"{corpus}/{task}" for corpus in ("demo", "own") for task in ("entity_instruction", "relation_instruction")
    }
    if "own" in held_out:
        assert not data.reader.ids("own")["train"]


def test_shots_are_counted_by_the_split_alone(tmp_path: Path) -> None:
    """A cap behind them would choose other shots, which are not among those of more."""
    options: dict[str, Any] = {"split": HashSplit(held_out="demo", shots=5), "mixing": Mixing(most_documents={"demo": 2})}
    with pytest.raises(SettingError, match=r"most_documents names demo, which is held out; .* is data\.split\.shots"):
        ExtractionDataModule([Demo()], [EntityTagging()], "no tokenizer", **options)
