"""Example notes in TensorBoard, with what was found in them. Only for who asks: it writes the text of notes into the run's folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger

from clinical_ie.callbacks.outputs import OutputCallback, Stage, gathered
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.streaming import Key
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.reports.outcomes import OutcomeRow, outcome_rows
from clinical_ie.scoring.alignment import Alignment
from clinical_ie.tasks.task import Example, SourceName

_PUNCTUATION = re.compile(r"[^\w\s]|_")


class ExampleNotes(OutputCallback):
    """Shows the first development notes of each corpus on TensorBoard's page of texts, with a table of what became of each annotation.

    No other part of a run holds note text beside ``predictions/``; this one does, so it is no part of any configuration::

        clinical-ie fit ... --trainer.callbacks+=clinical_ie.callbacks.example_notes.ExampleNotes --trainer.callbacks.init_args.notes=2

    Args:
        notes: How many of each corpus and task.

    Raises:
        SettingError: There are none to show.
    """

    def __init__(self, notes: int = 3) -> None:
        super().__init__()
        if notes < 1:
            raise SettingError(f"ExampleNotes: notes is {notes}; give how many are to be shown, or leave the callback out")
        self.notes = notes
        self._pages: dict[tuple[SourceName, int], str] = {}

    def begin(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Forget the notes of an earlier pass."""
        self._pages = {}

    def take(self, trainer: pl.Trainer, stage: Stage, key: Key, predicted: Document, examples: Sequence[Example]) -> None:
        """Write down a note, if it is one of the first."""
        if stage == "dev" and key.place < self.notes and isinstance(trainer.logger, TensorBoardLogger):
            data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
            self._pages[key.source, key.place] = page(data.documents[stage][key.corpus][key.place], predicted)

    def end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: Stage, outcomes: Mapping[SourceName, object]) -> None:
        """Log the notes of all ranks."""
        if stage != "dev" or not isinstance(trainer.logger, TensorBoardLogger):
            return
        pages = {name: text for part in gathered(trainer, self._pages) for name, text in part.items()}
        if trainer.is_global_zero:
            for (source, place), text in sorted(pages.items()):
                trainer.logger.experiment.add_text(f"dev, {', '.join(source)}/{place + 1}", text, trainer.global_step)
        self._pages = {}


def page(gold: Document, predicted: Document) -> str:
    """A note and what became of its annotations, in Markdown; nothing in the note can be taken for markup.

    Example:
        >>> print(page(Document("n1", "No *fever*."), Document("n1", "No *fever*.")))
        ### n1
        <BLANKLINE>
        No &#42;fever&#42;&#46;
        <BLANKLINE>
        nothing annotated, nothing found
    """
    lines = "  \n".join(_plain(line) for line in gold.text.splitlines())
    rows = [_row(row) for row in outcome_rows(Alignment.of(gold, predicted), texts=True)]
    head = ["| | | gold | found | where | confidence | text |", "|---|---|---|---|---|---|---|"]
    table = "\n".join([*head, *rows]) if rows else "nothing annotated, nothing found"
    return f"### {_plain(gold.id)}\n\n{lines}\n\n{table}"


def _row(row: OutcomeRow) -> str:
    sure = "" if row.confidence is None else f"{row.confidence:.2f}"
    where = row.gold_offsets or row.predicted_offsets
    cells = (row.outcome, row.of, row.gold_type, row.predicted_type, where, sure, row.text)
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(text: str) -> str:
    """With every character that Markdown or HTML may take for markup as an entity, blanks at the begin of a line too (code)."""
    inner = text.lstrip()
    return "&#160;" * (len(text) - len(inner)) + _PUNCTUATION.sub(lambda match: f"&#{ord(match[0])};", inner)
