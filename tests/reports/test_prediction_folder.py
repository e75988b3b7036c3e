"""Answers as files: whole or not there, and never in place of other annotations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import FileFormatError, InputError, SettingError
from clinical_ie.formats import brat, jsonl
from clinical_ie.reports import prediction_folder
from clinical_ie.reports.gold_beside import read_seen
from clinical_ie.reports.prediction_folder import EARLIER, PredictionFolder, Written, set_all_aside
from clinical_ie.scoring.strings import digests

WARD_A = [Document("a", "gave aspirin", (Entity("T1", "Drug", Span.of(5, 12)),)), Document("b", "")]
WARD_B = [Document("a", "gave heparin")]


def write(
    target: PredictionFolder, predicted: dict[str, list[Document]], gold: dict[str, list[Document]] | None = None, *, title: str
) -> list[Written]:
    """One process, from the first document to the answer."""
    target.set_aside()
    part = target.part()
    for corpus, documents in predicted.items():
        for place, document in enumerate(documents):
            part.add(corpus, place, document)
    return target.finish([part.close()], gold, title=title)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written(tmp_path: Path) -> None:
    (written,) = write(PredictionFolder(tmp_path / "out", ["ward"]), {"ward": WARD_A}, title="predict")
    assert files(tmp_path / "out") == {"ward.jsonl", "ward.html", "ward/a.txt", "ward/a.ann", "ward/b.txt", "ward/b.ann"}
    assert jsonl.read(tmp_path / "out" / "ward.jsonl") == WARD_A
    assert (written.folder, written.documents, written.mentions, written.links) == (tmp_path / "out" / "ward", 2, 1, 0)


def test_a_corpus_without_documents_has_empty_files(tmp_path: Path) -> None:
    write(PredictionFolder(tmp_path, ["ward"]), {"ward": []}, {"ward": []}, title="test")
    assert (tmp_path / "ward").is_dir()
    assert jsonl.read(tmp_path / "ward.jsonl") == []
    assert files(tmp_path) == {"ward.jsonl", "ward.html", "ward.gold.jsonl"}


def test_gold_lies_beside_what_is_compared_with_it(tmp_path: Path) -> None:
    """In the order of the predictions, with the mentions whose strings training has seen; both go when the answer goes."""
    target = PredictionFolder(tmp_path, ["ward"])
    target.set_aside()
    part = target.part()
    for place in (1, 0):  # they come in any order
        part.add("ward", place, Document(WARD_A[place].id, WARD_A[place].text))
    target.finish(
        [part.close()], {"ward": WARD_A}, title="test", trained=digests([Document("x", "Aspirin", (Entity("T1", "X", Span.of(0, 7)),))])
    )
    assert [document.id for document in jsonl.read(tmp_path / "ward.jsonl")] == ["a", "b"]
    assert jsonl.read(tmp_path / "ward.gold.jsonl") == WARD_A
    assert read_seen(tmp_path / "ward.seen.json") == {"a": ["T1"], "b": []}
    set_all_aside(tmp_path)
    assert not {"ward.gold.jsonl", "ward.seen.json"} & {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("text", ["[]", '{"a": 1}', "no JSON"])
def test_a_file_of_seen_mentions_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "ward.seen.json").write_text(text)
    with pytest.raises(FileFormatError, match="test the run again"):
        read_seen(tmp_path / "ward.seen.json")


def test_corpora_in_sub_folders_and_names_that_lead_out(tmp_path: Path) -> None:
    write(PredictionFolder(tmp_path, ["ward/2024"]), {"ward/2024": WARD_B}, title="test")
    assert files(tmp_path) == {"ward/2024.jsonl", "ward/2024.html", "ward/2024/a.txt", "ward/2024/a.ann"}
    with pytest.raises(InputError):
        PredictionFolder(tmp_path, ["../up"])


def test_the_same_texts_may_be_annotated_again(tmp_path: Path) -> None:
    target = PredictionFolder(tmp_path, ["ward"])
    write(target, {"ward": WARD_A}, title="predict")
    again = [Document(document.id, document.text) for document in WARD_A]
    target.refuse_others({"ward": again})
    write(target, {"ward": again}, title="predict")
    assert jsonl.read(tmp_path / "ward.jsonl") == again
    assert not (tmp_path / EARLIER).exists()


def test_other_texts_are_never_replaced(tmp_path: Path) -> None:
    target = PredictionFolder(tmp_path, ["ward"])
    write(target, {"ward": WARD_A}, title="predict")
    with pytest.raises(SettingError, match=r"ward: annotations of other texts are there; give another folder with --output"):
        target.refuse_others({"ward": WARD_B})
    target.set_aside()  # a second answer to the first question, which then fails
    with pytest.raises(SettingError, match="other texts"):
        target.refuse_others({"ward": WARD_B})
    assert jsonl.read(tmp_path / EARLIER / "ward.jsonl") == WARD_A


def test_corrections_by_hand_are_never_replaced(tmp_path: Path) -> None:
    target = PredictionFolder(tmp_path, ["ward"])
    write(target, {"ward": WARD_A}, title="predict")
    (tmp_path / "ward" / "a.ann").write_text("", encoding="utf-8")
    with pytest.raises(SettingError, match="changed since they were written"):
        target.refuse_others({"ward": WARD_A})


@pytest.mark.parametrize("name", ["ward/mine.txt", "ward.jsonl", "ward.html", "ward"])
def test_what_no_prediction_wrote_is_never_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(SettingError, match="which no prediction wrote"):
        PredictionFolder(tmp_path, ["ward"]).refuse_others({"ward": WARD_A})
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


def test_what_lies_beside_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine", encoding="utf-8")
    target = PredictionFolder(tmp_path, ["ward"])
    for _ in range(2):
        target.refuse_others({"ward": WARD_A})
        write(target, {"ward": WARD_A}, title="predict")
    assert (tmp_path / "other" / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_a_failure_leaves_no_answer_that_looks_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = PredictionFolder(tmp_path, ["ward"])
    write(target, {"ward": WARD_A}, title="predict")
    monkeypatch.setattr(prediction_folder, "NotePage", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(target, {"ward": [Document("a", "gave aspirin"), Document("b", "")]}, title="predict")
    assert {path.name for path in tmp_path.iterdir()} == {EARLIER}, "neither old nor new under the names of an answer"
    assert jsonl.read(tmp_path / EARLIER / "ward.jsonl") == WARD_A, "and nothing lost"
    target.set_aside()
    assert jsonl.read(tmp_path / EARLIER / "ward.jsonl") == WARD_A, "also by the next attempt"


def test_all_answers_of_a_folder_can_be_set_aside(tmp_path: Path) -> None:
    write(PredictionFolder(tmp_path, ["one", "two"]), {"one": WARD_A, "two": WARD_B}, title="predict")
    set_all_aside(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {EARLIER}
    assert brat.read(tmp_path / EARLIER / "two") == WARD_B


def test_a_folder_that_cannot_be_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(json.dumps({}), encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written to"):
        PredictionFolder(tmp_path / "file" / "out", ["ward"]).set_aside()


def test_processes_write_in_any_order_what_one_writes_in_order(tmp_path: Path) -> None:
    documents = [
        Document(f"n{place}", "x" * place, (Entity("T1", f"Type{place % 3}", Span.of(0, 1)),) if place else ()) for place in range(9)
    ]
    one, many = PredictionFolder(tmp_path / "one", ["ward"]), PredictionFolder(tmp_path / "many", ["ward"])
    alone = write(one, {"ward": documents}, {"ward": documents}, title="test")
    many.set_aside()
    parts = [many.part(rank) for rank in range(3)]  # of which the last has nothing to do
    for place in (7, 2, 4, 0, 8, 5, 1, 3, 6):
        parts[place % 2].add("ward", place, documents[place])
    together = many.finish([part.close() for part in parts], {"ward": documents}, title="test")
    assert files(tmp_path / "one") == files(tmp_path / "many")
    for name in files(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()
    assert [(row.documents, row.mentions, row.links) for row in alone + together] == [(9, 8, 0)] * 2


def test_documents_are_there_as_they_come_but_not_under_the_names_of_an_answer(tmp_path: Path) -> None:
    target = PredictionFolder(tmp_path, ["ward"])
    target.set_aside()
    part = target.part()
    part.add("ward", 1, WARD_A[0])
    part.close()  # as the system does it where a process is killed
    assert {path.name for path in tmp_path.rglob("a.*")} == {"a.ann", "a.txt"}
    assert not {"ward", "ward.jsonl", "ward.html"} & {path.name for path in tmp_path.iterdir()}
    PredictionFolder(tmp_path, ["ward"]).refuse_others({"ward": WARD_B})
    write(target, {"ward": WARD_B}, title="predict")
    assert files(tmp_path) == {"ward.jsonl", "ward.html", "ward/a.txt", "ward/a.ann"}
    assert jsonl.read(tmp_path / "ward.jsonl") == WARD_B


def test_a_folder_that_not_all_processes_see(tmp_path: Path) -> None:
    target = PredictionFolder(tmp_path, ["ward"])
    target.set_aside()
    elsewhere = PredictionFolder(tmp_path / "of another machine", ["ward"])
    elsewhere.set_aside()
    with pytest.raises(InputError, match="what another process wrote is not there; give a folder that all processes see"):
        target.finish([target.part(0).close(), elsewhere.part(1).close()], title="predict")
