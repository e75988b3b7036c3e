from __future__ import annotations

from pathlib import Path

from clinical_ie.corpora import BratFolder, HashSplit
from clinical_ie.data.documents import DocumentReader
from clinical_ie.formats.findings import Findings
from clinical_ie.tasks import EntityTagging


def dev(folder: Path, most: int | None, split: HashSplit | None = None) -> list[str]:
    corpus = BratFolder(str(folder), {"entities": ["Drug"]})
    split = HashSplit(dev_share=0.3) if split is None else split
    reader = DocumentReader([corpus], split, [EntityTagging()], Findings(), texts=None, mentions=None)
    return [document.id for document in reader.read(corpus, "dev", most)]


def capped(folder: Path, most: int) -> tuple[list[str], dict[str, list[str]]]:
    """The training documents that are left, and what each document is for."""
    corpus = BratFolder(str(folder), {"entities": ["Drug"]})
    most_documents = {corpus.name: most, "another": 1}
    reader = DocumentReader([corpus], HashSplit(), [EntityTagging()], Findings(), texts=None, mentions=None, most_documents=most_documents)
    return [document.id for document in reader.read(corpus, "train")], {str(role): ids for role, ids in reader.ids(corpus.name).items()}


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.txt").write_text("Takes aspirin.")
        (folder / f"{name}.ann").write_text("")


def test_fewer_development_documents_are_always_the_same(tmp_path: Path) -> None:
    """They were drawn by their places in the list and the seed of the training: one more note gave others."""
    write(tmp_path, *(f"n{number:02d}" for number in range(60)))
    every, few = dev(tmp_path, None), dev(tmp_path, 6)
    assert len(few) == 6 < len(every)
    assert few == [name for name in every if name in few]
    assert set(dev(tmp_path, 3)) < set(few)
    write(tmp_path, *(f"a{number}" for number in range(10)))
    added = {name for name in dev(tmp_path, 6) if name[0] == "a"}
    assert len(set(few) - set(dev(tmp_path, 6))) == len(added)
    assert dev(tmp_path, 6, HashSplit(dev_share=0.3, seed=5)) != dev(tmp_path, 6)


def test_fewer_training_documents_are_among_more_and_the_rest_is_for_nothing(tmp_path: Path) -> None:
    write(tmp_path, *(f"n{number:02d}" for number in range(60)))
    every, roles = capped(tmp_path, 1000)
    few, few_roles = capped(tmp_path, 8)
    assert len(few) == 8 == len(few_roles["train"])
    assert set(capped(tmp_path, 3)[0]) < set(few) < set(every)
    assert sorted([*few, *few_roles["held-out"]]) == sorted(every)
    assert (few_roles["dev"], few_roles["test"]) == (roles["dev"], roles["test"])
