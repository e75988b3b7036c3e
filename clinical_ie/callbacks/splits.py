"""Which documents a run learned from, and that none of them is used to test it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Literal, cast

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.hash_split import HashSplit
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.files import read_text, write_text

_LOG = logging.getLogger(__name__)
NAME = "splits.json"
_HELD: tuple[Literal["dev"], Literal["test"]] = ("dev", "test")

Splits = dict[str, dict[str, list[str]]]
"""Corpus -> role -> ids of its documents, sorted."""
LEARNED_BEFORE = "learned before"
"""The role of documents that the weights which a run began with had learned from, and which are neither tested nor validated on."""


class SplitRecord(pl.Callback):
    """Writes ``splits.json`` into the run directory when training begins, and holds later stages against it.

    Documents may join or leave a corpus between two stages; none may come from training into another split.

    Args:
        run_dir: The run's folder.
        begun_with: The folder of the run whose weights a new run begins with; what that one learned from is never scored either.
        going_on: The folder of the run that is gone on with, which may be another; None of a run that begins, whatever an attempt before
            it has left in its folder.
    """

    def __init__(self, run_dir: Path, begun_with: Path | None = None, going_on: Path | None = None) -> None:
        self.path = run_dir / NAME
        self._begun_with = begun_with / NAME if begun_with is not None else None
        self._going_on = going_on / NAME if going_on is not None else None
        self._splits: Splits = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compare the corpora with what the run has recorded.

        Raises:
            SettingError: A training document of the run, or of one whose weights it began with, is now one of another split.
            FileFormatError: The record is damaged.
        """
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        path = self._going_on if stage == "fit" else self.path
        recorded = read_splits(path) if path is not None and path.exists() else None
        if stage == "fit":
            self._splits = {name: {str(role): ids for role, ids in data.reader.ids(name).items()} for name in data.corpora}
            for name, splits in self._splits.items():
                _show_sources(data.corpora[name], data.split)
                for held in _HELD:
                    self._refuse_trained(name, held, splits[held], recorded)
            for name, ids in self._learned_before(recorded).items():
                self._splits.setdefault(name, {})[LEARNED_BEFORE] = sorted(ids)
                for held in _HELD:
                    self._refuse_trained(name, held, self._splits[name].get(held, []), self._splits)
        elif stage in ("test", "validate"):
            part: Literal["dev", "test"] = "test" if stage == "test" else "dev"
            for name, corpus in data.corpora_of(part).items():
                if recorded is None:
                    _warn_unrecorded(corpus, data.split, self.path)
                else:
                    self._refuse_trained(name, part, [document.id for document in data.documents[part][name]], recorded)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the record, once a checkpoint that the run goes on from has been accepted."""
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            write_text(self.path, json.dumps(self._splits, indent=1, ensure_ascii=True) + "\n")

    def _learned_before(self, recorded: Splits | None) -> dict[str, set[str]]:
        """Corpus -> what the weights that the run began with had learned from, by the record of their run or, going on, by our own."""
        found = {name: set(splits[LEARNED_BEFORE]) for name, splits in (recorded or {}).items() if LEARNED_BEFORE in splits}
        if self._begun_with is not None and not self._begun_with.exists():
            _warn(f"there is no {self._begun_with}: documents that these weights learned from may be among those that are scored now")
        elif self._begun_with is not None:
            for name, splits in read_splits(self._begun_with).items():
                own = set(splits.get("train", ())) - set(splits.get("dev", ())) - set(splits.get("test", ()))
                found[name] = found.get(name, set()) | own | set(splits.get(LEARNED_BEFORE, ()))
        return {name: ids for name, ids in found.items() if ids}

    def _refuse_trained(self, corpus: str, part: str, ids: list[str], recorded: Splits | None) -> None:
        known = (recorded or {}).get(corpus, {})
        if before := set(ids) & set(known.get(LEARNED_BEFORE, ())):
            source = f" ({self._begun_with})" if self._begun_with is not None else ""
            raise SettingError(
                f"{corpus}: the weights that this run begins with{source} have learned from {len(before)} of {len(ids)} {part} documents;"
                " give the split settings and folders of that run"
            )
        trained = set(ids) & set(known.get("train", ())) - set(known.get(part, ()))
        if trained:
            raise SettingError(
                f"{corpus}: {len(trained)} of {len(ids)} {part} documents are training documents of this run ({self.path});"
                " give the split settings and folders that it was trained with, or train a new run"
            )


@rank_zero_only
def _show_sources(corpus: Corpus, split: HashSplit) -> None:
    sources = ", ".join(f"{part} from {source}" for part, source in split.sources(corpus).items())
    _LOG.info(f"{corpus.name}: {sources}")


@rank_zero_only
def _warn(message: str) -> None:
    _LOG.warning(message)


@rank_zero_only
def _warn_unrecorded(corpus: Corpus, split: HashSplit, path: Path) -> None:
    if split.draws(corpus):
        _LOG.warning(
            f"{corpus.name} is split by hash, and the run has no {path}: if it was trained before splits were recorded, documents that"
            " it learned from may be among those that are scored now"
        )


def read_splits(path: Path) -> Splits:
    """What a run wrote down.

    Raises:
        FileFormatError: It is something else.
    """
    expected = "{corpus: {split: [document ids]}}"
    try:
        data: Any = json.loads(read_text(path))
    except ValueError as error:
        raise FileFormatError(path, getattr(error, "lineno", 0), "not JSON", expected=expected) from None
    corpora = list(data.values()) if isinstance(data, dict) else [None]
    lists = [ids for splits in corpora for ids in (splits.values() if isinstance(splits, dict) else [None])]
    if not all(isinstance(ids, list) and all(isinstance(name, str) for name in ids) for ids in lists):
        raise FileFormatError(path, 0, "not the splits of a run", expected=expected)
    return cast("Splits", data)
