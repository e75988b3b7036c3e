"""What every corpus can say of itself, and how it is split."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Literal, cast

from clinical_ie.corpora.views import View
from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError
from clinical_ie.files import read_text
from clinical_ie.formats import brat
from clinical_ie.formats.findings import Findings
from clinical_ie.schema import EntityType, Schema

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


class Corpus(ABC):
    """Annotated documents with their schema and their split.

    Subclasses declare the class variables and say in `folders` and `load` what lies where.

    Args:
        root: The folder (or its parent, where that holds a folder ``data``) as its owners ship it.
        entity_types: Only these types; everything that refers to others goes too.
        flat: Only mentions that do not overlap: earliest start first, then longest, in one layer.
        dev_share: Share of documents held out for development where the corpus names none.
        test_share: Likewise for testing.
        split_seed: Seed of the held-out choice.
    """

    name: ClassVar[str]
    declared: ClassVar[Schema]
    licence: ClassVar[str]
    citation: ClassVar[str]
    dev_share: ClassVar[float] = 0.1
    test_share: ClassVar[float] = 0.2

    def __init__(
        self,
        root: str,
        *,
        entity_types: list[str] | None = None,
        flat: bool = False,
        dev_share: float | None = None,
        test_share: float | None = None,
        split_seed: int = 13,
    ) -> None:
        self._given_root = root
        self.view = View(self.base_schema(), entity_types, flat=flat)
        self.shares = (
            self.dev_share if dev_share is None else dev_share,
            self.test_share if test_share is None else test_share,
        )
        if min(self.shares) < 0 or sum(self.shares) >= 1:
            raise SettingError(f"{self.name}: dev_share and test_share are {self.shares}; expected shares that leave some for training")
        self.split_seed = split_seed

    @property
    def root(self) -> Path:
        """The folder that holds the files, looked for when they are first wanted: predicting needs a schema only.

        Raises:
            InputError: It does not exist.
        """
        path = Path(self._given_root).expanduser()
        if not path.exists():
            raise InputError(f"{path}: no such folder; {self.name} is not there (licence: {self.licence})")
        return path / "data" if (path / "data").is_dir() else path

    def base_schema(self) -> Schema:
        """The schema before any restriction."""
        return self.declared

    @property
    def schema(self) -> Schema:
        """What documents of this corpus, as configured, are annotated with."""
        return self.view.schema

    @abstractmethod
    def folders(self) -> dict[Split, list[Path]]:
        """Where the official parts lie; what is missing is held out from ``train`` by seed."""

    @abstractmethod
    def load(self, path: Path, findings: Findings) -> list[Document]:
        """Documents of one of the `folders`."""

    def source(self, document_id: str, annotation_id: str = "") -> tuple[str, int]:
        """The file and line where an annotation stands, as far as this corpus can tell (line 0: the file as a whole).

        Where a file holds many documents, the line is the one that names this document.
        """
        for path in (path for paths in self.folders().values() for path in paths):
            if path.is_file():
                for number, line in enumerate(read_text(path).split("\n"), 1):
                    if f'"{document_id}"' in line:
                        return str(path), number
        return document_id, 0

    def group(self, document_id: str) -> str:
        """What must not be torn apart by a split: the patient where ids tell, else the document."""
        return document_id

    def read(self, split: Split, findings: Findings | None = None) -> list[Document]:
        """Documents of one split, as the view shows them.

        Args:
            split: Which.
            findings: Collects what is wrong in the files; when left out, a reader that mends nothing is used.

        Raises:
            InputError: The files are not there or broken.
        """
        findings = Findings() if findings is None else findings
        folders = self.folders()
        if split in folders and (split != "train" or len(folders) == len(SPLITS)):
            documents = self._load_all(folders[split], findings)
        else:
            held = self.held_out(self._load_all(folders["train"], findings), [name for name in SPLITS if name not in folders])
            documents = held.get(split, [])
        return [self.view(document) for document in documents]

    def read_all(self, findings: Findings | None = None) -> dict[Split, list[Document]]:
        """Documents of every split, each file read once."""
        findings = Findings() if findings is None else findings
        folders = self.folders()
        parts = {split: self._load_all(paths, findings) for split, paths in folders.items()}
        parts.update(self.held_out(parts["train"], [name for name in SPLITS if name not in folders]))
        return {split: [self.view(document) for document in parts.get(split, [])] for split in SPLITS}

    def _load_all(self, paths: Iterable[Path], findings: Findings) -> list[Document]:
        return [document for path in paths for document in self.load(path, findings)]

    def held_out(self, documents: Sequence[Document], missing: Sequence[Split]) -> dict[Split, list[Document]]:
        """Documents of the splits that the corpus does not name, by seed and group; ``train`` keeps the rest.

        The choice depends on the groups' names and the seed only, not on the order of files.
        """
        groups = sorted({self.group(document.id) for document in documents})
        random.Random(self.split_seed).shuffle(groups)
        chosen: dict[str, Split] = {}
        start = 0
        for split, share in (("test", self.shares[1]), ("dev", self.shares[0])):
            if split in missing and share > 0:
                end = min(start + max(1, round(share * len(groups))), len(groups) - 1)  # training keeps something
                chosen.update(dict.fromkeys(groups[start:end], cast("Split", split)))
                start = end
        parts: dict[Split, list[Document]] = {"train": [], **{split: [] for split in missing}}
        for document in documents:
            parts[chosen.get(self.group(document.id), "train")].append(document)
        return parts


class BratCorpus(Corpus):
    """A corpus in BRAT files."""

    def load(self, path: Path, findings: Findings) -> list[Document]:
        """BRAT files."""
        return brat.read(path, findings)

    def source(self, document_id: str, annotation_id: str = "") -> tuple[str, int]:
        """The ``.ann`` file and the record's line."""
        for folder in (folder for paths in self.folders().values() for folder in paths):
            path = folder / f"{document_id}.ann"
            if path.is_file():
                start = f"{annotation_id}\t"
                rows = enumerate(read_text(path).split("\n"), 1) if annotation_id else ()
                return str(path), next((number for number, line in rows if line.startswith(start)), 0)
        return document_id, 0


def first_existing(root: Path, *candidates: str) -> Path | None:
    """The first of some relative paths that exists."""
    return next((root / name for name in candidates if (root / name).exists()), None)


def require(path: Path | None, root: Path, expected: str) -> Path:
    """The path, or a clear error that says what was looked for."""
    if path is None:
        raise InputError(f"{root}: expected {expected}; is this the folder as its owners ship it?")
    return path


def entity_types(layers: dict[str, dict[str, str]]) -> tuple[EntityType, ...]:
    """Entity types from layer -> name -> definition."""
    return tuple(EntityType(name, text, layer) for layer, types in layers.items() for name, text in types.items())
