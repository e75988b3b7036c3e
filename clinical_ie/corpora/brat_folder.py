"""Any BRAT corpus, described by YAML alone: a hospital's own notes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from clinical_ie.corpora.corpus import BratCorpus
from clinical_ie.corpora.splits import SPLITS, Split, named_parts, nested_split_folders
from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.files import read_text
from clinical_ie.formats.brat.offsets import CHARACTERS, check_rule
from clinical_ie.formats.findings import Findings
from clinical_ie.schema import Schema


class BratFolder(BratCorpus):
    """BRAT files in one folder or in one for each split.

    Args:
        root: The folder.
        schema: Entity types (with definitions and layers), relations, attributes, events; see `Schema.from_dict`.
        corpus_name: What tables and files call it.
        split_folders: Split -> sub-folders; the splits left out are held out from ``train`` by seed.
            Without it, folders named after splits are used where there is one for train (``Train``, ``validation`` and the like
            count), else all files.
        patient_pattern: A regular expression that finds the patient in a document id; a split
            never separates documents of one patient.
        entity_types: Only these types.
        flat: Only mentions that do not overlap.
        dev_share: Share held out for development.
        test_share: Share held out for testing.
        split_seed: Seed of that choice.
        offsets: What the offsets of the files count: ``characters``, ``utf-16`` (code units, as Java and JavaScript count),
            ``crlf-as-one``, ``without-bom``, or some of the last three joined by ``+``.
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
        dev_share: float | None = None,
        test_share: float | None = None,
        split_seed: int = 13,
        offsets: str = CHARACTERS,
    ) -> None:
        self.described = Schema.from_dict(schema)
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
        super().__init__(root, entity_types=entity_types, flat=flat, dev_share=dev_share, test_share=test_share, split_seed=split_seed)

    @classmethod
    def from_yaml(cls, path: str | Path, *, root: str | None = None, **options: Any) -> BratFolder:
        """The corpus that a YAML file describes: either the arguments themselves, or a data configuration with one corpus.

        Raises:
            FileFormatError: Not YAML, or no description in it.
            SettingError: An argument that does not exist.
        """
        try:
            data = yaml.safe_load(read_text(path))
        except yaml.YAMLError as error:
            line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
            raise FileFormatError(path, line, "not YAML", expected="root, schema, ... of a BRAT corpus") from None
        if isinstance(data, Mapping) and "data" in data:
            inner = data["data"] if isinstance(data["data"], Mapping) else {}
            listed = inner.get("corpora+") or inner.get("corpora") or [{}]
            data = listed[0].get("init_args", {}) if isinstance(listed, list) and isinstance(listed[0], Mapping) else {}
        if not isinstance(data, Mapping) or "schema" not in data:
            raise FileFormatError(path, 0, "no schema in it", expected="root, schema, ... of a BRAT corpus")
        arguments = {**data, **({"root": root} if root else {}), **options}
        try:
            return cls(**arguments)
        except TypeError as error:
            raise SettingError(f"{path}: {error}") from error

    def base_schema(self) -> Schema:
        """The schema of the description."""
        return self.described

    @property
    def root(self) -> Path:
        """The folder itself where notes or folders of splits lie in it, else its folder ``data`` where there is one."""
        path = Path(self._given_root).expanduser()
        if path.is_dir() and (named_parts(path) or _annotated([path])):
            return path
        return super().root

    def folders(self) -> dict[Split, list[Path]]:
        """As described, or by names such as ``train``, ``Dev`` and ``TEST`` (see `splits.split_of`), else all files for training.

        Raises:
            InputError: Two folders for one split.
            SettingError: Folders that are named after splits, but none of them for training, or not where they are looked for; or
                a folder of the description that does not exist.
        """
        root = self.root
        if self.split_folders:
            found = {split: [root / name for name in self.split_folders[split]] for split in SPLITS if split in self.split_folders}
            if missing := [str(path) for paths in found.values() for path in paths if not path.is_dir()]:
                raise SettingError(f"{self.name}: split_folders names {missing[0]}, which is no folder")
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
            for place, count in _annotated([self.root], outside=folders).items():
                problem = f"{count} .ann files lie in no folder of a split: not read"
                findings.warning(place, 0, "outside-the-splits", problem)

    def group(self, document_id: str) -> str:
        """The patient, where a pattern finds one."""
        match = self.patient.search(document_id) if self.patient else None
        return match[match.lastindex or 0] if match else document_id


def _annotated(folders: list[Path], outside: list[Path] | None = None) -> dict[str, int]:
    """Folder -> how many ``.ann`` files it holds, in these folders and below, but not in or below others; only those that hold any.

    Without `outside`, only the folders themselves are looked at.
    """
    found: dict[str, int] = {}
    for folder in folders:
        for where, inner, files in os.walk(folder):
            if outside is None:
                inner.clear()
            else:
                inner[:] = [name for name in inner if Path(where, name) not in outside]
            if count := sum(name.casefold().endswith(".ann") and not name.startswith(".") for name in files):
                found[where] = count
    return found
