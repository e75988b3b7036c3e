"""An extraction from notes to files: parts that are not done are annotated, by this process or several, written and noted down."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from clinical_ie.extraction.extractor import Extractor
from clinical_ie.extraction.inputs import BadNote, Note
from clinical_ie.extraction.output_folder import OutputFolder, alone_in
from clinical_ie.extraction.outputs import Origin
from clinical_ie.extraction.part_work import PartResult, write_part
from clinical_ie.extraction.parts import Part, PartSize, parts
from clinical_ie.extraction.progress import NotesProgress
from clinical_ie.extraction.thresholds import Thresholds
from clinical_ie.extraction.workers import Work, work_beside, work_here

_KERNEL_CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}
"""Settings of oneDNN and of torch beside it: how many kernels are kept, one for each shape of a batch. Theirs is 1,024, some 200 MB."""


@dataclass(frozen=True)
class ModelWork:
    """The work of a process: a model that is loaded there, and what is written.

    Attributes:
        model: Arguments of `clinical_ie.load`.
        formats: What to write, of `OUTPUTS`.
        began: When the extraction began, for outputs that say so.
        threads: Threads on the CPU; None for as many as torch takes.
        snippets: Whether OMOP rows hold the text around a mention.
        thresholds: Of what is kept; None for everything.
    """

    model: dict[str, Any]
    formats: tuple[str, ...]
    began: datetime
    threads: int | None = None
    snippets: bool = False
    thresholds: Thresholds | None = None

    def begin(self) -> Callable[[Part, Path], PartResult]:
        """Load the model."""
        for name, most in _KERNEL_CACHES.items():  # they are read when the first kernel is made
            os.environ.setdefault(name, most)
        import torch

        from clinical_ie.extraction.loading import load

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return self.on(load(**self.model))

    def on(self, extractor: Extractor) -> Callable[[Part, Path], PartResult]:
        """What a loaded model does with a part."""
        origin = Origin(f"clinical_ie, {Path(extractor.name).name}", self.began, extractor.schema, self.snippets)
        return lambda part, folder: write_part(extractor, part, self.formats, folder, origin, self.thresholds)


@dataclass
class Summary:
    """What an extraction came to, earlier commands with the same question included."""

    documents: int = 0
    mentions: int = 0
    links: int = 0
    failed: int = 0
    new: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


def extract(
    notes: Iterable[Note | BadNote],
    folder: Path,
    asked: dict[str, Any],
    work: Callable[[datetime], Sequence[Work]],
    *,
    size: PartSize | None = None,
    count: Callable[[], int] | None = None,
) -> Summary:
    """Annotate notes into a folder, or go on where an earlier call with the same question was interrupted.

    Args:
        notes: The input, in an order that is always the same.
        folder: The output's.
        asked: What the answer depends on: model, input, formats, settings.
        work: What each process does, given when the extraction began; a single one is done in this process.
        size: The most of a part, where the extraction begins now.
        count: Counts the notes of the input, for the time that is left.

    Raises:
        SettingError: The folder holds the answer to another question.
        RunError: The model fails on everything, or the disk is full.
    """
    size = PartSize() if size is None else size
    noted = {"began": datetime.now().astimezone().isoformat(timespec="seconds"), "part size": [size.notes, size.characters]}
    with alone_in(folder):
        output = OutputFolder(folder, asked, noted)
        size = PartSize(*output.noted["part size"])
        before = output.documents + output.failed
        try:
            works = work(datetime.fromisoformat(output.noted["began"]))
            with NotesProgress(count) as progress:
                todo = _todo(parts(notes, size), output, progress)
                with closing(work_here(works[0], todo) if len(works) == 1 else work_beside(works, todo)) as results:
                    for result in results:
                        output.commit(result)
                        progress.add(result.documents + len(result.failed))
            output.end()
        finally:
            output.close()
        outcomes: Counter[str] = Counter()
        for result in output.results():
            outcomes.update(result.outcomes)
        found = output.documents, output.mentions, output.links, output.failed
        return Summary(*found, output.documents + output.failed - before, outcomes)


def _todo(found: Iterable[Part], output: OutputFolder, progress: NotesProgress) -> Iterator[tuple[Part, Path]]:
    number = 0
    for part in found:
        number = part.number
        if output.is_done(part):
            progress.skip(len(part.notes))
        else:
            yield part, output.staging(part.number)
    output.check_end(number)
