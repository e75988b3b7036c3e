"""Which encoders do what: tiny random models of the real classes x tasks x ways of tuning x precision.

Each cell trains two steps and predicts, or is refused before training. A table has a row for each architecture: a task is marked where all
weights are trained on it in 32 bits, a way of tuning and a precision where they serve for at least one task. All cells of the product are
run, and those that are not what their marks say are printed below the table; so are crashes, of which there should be none.

    python benchmarks/encoder_matrix.py              # a quarter of an hour on two cores
    python benchmarks/encoder_matrix.py modernbert   # some of them
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from peft import LoraConfig, PeftConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

from clinical_ie.commands.quiet import quieten
from clinical_ie.corpora import Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.errors import ClinicalIEError
from clinical_ie.formats import jsonl
from clinical_ie.models.encoder_classes import encoder_class
from clinical_ie.modules import EncoderReader, EncoderRelationClassifier, EncoderTagger
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.tasks import EntityReading, EntityTagging, RelationClassification, RelationReading
from clinical_ie.tasks.task import Task

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.models.tiny_encoders import KINDS, config_of, save_tokenizer

_VIRTUAL: dict[str, Any] = {"task_type": "FEATURE_EXTRACTION", "num_virtual_tokens": 4}
_LORA = LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules="all-linear")
TASKS: dict[str, tuple[type[EncoderModule], Task[Any], dict[str, Any]]] = {
    "tagging": (EncoderTagger, EntityTagging(window=64), {}),
    "pairs, shared": (EncoderRelationClassifier, RelationClassification("shared", window=64, overlap=16), {"width": 16}),
    "pairs, single": (EncoderRelationClassifier, RelationClassification("pair", window=64), {"width": 0}),
    "reading, packed": (EncoderReader, EntityReading("packed", window=64), {"width": 16}),
    "reading, single": (EncoderReader, EntityReading("single", window=64, definitions=False, negatives=0.3), {"width": 16}),
    "link reading": (EncoderReader, RelationReading("packed", window=64), {"width": 16}),
}
TUNINGS: dict[str, tuple[PeftConfig | None, bool | None]] = {
    "full": (None, False),
    "frozen": (None, True),
    "lora": (_LORA, None),
    "prefix": (PrefixTuningConfig(**_VIRTUAL), None),
    "prompt": (PromptTuningConfig(**_VIRTUAL), None),
    "p_tuning": (PromptEncoderConfig(**_VIRTUAL), None),
}
PRECISIONS = ("32-true", "bf16-mixed")
Cell = tuple[str, str, str, str]
"""Architecture, task, way of tuning, precision."""
Outcomes = dict[Cell, str]
"""Cell -> ``yes``, ``refused: `` and why, or ``crashed: `` and how."""


class Matrix:
    """Runs cells.

    Args:
        folder: Where models and notes go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: dict[str, str] = {}
        self.data: dict[str, ExtractionDataModule] = {}
        for split in ("train", "dev", "test"):
            with_links = [document for document in Demo().read(split) if document.relations]  # type: ignore[arg-type]
            jsonl.write(with_links[:2], folder / f"{split}.jsonl")

    def outcome(self, cell: Cell) -> str:
        """Two steps of training and a prediction."""
        kind, task, tuning, precision = cell
        module, asked, options = TASKS[task]
        peft, freeze = TUNINGS[tuning]
        try:
            data = self._data(task)
            pl.seed_everything(0, verbose=False)
            model = module(self._model(kind), data.schemas, peft=peft, freeze=freeze, **options)
            model.check(asked, training=True, precision=precision)
        except ClinicalIEError as error:
            return f"refused: {str(error).replace(str(self.folder), '')}"
        try:
            trainer = pl.Trainer(
                max_steps=2, accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                enable_model_summary=False, use_distributed_sampler=False, limit_val_batches=0, default_root_dir=self.folder,
            )  # fmt: skip
            trainer.fit(model, data)
            if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
                return "crashed: weights that are no numbers"
            trainer.test(model, data, verbose=False)
        except Exception as error:
            return f"crashed: {type(error).__name__} {error}".partition("\n")[0]
        return "yes"

    def _model(self, kind: str) -> str:
        if kind not in self.models:
            place = self.folder / kind
            torch.manual_seed(0)
            encoder_class(config_of(kind))(config_of(kind)).save_pretrained(place)
            save_tokenizer(place)
            self.models[kind] = str(place)
        return self.models[kind]

    def _data(self, task: str) -> ExtractionDataModule:
        """All architectures have the same tokenizer, so notes are cut once for each task."""
        if task not in self.data:
            self.data[task] = ExtractionDataModule([Demo(root=str(self.folder))], [TASKS[task][1]], self._model("bert"), batch_budget=256)
        return self.data[task]


def cells_of(kind: str) -> Iterator[Cell]:
    """All cells of an architecture."""
    for task, tuning, precision in product(TASKS, TUNINGS, PRECISIONS):
        yield kind, task, tuning, precision


def marked(kind: str, outcomes: Outcomes) -> list[str]:
    """The columns that an architecture has a mark in."""

    def works(task: str, tuning: str, precision: str) -> bool:
        return outcomes.get((kind, task, tuning, precision)) == "yes"

    tasks = [task for task in TASKS if works(task, "full", "32-true")]
    tunings = [tuning for tuning in TUNINGS if any(works(task, tuning, "32-true") for task in TASKS)]
    return [*tasks, *tunings, *(precision for precision in PRECISIONS if any(works(task, "full", precision) for task in TASKS))]


def table(kinds: list[str], outcomes: Outcomes) -> str:
    """The table in Markdown."""
    columns = [*TASKS, *TUNINGS, *PRECISIONS]
    rows = [["encoder", *columns], ["---", *[":-:"] * len(columns)]]
    for kind in kinds:
        marks = marked(kind, outcomes)
        rows.append([f"`{kind}`", *("yes" if column in marks else "no" for column in columns)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def read_table(markdown: str) -> dict[str, list[str]]:
    """Architecture -> the columns that it has a mark in."""
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in markdown.splitlines() if line.startswith(("| encoder |", "| `"))
    ]
    head = rows[0][1:]
    return {row[0].strip("`"): [name for name, mark in zip(head, row[1:], strict=True) if mark == "yes"] for row in rows[1:]}


def surprises(kinds: list[str], outcomes: Outcomes) -> Iterator[str]:
    """Crashes, and cells that are refused although each of their marks is there, or the other way round."""
    for kind in kinds:
        marks = marked(kind, outcomes)
        for cell in cells_of(kind):
            found = outcomes[cell]
            if found.startswith("crashed") or (found == "yes") != (set(cell[1:]) <= set(marks)):
                yield f"{' / '.join(cell)}: {found}"


def main() -> None:
    kinds = sys.argv[1:] or list(KINDS)
    be_quiet()
    outcomes: Outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        matrix = Matrix(Path(folder))
        for kind in kinds:
            outcomes |= {cell: matrix.outcome(cell) for cell in cells_of(kind)}
            print(kind, "done", file=sys.stderr, flush=True)
    print(table(kinds, outcomes))
    found = list(outcomes.values())
    refused = sum(outcome.startswith("refused") for outcome in found)
    print(f"\n{len(found):,} cells: {found.count('yes'):,} trained and predicted, {refused:,} were refused before training,", end=" ")
    print(f"{len(found) - refused - found.count('yes')} crashed.")
    for line in surprises(kinds, outcomes):
        print(f"- {line}")


def be_quiet() -> None:
    """Keep Lightning's remarks on two steps from the screen."""
    quieten()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("clinical_ie").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
