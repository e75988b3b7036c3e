"""What a run's weights have learned from, the runs that it began with included: digests, for recall of unseen strings and for isolation."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from zipfile import BadZipFile

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from clinical_ie.callbacks.splits import LEARNED_BEFORE, read_splits
from clinical_ie.callbacks.splits import NAME as SPLITS
from clinical_ie.corpora.isolation import listed
from clinical_ie.corpora.near_duplicates import text_digest
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.files import write_bytes
from clinical_ie.reports.results import Results

_LOG = logging.getLogger(__name__)
NAME = "learned.npz"
_DIGEST = np.dtype("V8")


@dataclass(frozen=True, slots=True)
class Learned:
    """Digests of what was learned from.

    Attributes:
        strings: Of the strings of mentions (`scoring.strings.digests`).
        texts: Of the texts of documents (`text_digest`).
    """

    strings: frozenset[bytes] = frozenset()
    texts: frozenset[bytes] = frozenset()

    def __or__(self, other: Learned) -> Learned:
        """Both."""
        return Learned(self.strings | other.strings, self.texts | other.texts)

    @classmethod
    def read(cls, path: Path) -> Learned | None:
        """What a run wrote down; None where there is nothing.

        Raises:
            FileFormatError: It is something else.
        """
        if not path.exists():
            return None
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
                return cls(_unpacked(found["strings"]), _unpacked(found["texts"]))
        except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
            raise FileFormatError(path, 0, "damaged", expected="digests as a run writes them") from error

    def write(self, path: Path) -> None:
        """Write them, sorted, so that equal sets are equal bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, strings=_packed(self.strings), texts=_packed(self.texts))
        write_bytes(path, buffer.getvalue())


class LearnedRecord(pl.Callback):
    """Writes ``learned.npz`` when training begins, and tells the data which strings the weights have seen.

    Args:
        run_dir: The run's folder.
        begun_with: The folder of the run whose weights a new run begins with.
        going_on: The folder of the run that is gone on with.
    """

    def __init__(self, run_dir: Path, begun_with: Path | None = None, going_on: Path | None = None) -> None:
        self._run_dir, self._begun_with, self._going_on = run_dir, begun_with, going_on
        self._before: Learned | None = Learned()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find what was learned before.

        Raises:
            SettingError: The weights that a run begins with have learned from a text that is now tested in a corpus that is held out.
            FileFormatError: The record is damaged.
        """
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        if stage != "fit":
            known = Learned.read(self._run_dir / NAME)
            if known is not None:
                data.seen_strings.recorded = known.strings
            elif _began_with_others(self._run_dir):
                data.seen_strings.are_known = False
            return
        if self._begun_with is not None:
            self._before = Learned.read(self._begun_with / NAME)
            _check_isolated(data, self._begun_with, self._before or Learned())
        elif self._going_on is not None:
            known = Learned.read(self._going_on / NAME)
            self._before = known if known is not None or _began_with_others(self._going_on) else Learned()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the record; of a run whose learning rates are 0 nothing but what was there before."""
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        if self._before is None:  # nobody knows what the first weights have seen
            data.seen_strings.are_known = False
            return
        learned = self._before
        if any(group.get("initial_lr", group["lr"]) for optimizer in trainer.optimizers for group in optimizer.param_groups):
            learned |= Learned(data.seen_strings.found or frozenset(), frozenset(_texts(data)))
        data.seen_strings.recorded = learned.strings
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            learned.write(self._run_dir / NAME)


def _began_with_others(folder: Path) -> bool:
    """Whether a run without a record, as those are from before there was one, began with the weights of another."""
    if Results.load(folder / "results.json").run.get("init_from"):
        return True
    return (folder / SPLITS).exists() and any(LEARNED_BEFORE in roles for roles in read_splits(folder / SPLITS).values())


def _texts(data: ExtractionDataModule) -> Iterable[bytes]:
    return (text_digest(document.text) for documents in data.documents["train"].values() for document in documents)


def _check_isolated(data: ExtractionDataModule, begun_with: Path, learned: Learned) -> None:
    """What is held out here must not have been learned by the weights that the run begins with, whatever its corpus was called there."""
    compared = (Results.load(begun_with / "results.json").run.get("isolation") or {}).get("compared", {}).get("test", {})
    for name in data.corpora:
        if name not in data.split.held_out:
            continue
        documents = [document.id for document in data.reader.peek(name, "test") if text_digest(document.text) in learned.texts]
        if documents:
            raise SettingError(
                f"{name} is held out, but the weights that this run begins with ({begun_with}) have learned from the texts of"
                f" {len(documents)} of its test documents ({listed(documents)}); begin with a run that holds them out as well"
                " (data.split.held_out)"
            )
        if name not in compared:
            _warn(
                f"{name} is held out, and {begun_with} did not compare its training documents with these test documents: none has the same"
                " text, but some may be nearly alike; give that run this corpus too, as one that is held out"
            )


@rank_zero_only
def _warn(message: str) -> None:
    _LOG.warning(message)


def _packed(values: frozenset[bytes]) -> NDArray[np.void]:
    return np.frombuffer(b"".join(sorted(values)), dtype=_DIGEST) if values else np.empty(0, dtype=_DIGEST)


def _unpacked(values: NDArray[np.void]) -> frozenset[bytes]:
    if values.dtype != _DIGEST:
        raise ValueError(f"digests of {values.dtype}")
    return frozenset(value.tobytes() for value in values)
