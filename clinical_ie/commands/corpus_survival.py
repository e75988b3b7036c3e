"""Survival of gold of a corpus, a row for each task as its configuration sets it; tokenizers are all that is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from clinical_ie.commands import configurations
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.files import read_text
from clinical_ie.prompts.responses import FORMATS
from clinical_ie.reports.gold_survival import Survival, end_to_end, survival
from clinical_ie.schema import Schema
from clinical_ie.tasks.instruction import Instruction
from clinical_ie.tasks.nothing_to_find import nothing_to_find
from clinical_ie.tasks.task import Source, SubwordEncoder, Task

TASKS = (
    "entity_tagging", "entity_reading", "entity_instruction",
    "relation_classification", "relation_reading", "relation_instruction", "joint_instruction",
    "attribute_classification", "attribute_instruction",
)  # fmt: skip
PIPELINES = (
    ("entity_tagging", "relation_classification"),
    ("entity_reading", "relation_reading"),
    ("entity_instruction", "relation_instruction"),
)
"""Tasks that follow each other, and whose links are counted end to end where both are asked for."""
ENCODER, DECODER = "minilm", "smollm2_135m"
"""Whose tokenizers are taken where no model is named."""


@dataclass(frozen=True, slots=True)
class Row:
    """A task, the model whose tokenizer it had, and what came back."""

    task: str
    model: str
    survival: Survival

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"task": self.task, "model": self.model, **self.survival.to_dict()}


class GoldSurvival:
    """Measures what of a corpus comes back.

    Args:
        corpus: Its name.
        schema: Its schema.
        documents: With gold annotations.
        model: Name of a model's configuration, a hub name or a folder; the packaged models without it.

    `left_out` has the tasks that were not measured though nobody named any, and why.
    """

    def __init__(self, corpus: str, schema: Schema, documents: Sequence[Document], model: str | None = None) -> None:
        self.corpus, self.schema, self.documents, self.model = corpus, schema, documents, model
        self.left_out: dict[str, str] = {}
        self._encoders: dict[tuple[str, bool], SubwordEncoder] = {}

    def rows(self, names: Sequence[str] = (), *, formats: bool = False) -> Iterator[Row]:
        """A row for each task, and for each pair of them that follow each other.

        Args:
            names: Configurations of tasks, or files; all tasks when empty.
            formats: A row for each response format of an instruction.

        Raises:
            SettingError: A task that was named cannot be measured.
        """
        measured: dict[str, tuple[Task[Any], Source]] = {}
        for name in names or TASKS:
            task = configured_task(name)
            try:
                model, source = self._source(name, task)
                for row, one in _in_formats(name, task) if formats else [(name, task)]:
                    yield Row(row, model, self._shown(row, partial(survival, task=one, source=source)))
            except SettingError as error:
                if names:
                    raise
                self.left_out[name] = str(error)
                continue
            measured[name] = task, source
        for first, second in PIPELINES:
            if first in measured and second in measured:
                (one, _), (other, source) = measured[first], measured[second]
                name = f"{first}, then {second}"
                model, _ = self._source(second, other)
                yield Row(name, model, self._shown(name, partial(end_to_end, first=one, second=other, source=source)))

    def _source(self, name: str, task: Task[Any]) -> tuple[str, Source]:
        if missing := nothing_to_find(task, self.schema):
            raise SettingError(f"{name}: the schema of {self.corpus} declares no {missing}")
        generates = isinstance(task, Instruction)
        model = self.model or (DECODER if generates else ENCODER)
        if (model, generates) not in self._encoders:
            from clinical_ie.commands.quiet import quieten

            quieten()
            from clinical_ie.data.chat_tokenizer import ChatTokenizer
            from clinical_ie.data.tokenization import Subwords

            self._encoders[model, generates] = (ChatTokenizer if generates else Subwords)(backbone_of(model))
        return model, Source(self.corpus, self.schema, self._encoders[model, generates])

    def _shown(self, name: str, measure: Callable[[Iterable[Document]], Survival]) -> Survival:
        """Measure with a bar of progress on a terminal."""
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
            return measure(progress.track(self.documents, description=name))


def _in_formats(name: str, task: Task[Any]) -> Iterator[tuple[str, Task[Any]]]:
    """An instruction in each response format that it may have; links between given mentions are the same in all."""
    if not isinstance(task, Instruction) or task.needs_mentions:
        yield name, task
        return
    for response, kind in FORMATS.items():
        if task.kind == "entities" or kind.supports_links:
            yield f"{name}, {response}", configured_task(name, response=response)


def configured_task(name: str, **arguments: Any) -> Task[Any]:
    """The task that a configuration sets.

    Args:
        name: ``entity_tagging``, or a file.
        arguments: In place of those of the configuration.

    Raises:
        SettingError: No such file, or one that sets no task.
    """
    path = configurations.resolve(name, "task")
    settings = yaml.safe_load(read_text(path))
    try:
        (entry,) = next(value for key, value in settings["data"].items() if key.rstrip("+") == "tasks")
        module, _, kind = entry["class_path"].rpartition(".")
        made = getattr(import_module(module), kind)(**{**entry.get("init_args", {}), **arguments})
    except (KeyError, TypeError, AttributeError, ImportError, ValueError, StopIteration):
        made = None
    if not isinstance(made, Task):
        raise SettingError(
            f"{path}: no task that can be made; expected data.tasks with one class_path and init_args, as in task/entity_tagging"
        )
    return made


def backbone_of(model: str) -> str:
    """The backbone of a model's configuration; any other name stands for itself."""
    if model not in configurations.names("model"):
        return model
    return str(yaml.safe_load(read_text(configurations.resolve(model, "model")))["model"]["init_args"]["backbone"])


def table_of(title: str, rows: Sequence[Row]) -> Table:
    """A row for each task."""
    table = Table(title=Text(title), title_justify="left")
    table.add_column("task")
    for name in ("gold", "come back", "share", "F1 of gold outputs", "best F1"):
        table.add_column(name, justify="right")
    table.add_column("what does not, and why")
    for row in rows:
        found = row.survival.to_dict()
        causes = "\n".join(f"{count:,} {cause}" for cause, count in found["causes"].items())
        cells = (
            f"{found['gold']:,} {found['of']}",
            f"{found['returned']:,}",
            *(f"{found[key]:.4f}" for key in ("share", "gold_f1", "best_f1")),
        )
        table.add_row(Text(row.task), *cells, Text(causes))
    return table
