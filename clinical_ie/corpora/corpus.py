"""The base of corpora: schema, files, the parts that their owners name, citation and licence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from clinical_ie.corpora.splits import Split
from clinical_ie.corpora.views import View
from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError, did_you_mean_path
from clinical_ie.files import read_text
from clinical_ie.formats import brat
from clinical_ie.formats.brat.offsets import CHARACTERS
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_file
from clinical_ie.schema import EntityType, Schema

_NOT_IN_FILE_NAMES = frozenset('/\\:*?"<>|')
_LONGEST_NAME = 100


class Corpus(ABC):
    """Annotated documents with their schema. What they are for is not a corpus' to say: see `HashSplit`.

    Subclasses declare the class variables and say in `folders` and `load` what lies where.

    Args:
        root: The folder (or its parent, where that holds a folder ``data``) as its owners ship it.
        entity_types: Only these types; everything that refers to others goes too.
        flat: Only mentions that do not overlap: earliest start first, then longest, in one layer.
        rename: Other names for entity types, relations and roles, such as those of `meanings`; old name -> new name.

    Raises:
        SettingError: An unknown entity type, or a name that cannot be a file's.
    """

    name: ClassVar[str]
    declared: ClassVar[Schema]
    licence: ClassVar[str]
    citation: ClassVar[str]
    meanings: ClassVar[Mapping[str, str]] = {}
    """Types and relations whose names mean something else in other corpora -> names that tell; what is equal here means the same."""

    def __init__(
        self, root: str, *, entity_types: list[str] | None = None, flat: bool = False, rename: dict[str, str] | None = None
    ) -> None:
        check_name(self.name)
        self._given_root = root
        self.view = View(self.base_schema(), entity_types, flat=flat, rename=rename)

    @property
    def root(self) -> Path:
        """The folder that holds the files, looked for when they are first wanted: predicting needs a schema only.

        Raises:
            InputError: It does not exist.
        """
        path = Path(self._given_root).expanduser()
        if not path.exists():
            raise InputError(f"{path}: no such folder; {self.name} is not there (licence: {self.licence}){did_you_mean_path(path)}")
        return path / "data" if (path / "data").is_dir() else path

    def base_schema(self) -> Schema:
        """The schema before any restriction."""
        return self.declared

    @property
    def schema(self) -> Schema:
        """What documents of this corpus, as configured, are annotated with."""
        return self.view.schema

    def meaning(self, name: str) -> str:
        """What a type or relation of the `schema` means, by a name that no other corpus has for something else."""
        original = self.view.original(name)
        return self.meanings.get(original, name)

    def rename_declared(self) -> None:
        """Show types whose names mean something else in other corpora by names that tell, but for those that are renamed already."""
        view, given = self.view, self.view.rename or {}
        shown = {view.original(name) for name in (*view.schema.entity_names, *(kind.name for kind in view.schema.relations))}
        declared = {old: new for old, new in self.meanings.items() if old in shown}
        self.view = View(view.base, view.entity_types, view.flat, {**declared, **given} or None)

    @abstractmethod
    def folders(self) -> dict[Split, list[Path]]:
        """Where the parts that the owners name lie; ``train`` holds the documents of those that they do not name, too."""

    @abstractmethod
    def load(self, path: Path, findings: Findings) -> Iterable[Document]:
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

    def read(self, part: Split, findings: Findings | None = None) -> list[Document]:
        """Documents of a part that the owners name (see `folders`), as the view shows them.

        Args:
            part: Which.
            findings: Collects what is wrong in the files; when left out, a reader that mends nothing is used.

        Raises:
            InputError: The files are not there or broken.
            SettingError: The owners name no such part.
        """
        return [self.view(document) for document in self.load_part(part, Findings() if findings is None else findings)]

    def load_part(self, part: Split, findings: Findings) -> Iterator[Document]:
        """Whole documents of a part that the owners name, one after the other.

        Raises:
            InputError: The files are not there or broken.
            SettingError: The owners name no such part.
        """
        folders = self.folders()
        if part not in folders:
            raise SettingError(f"{self.name} names no {part} part; a CorpusReader with a HashSplit draws one from its training documents")
        return (document for path in folders[part] for document in self.load(path, findings))

    def remark(self, findings: Findings) -> None:  # noqa: B027 (most corpora have nothing to note)
        """Note what lies in the corpus' folder and is not read."""


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
    wrong = not name or name != name.strip() or name.startswith(".") or name.endswith((".", ".jsonl", ".html", ".gold", ".seen"))
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
