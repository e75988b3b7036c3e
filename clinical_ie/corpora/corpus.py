"""The base of corpora: schema, files, citation and licence, and splits into train, dev and test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from clinical_ie.corpora.splits import SPLITS, Split, draw
from clinical_ie.corpora.views import View
from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError
from clinical_ie.files import read_text
from clinical_ie.formats import brat
from clinical_ie.formats.brat.offsets import CHARACTERS
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_file
from clinical_ie.schema import EntityType, Schema

_NOT_IN_FILE_NAMES = frozenset('/\\:*?"<>|')
_LONGEST_NAME = 100


class Corpus(ABC):
    """Annotated documents with their schema and their split.

    Subclasses declare the class variables and say in `folders` and `load` what lies where.

    Args:
        root: The folder (or its parent, where that holds a folder ``data``) as its owners ship it.
        entity_types: Only these types; everything that refers to others goes too.
        flat: Only mentions that do not overlap: earliest start first, then longest, in one layer.
        dev_share: Expected share of groups (see `group`) held out for development where the corpus names no part for it.
        test_share: Likewise for testing.
        split_seed: Seed of the held-out choice; with it, a group's name alone says where it goes (see `splits.draw`).

    Raises:
        SettingError: Shares that leave nothing for training, an unknown entity type, or a name that cannot be a file's.
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
        check_name(self.name)
        self._given_root = root
        self.view = View(self.base_schema(), entity_types, flat=flat)
        dev = self.dev_share if dev_share is None else dev_share
        test = self.test_share if test_share is None else test_share
        if not (dev >= 0 and test >= 0 and dev + test < 1):
            raise SettingError(f"{self.name}: dev_share is {dev} and test_share {test}; expected shares that leave some for training")
        self._shares: dict[Split, float] = {"dev": dev, "test": test}
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
        self.remark(findings)
        if split in folders and (split != "train" or len(folders) == len(SPLITS)):
            documents = self._load_all(folders[split], findings)
        else:
            missing = [name for name in SPLITS if name not in folders]
            held = self.held_out(self._load_all(folders["train"], findings), missing, findings)
            documents = held.get(split, [])
        return [self.view(document) for document in documents]

    def read_all(self, findings: Findings | None = None) -> dict[Split, list[Document]]:
        """Documents of every split, each file read once."""
        parts = self._parts(Findings() if findings is None else findings)
        return {split: [self.view(document) for document in documents] for split, documents in parts.items()}

    def document_ids(self) -> dict[Split, list[str]]:
        """Ids of the documents of each split, sorted; broken records are passed over."""
        parts = self._parts(Findings(strict=False))
        return {split: sorted(document.id for document in documents) for split, documents in parts.items()}

    def _parts(self, findings: Findings) -> dict[Split, list[Document]]:
        """Whole documents of every split."""
        folders = self.folders()
        self.remark(findings)
        parts = {split: self._load_all(paths, findings) for split, paths in folders.items()}
        parts.update(self.held_out(parts["train"], [name for name in SPLITS if name not in folders], findings))
        return {split: parts.get(split, []) for split in SPLITS}

    def _load_all(self, paths: Iterable[Path], findings: Findings) -> list[Document]:
        return [document for path in paths for document in self.load(path, findings)]

    def remark(self, findings: Findings) -> None:  # noqa: B027 (most corpora have nothing to note)
        """Note what lies in the corpus' folder and is not read."""

    def held_out(
        self, documents: Sequence[Document], missing: Sequence[Split], findings: Findings | None = None
    ) -> dict[Split, list[Document]]:
        """Documents of the splits that the corpus does not name, by hash of their groups; ``train`` keeps the rest.

        Adding or removing documents moves no others (`splits.draw`, also for the exception of very few groups).
        """
        shares = {split: share for split, share in self._shares.items() if split in missing}
        chosen = draw((self.group(document.id) for document in documents), self.split_seed, shares)
        parts: dict[Split, list[Document]] = {"train": [], **{split: [] for split in missing}}
        for document in documents:
            parts[chosen[self.group(document.id)]].append(document)
        if findings is not None and documents:
            empty = [split for split, share in shares.items() if share > 0 and not parts[split]]
            if empty:
                problem = f"no documents for {' and '.join(empty)}: {len(chosen)} group(s) of documents are too few to hold any out"
                findings.warning(self.root, 0, "split-without-documents", problem)
        return parts

    def split_sources(self) -> dict[Split, str]:
        """Split -> where its documents come from, in words: folders or files, or a share that is held out from ``train``."""
        folders, root = self.folders(), self.root
        found: dict[Split, str] = {}
        for split in SPLITS:
            if split in folders:
                names = [path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in folders[split]]
                found[split] = ", ".join("all files" if name == "." else name for name in names)
            else:
                found[split] = f"{self._shares[split]:.0%} held out of train (split_seed {self.split_seed})"
        return found


class BratCorpus(Corpus):
    """A corpus in BRAT files."""

    offsets = CHARACTERS
    """What the offsets of its files count, see `brat.read`."""
    _last_source: tuple[str, str, dict[str, int]] = ("", "", {})

    def load(self, path: Path, findings: Findings) -> list[Document]:
        """BRAT files."""
        return brat.read(path, findings, offsets=self.offsets)

    def source(self, document_id: str, annotation_id: str = "") -> tuple[str, int]:
        """The ``.ann`` file and the record's line."""
        if self._last_source[0] != document_id:  # many findings of one document come one after the other
            found = (find_file(folder, document_id, ".ann") for paths in self.folders().values() for folder in paths)
            file = next(filter(None, found), None)
            lines = read_text(file).split("\n") if file else []
            numbers = {line.partition("\t")[0]: number for number, line in reversed(list(enumerate(lines, 1))) if "\t" in line}
            self._last_source = document_id, str(file or document_id), numbers
        _, path, numbers = self._last_source
        return path, numbers.get(annotation_id, 0)


def check_name(name: str) -> None:
    """Make sure that a corpus' name can be that of a folder and a file: predictions are written under it.

    Raises:
        SettingError: It is empty, too long, or holds a separator, a control character or the ending of what lies beside it.
    """
    wrong = not name or name != name.strip() or name.startswith(".") or name.endswith((".", ".jsonl", ".html"))
    wrong = wrong or len(name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME
    if wrong or any(sign in _NOT_IN_FILE_NAMES or not (sign.isprintable() or sign == " ") for sign in name):
        raise SettingError(
            f"corpus_name {name[:_LONGEST_NAME]!r} cannot be a file name; expected at most {_LONGEST_NAME} letters, digits, blanks,"
            " '-', '_' and '.', such as my_notes"
        )


def first_existing(root: Path, *candidates: str) -> Path | None:
    """The first of some relative paths that exists."""
    return next((root / name for name in candidates if (root / name).exists()), None)


def require(path: Path | None, root: Path, expected: str) -> Path:
    """The path, or an error that names what was expected."""
    if path is None:
        raise InputError(f"{root}: expected {expected}; is this the folder as its owners ship it?")
    return path


def entity_types(layers: dict[str, dict[str, str]]) -> tuple[EntityType, ...]:
    """Entity types from layer -> name -> definition."""
    return tuple(EntityType(name, text, layer) for layer, types in layers.items() for name, text in types.items())
