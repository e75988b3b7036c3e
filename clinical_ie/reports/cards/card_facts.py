"""What the files of a run say that a card can hold: counts, settings, scores; neither note text nor document ids nor paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.reports.entry import Entry
from clinical_ie.reports.results import Results
from clinical_ie.scoring.counts import Counts, Kind, Mode

AUTHORS = "*to be filled in by the authors*"
"""Stands wherever no file of a run can know the answer."""
PARTS = {
    "train": "trained on",
    "dev": "chosen by",
    "test": "tested on",
    "held-out": "held out, scored only",
    "learned before": "learned before",
}
"""Role of a document -> how a card calls it."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One line of scores: of mentions or links of a corpus under a task."""

    split: str
    corpus: str
    task: str
    what: str
    rules: str
    documents: int
    strict: Counts
    lenient: Counts | None
    interval: tuple[float, float] | None
    visible: float | None


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What is known of a run.

    Args:
        name: What the run's folder is called.
        results: Its results.
        settings: Its ``config.yaml``.
        corpora: Its corpora by name; those whose class is not there any more are left out.
        documents: Corpus -> role -> how many documents.
    """

    name: str
    results: Results
    settings: Mapping[str, Any]
    corpora: Mapping[str, Corpus]
    documents: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def run(self) -> Mapping[str, Any]:
        """The ``run`` of its results."""
        return self.results.run

    @property
    def model(self) -> str:
        """The base as tables call it: a hub name, a package, or the last part of a path."""
        return str(self.run.get("model") or "an unnamed base")

    @property
    def module(self) -> str:
        """The class of the model."""
        return str(self._of("model").get("class_path", "")).rpartition(".")[2] or "unknown"

    @property
    def generates(self) -> bool:
        """Whether it is a language model that answers in words."""
        return self.module == "InstructionGenerator"

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the model that were set, without those that name a place on a disk."""
        given = self._of("model").get("init_args") or {}
        return {name: value for name, value in given.items() if name not in ("backbone", "tokenizer", "schemas")}

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Class of each task -> its arguments, without those that name a file."""
        found = {}
        for entry in self._of("data").get("tasks") or ():
            given = entry.get("init_args") or {}
            kept = {name: _plain(value) for name, value in given.items() if name not in ("prompt_template", "demonstrations")}
            found[str(entry.get("class_path", "")).rpartition(".")[2]] = kept
        return found

    @property
    def trainer(self) -> Mapping[str, Any]:
        """The trainer's settings."""
        return self._of("trainer")

    def scores(self) -> Iterator[Scored]:
        """All lines of scores: tests first."""
        for split, corpora in sorted(self.results.splits.items(), key=lambda item: not item[0].startswith("test")):
            for corpus, tasks in corpora.items():
                for task, entry in tasks.items():
                    yield from _scored(split, corpus, task, entry)

    def entries(self) -> Iterator[tuple[str, str, str, Entry]]:
        """Split, corpus, task and all that results say of them."""
        for split, corpora in self.results.splits.items():
            for corpus, tasks in corpora.items():
                for task, entry in tasks.items():
                    yield split, corpus, task, entry

    def _of(self, key: str) -> Mapping[str, Any]:
        found = self.settings.get(key)
        return found if isinstance(found, Mapping) else {}


def _scored(split: str, corpus: str, task: str, entry: Entry) -> Iterator[Scored]:
    if entry.overall is not None:
        yield Scored(split, corpus, task, "events and arguments", entry.rules, entry.documents, entry.overall, None, None, None)
    names: dict[Kind, str] = {"entities": "mentions", "relations": "links"}
    for kind in entry.kinds:
        modes: dict[Mode, Counts] = {mode: found.micro for mode, found in entry.scores[kind].items()}
        interval = entry.intervals.get(f"{kind}/strict")
        yield Scored(
            split, corpus, task, names[kind], entry.rules, entry.documents, modes["strict"], modes["lenient"],
            (interval.low, interval.high) if interval is not None else None, entry.smallest_visible_difference.get(f"{kind}/strict"),
        )  # fmt: skip


def _plain(value: Any) -> Any:
    """A value as a card shows it: a path shows its last part."""
    return Path(value).name if isinstance(value, str) and ("/" in value or "\\" in value) else value


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in line)} |" for line in lines)


def score_table(facts: CardFacts) -> str:
    """All lines of scores as a table in Markdown."""
    rows = []
    for one in facts.scores():
        interval = f" [{one.interval[0]:.3f}, {one.interval[1]:.3f}]" if one.interval else ""
        lenient = f"{one.lenient.f1:.3f}" if one.lenient else ""
        visible = f"{one.visible:.3f}" if one.visible is not None else ""
        strict = [f"{one.strict.precision:.3f}", f"{one.strict.recall:.3f}", f"{one.strict.f1:.3f}{interval}"]
        rows.append([one.split, one.corpus, one.task, one.what, one.rules, str(one.documents), *strict, lenient, visible])
    header = [
        "part",
        "corpus",
        "task",
        "of",
        "rules",
        "documents",
        "precision",
        "recall",
        "strict F1 [95 %]",
        "lenient F1",
        "visible difference",
    ]
    return table(header, rows) if rows else f"Nothing was scored; `clinical-ie test -c {facts.name}/config.yaml` does."
