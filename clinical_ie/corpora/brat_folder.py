"""Any BRAT corpus, described by YAML alone: a hospital's own notes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from clinical_ie.corpora.corpus import SPLITS, BratCorpus, Split
from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.files import read_text
from clinical_ie.schema import Schema


class BratFolder(BratCorpus):
    """BRAT files in one folder or in one for each split.

    Args:
        root: The folder.
        schema: Entity types (with definitions and layers), relations, attributes, events; see `Schema.from_dict`.
        corpus_name: What tables and files call it.
        split_folders: Split -> sub-folders; the splits left out are held out from ``train`` by seed.
            Without it, folders named train, dev and test are used where they exist, else all files.
        patient_pattern: A regular expression that finds the patient in a document id; a split
            never separates documents of one patient.
        entity_types: Only these types.
        flat: Only mentions that do not overlap.
        dev_share: Share held out for development.
        test_share: Share held out for testing.
        split_seed: Seed of that choice.
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
    ) -> None:
        self.described = Schema.from_dict(schema)
        if not self.described.entities:
            raise SettingError(f"{corpus_name}: the schema declares no entity types")
        self.name = corpus_name  # type: ignore[misc]  # this corpus is named by its description
        if unknown := sorted(set(split_folders or ()) - set(SPLITS)):
            raise SettingError(f"{corpus_name}: split_folders names {unknown}; expected {', '.join(SPLITS)}")
        self.split_folders = split_folders
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

    def folders(self) -> dict[Split, list[Path]]:
        """As described, or by the names train, dev and test."""
        if self.split_folders:
            return {split: [self.root / name for name in self.split_folders[split]] for split in SPLITS if split in self.split_folders}
        named = {split: [self.root / split] for split in SPLITS if (self.root / split).is_dir()}
        return named if "train" in named else {"train": [self.root]}

    def group(self, document_id: str) -> str:
        """The patient, where a pattern finds one."""
        match = self.patient.search(document_id) if self.patient else None
        return match[match.lastindex or 0] if match else document_id
