"""Any BRAT corpus, described by YAML alone: a hospital's own notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clinical_ie.corpora.corpus import BratCorpus
from clinical_ie.corpora.hash_split import HashSplit
from clinical_ie.corpora.splits import SPLITS, Split, named_parts, nested_split_folders
from clinical_ie.corpora.yaml_file import YamlFile
from clinical_ie.errors import SettingError
from clinical_ie.fields import Fields, MalformedDataError, elements
from clinical_ie.formats.brat.offsets import CHARACTERS, check_rule
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_files
from clinical_ie.schema import Schema


class BratFolder(BratCorpus):
    """BRAT files in one folder or in one for each split.

    Args:
        root: The folder.
        schema: Entity types (with definitions and layers), relations, attributes, events; see `Schema.from_dict`.
        corpus_name: What tables and files call it.
        split_folders: Split -> sub-folders; those left out are drawn from ``train`` (see `HashSplit`).
            Without it, folders named after splits are used where there is one for train (``Train``, ``validation`` and the like
            count), else all files.
        patient_pattern: A regular expression that finds the patient in a document id; a split
            never separates documents of one patient.
        entity_types: Only these types.
        flat: Only mentions that do not overlap.
        rename: Other names for types, relations and roles; old name -> new name.
        offsets: What the offsets of the files count: ``characters``, ``utf-16`` (code units, as Java and JavaScript count),
            ``utf-8`` (bytes), ``crlf-as-one``, ``without-bom``, or some joined by ``+``.
    """

    name = "brat_folder"
    declared = Schema(())
    licence = "the owner's"
    citation = ""

    def __init__(
        self,
        root: str,
        schema: dict[str, Any],
        *,
        corpus_name: str = "brat_folder",
        split_folders: dict[str, list[str]] | None = None,
        patient_pattern: str | None = None,
        entity_types: list[str] | None = None,
        flat: bool = False,
        rename: dict[str, str] | None = None,
        offsets: str = CHARACTERS,
    ) -> None:
        try:
            self.described = Schema.from_dict(schema)
        except SettingError as error:
            raise SettingError(f"{corpus_name}: {error}") from None
        if not self.described.entities:
            raise SettingError(f"{corpus_name}: the schema declares no entity types")
        self.name = corpus_name  # type: ignore[misc]  # this corpus is named by its description
        if unknown := sorted(set(split_folders or ()) - set(SPLITS)):
            raise SettingError(f"{corpus_name}: split_folders names {unknown}; expected {', '.join(SPLITS)}")
        self.split_folders = split_folders
        self.offsets = check_rule(offsets)
        if split_folders and not split_folders.get("train"):
            raise SettingError(f"{corpus_name}: split_folders names no folder for train")
        try:
            self.patient = re.compile(patient_pattern) if patient_pattern else None
        except re.error as error:
            raise SettingError(f"{corpus_name}: patient_pattern is no regular expression ({error})") from error
        super().__init__(root, entity_types=entity_types, flat=flat, rename=rename)

    @classmethod
    def from_yaml(cls, path: str | Path, *, root: str | None = None, **options: Any) -> BratFolder:
        """The corpus that a YAML file describes: either the arguments themselves, or a data configuration with one corpus.

        Raises:
            FileFormatError: Not YAML, no description in it, or a value of the wrong type: with its line.
            SettingError: Values that contradict each other.
        """
        file = YamlFile(path)
        try:
            fields, _ = _description(file)
            for key in ("dev_share", "test_share", "split_seed"):
                if key in fields:
                    name = key.removeprefix("split_")
                    remedy = f"write split: {{{name}: ...}} beside the corpus (data.split of a run)"
                    raise MalformedDataError(fields.at(key), "a corpus only reads, a split decides", remedy=remedy)
            fields.only(*_ARGUMENTS, "split")
            if root is None:
                fields.string("root", empty=False)
            given: dict[str, Any] = {key: read(fields, key) for key, read in _ARGUMENTS.items() if fields.data.get(key) is not None}
            Schema.from_fields(fields.get("schema"))
            return cls(**{**given, **({"root": root} if root else {}), **options})
        except MalformedDataError as error:
            raise file.failure(error) from None
        except SettingError as error:
            raise SettingError(f"{path}: {error}") from error

    def base_schema(self) -> Schema:
        """The schema of the description."""
        return self.described

    @property
    def root(self) -> Path:
        """The folder itself where notes or folders of splits lie in it, else its folder ``data`` where there is one."""
        path = Path(self._given_root).expanduser()
        if path.is_dir() and (named_parts(path) or _holds_annotations(path)):
            return path
        return super().root

    def folders(self) -> dict[Split, list[Path]]:
        """As described, or by names such as ``train``, ``Dev`` and ``TEST`` (see `splits.split_of`), else all files for training.

        Raises:
            InputError: Two folders for one split.
            SettingError: Folders that are named after splits, but none of them for training, or not where they are looked for; or
                a folder of the description that does not exist, or lies in another one.
        """
        root = self.root
        if self.split_folders:
            found = {split: [root / name for name in self.split_folders[split]] for split in SPLITS if split in self.split_folders}
            if missing := [str(path) for paths in found.values() for path in paths if not path.is_dir()]:
                raise SettingError(f"{self.name}: split_folders names {missing[0]}, which is no folder")
            if twice := _read_twice([path for paths in found.values() for path in paths]):
                raise SettingError(
                    f"{self.name}: split_folders: {twice[0]} is or lies in {twice[1]}, so that its notes would be read twice;"
                    " name folders that lie beside each other"
                )
            return found
        named = named_parts(root)
        parts: dict[Split, list[Path]] = {split: [path] for split, path in named.items()} if "train" in named else {"train": [root]}
        unused = [
            f"{path.relative_to(root) / name}" if path != root else name
            for split, paths in parts.items()
            for path in paths
            for name in nested_split_folders(path, inside=None if path == root else split)
        ]
        if unused:
            raise SettingError(
                f"{self.name}: in {root}, {', '.join(unused[:5])} {'is' if len(unused) == 1 else 'are'} named after a split, but"
                f" {'lies beside no folder for train' if 'train' not in named else 'lies inside another'}; say what belongs where in"
                " split_folders, such as {train: [site/train], test: [site/test]}, or {train: [.]} to split all notes by their names"
            )
        return parts

    def remark(self, findings: Findings) -> None:
        """Note annotations that lie beside the folders of the splits."""
        folders = [path for paths in self.folders().values() for path in paths]
        if self.root not in folders:
            for place, count in _annotated(self.root, folders).items():
                problem = f"{count} .ann files lie in no folder of a split: not read"
                findings.warning(place, 0, "outside-the-splits", problem)

    def group(self, document_id: str) -> str:
        """The patient, where a pattern finds one."""
        match = self.patient.search(document_id) if self.patient else None
        return match[match.lastindex or 0] if match else document_id


def _read_twice(folders: list[Path]) -> tuple[Path, Path] | None:
    """A folder that is another one or lies in it, and that one, links followed."""
    real = [path.resolve() for path in folders]
    for place, inner in enumerate(real):
        for other, outer in enumerate(real):
            if place != other and inner.is_relative_to(outer):
                return folders[place], folders[other]
    return None


def _holds_annotations(folder: Path) -> bool:
    """Whether there are ``.ann`` files in the folder itself."""
    return any(path.suffix.casefold() == ".ann" and not path.name.startswith(".") for path in folder.iterdir())


def _annotated(folder: Path, outside: list[Path]) -> dict[str, int]:
    """Folder -> how many ``.ann`` files it holds, in this folder and below, but not in or below others; only those that hold any."""
    found: Counter[str] = Counter()
    for paths in find_files(folder, (".ann",), Findings(strict=False)).values():
        path = Path(paths[".ann"])
        if not any(path.is_relative_to(other) for other in outside):
            found[str(path.parent)] += 1
    return found


def described_split(path: str | Path) -> HashSplit:
    """The split that the YAML file of a corpus names beside it, or else the default.

    Raises:
        FileFormatError: Not YAML, no description in it, or a value of the wrong type: with its line.
        SettingError: Values that contradict each other.
    """
    file = YamlFile(path)
    try:
        _, split = _description(file)
        return HashSplit() if split is None else HashSplit.from_fields(split)
    except MalformedDataError as error:
        raise file.failure(error) from None
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


def _description(file: YamlFile) -> tuple[Fields, Fields | None]:
    """The arguments of the corpus and those of its split, wherever they stand in the file."""
    whole = Fields(file.data)
    if "data" not in whole:
        return whole, _split(whole)
    data = Fields(whole.get("data"), "data")
    key = next((key for key in ("corpora+", "corpora") if key in data), "corpora")
    corpora = [Fields(entry, f"data.{key}[{number}]") for number, entry in enumerate(elements(data.get(key), data.at(key)))]
    described = [entry for entry in corpora if str(entry.data.get("class_path", "BratFolder")).endswith("BratFolder")]
    if len(described) != 1:
        problem = f"found {len(described)} of {len(corpora)} corpora that are a BratFolder"
        raise MalformedDataError(data.at(key), problem, expected="one", remedy="give each corpus a file of its own")
    return Fields(described[0].get("init_args"), described[0].at("init_args")), _split(data)


def _split(fields: Fields) -> Fields | None:
    if fields.data.get("split") is None:
        return None
    split = Fields(fields.get("split"), fields.at("split"))
    return Fields(split.get("init_args"), split.at("init_args")) if "init_args" in split else split


def _folders(fields: Fields, key: str) -> dict[str, list[str]]:
    inner = Fields(fields.get(key), fields.at(key))
    inner.only(*SPLITS)
    return {split: inner.strings(split) for split in inner.data}


def _names(fields: Fields, key: str) -> dict[str, str]:
    inner = Fields(fields.get(key), fields.at(key))
    return {name: inner.string(name, empty=False) for name in inner.data}


def _pass(fields: Fields, key: str) -> Any:
    return fields.get(key)


_ARGUMENTS: dict[str, Callable[[Fields, str], Any]] = {
    "root": Fields.string,
    "schema": _pass,
    "corpus_name": Fields.string,
    "split_folders": _folders,
    "patient_pattern": Fields.string,
    "entity_types": Fields.strings,
    "rename": _names,
    "flat": lambda fields, key: fields.flag_or(key, False),
    "offsets": Fields.string,
}
"""Argument -> how it is read from YAML."""
