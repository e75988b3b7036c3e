"""``results.json``: all that a table of a run needs, so that no table needs a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinical_ie.errors import FileFormatError
from clinical_ie.fields import Fields, MalformedDataError
from clinical_ie.files import read_text, write_text
from clinical_ie.reports.entry import Averages, Entry, Found, mapping
from clinical_ie.reports.run_facts import RunFacts
from clinical_ie.scoring.counts import MODES, Kind
from clinical_ie.scoring.score import Score
from clinical_ie.scoring.strings import StringCounts

Splits = dict[str, dict[str, dict[str, Entry]]]
"""Split -> corpus -> task -> its scores."""


@dataclass(slots=True)
class Results:
    """Scores by split, corpus and task, and what the run is and cost."""

    splits: Splits = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | str) -> Results:
        """What a file holds; nothing where there is none.

        Raises:
            FileFormatError: The file is no results file; the message names the key that is wrong.
        """
        if not Path(path).exists():
            return cls()
        try:
            fields = Fields(json.loads(read_text(path)))
            fields.only("run", "splits")
            splits = mapping(fields.get("splits"), "splits", lambda one, at: mapping(one, at, lambda two, at: mapping(two, at, Entry.read)))
            run = Fields(fields.get("run"), "run")
            RunFacts.read(run)
            return cls(splits, run.data)
        except MalformedDataError as error:
            raise FileFormatError(path, 0, f"not a results file: {error}") from None
        except ValueError:
            raise FileFormatError(path, 0, "not a results file", expected="JSON with run and splits") from None

    @property
    def facts(self) -> RunFacts:
        """What tables say of the run."""
        return RunFacts.read(Fields(self.run, "run"))

    def add(
        self,
        split: str,
        corpus: str,
        task: str,
        score: Score,
        *,
        finds: Kind,
        coverage: dict[str, Any] | None,
        survival: dict[str, Any] | None = None,
        left_out: dict[str, int],
        outcomes: Mapping[str, int] | None = None,
        groups: Mapping[str, str] | None = None,
        strings: StringCounts | None = None,
        calibration: Mapping[str, dict[str, Any]] | None = None,
        trained: bool = True,
        samples: int = 1000,
    ) -> None:
        """Put in a score with bootstrap intervals of its micro F1 (none from 0 samples) and the counts of every document.

        Args:
            split: Where it was scored.
            corpus: Of what.
            task: By what.
            score: Counts of every document.
            finds: What the model predicts: a tagger's results have no relations.
            coverage: What the task can express of gold.
            survival: What of gold comes back of gold outputs.
            left_out: Mentions that the corpus' view leaves out.
            outcomes: What became of the model's output.
            groups: Document -> cluster, of the intervals; each document is one of its own without.
            strings: Counts of strings.
            calibration: Kind of annotation -> what `clinical_ie.scoring.calibration.described` gives.
            trained: Whether it is known which of them training has seen.
            samples: Of the bootstrap.
        """
        from clinical_ie.scoring.clusters import Clustered  # with numpy, which reading results does not need
        from clinical_ie.scoring.intervals import interval
        from clinical_ie.scoring.paired import smallest_visible_difference

        entry = Entry(score.rules, len(score.documents), finds, len(score.missing), coverage=coverage, survival=survival)
        entry.left_out_by_flat_view, entry.outcomes = dict(sorted(left_out.items())), dict(sorted((outcomes or {}).items()))
        entry.calibration = dict(calibration or {})
        if score.macro_over == "rows":
            entry.events, entry.overall = score.events(), score.events_overall()
        else:
            entry.relation_setting, entry.macro_over = score.setting, score.macro_over
            entry.missing_ids, entry.extra_ids = score.missing, score.extra
            entry.groups = {document.id: (groups or {}).get(document.id, document.id) for document in score.documents}
        for kind in score.kinds if score.macro_over != "rows" else ():
            entry.scores[kind] = {
                mode: Averages(score.micro(kind, mode), score.macro(kind, mode), score.types(kind, mode)) for mode in MODES
            }
            for mode in MODES:
                key, rows = f"{kind}/{mode}", score.rows(kind, mode)
                cell = Clustered.of([rows], entry.groups)
                if samples:
                    entry.intervals[key] = interval(cell, samples=samples)
                if (visible := smallest_visible_difference(cell)) is not None:
                    entry.smallest_visible_difference[key] = visible
                entry.per_document[key] = rows
        if strings is not None:
            entry.strings = {kind: strings.found[kind] for kind in entry.kinds}
            if trained and "entities" in entry.kinds:
                entry.seen, entry.unseen = Found(*strings.seen), Found(*strings.unseen)
        self.splits.setdefault(split, {}).setdefault(corpus, {})[task] = entry

    def remove(self, split: str, corpus: str, task: str) -> bool:
        """Take a score away; whether there was one."""
        found = self.splits.get(split, {}).get(corpus, {}).pop(task, None)
        corpora = {name: tasks for name, tasks in self.splits.get(split, {}).items() if tasks}
        self.splits = {name: held for name, held in (self.splits | {split: corpora}).items() if held}
        return found is not None

    def write(self, path: Path | str) -> None:
        """Write the file whole."""
        write_text(path, json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """The JSON."""
        splits = {
            split: {corpus: {task: entry.to_dict() for task, entry in tasks.items()} for corpus, tasks in corpora.items()}
            for split, corpora in self.splits.items()
        }
        return {"run": self.run, "splits": splits}
