"""``results.json``: all that a table of a run needs, so that no table needs a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinical_ie.errors import FileFormatError
from clinical_ie.files import read_text, write_text
from clinical_ie.scoring.counts import KINDS, MODES, Kind
from clinical_ie.scoring.score import Score


@dataclass(slots=True)
class Results:
    """Scores by split, corpus and task, and what the run cost."""

    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | str) -> Results:
        """What a file holds; nothing where there is none.

        Raises:
            FileFormatError: The file is no results file.
        """
        if not Path(path).exists():
            return cls()
        try:
            data = json.loads(read_text(path))
            return cls(data["splits"], data["run"])
        except (ValueError, KeyError, TypeError):
            raise FileFormatError(path, 0, "not a results file", expected="{splits, run}") from None

    def add(
        self,
        split: str,
        corpus: str,
        task: str,
        score: Score,
        *,
        finds: Kind,
        coverage: dict[str, Any] | None,
        left_out: dict[str, int],
        outcomes: Mapping[str, int] | None = None,
        samples: int = 1000,
    ) -> None:
        """Put in a score with bootstrap intervals of its micro F1 (none from 0 samples) and the counts of every document.

        `finds` is what the model predicts: a tagger's results have no relations. `outcomes` counts what became of the model's output.
        """
        from clinical_ie.scoring.clusters import Clustered  # with numpy, which reading results does not need
        from clinical_ie.scoring.intervals import interval

        entry = {**score.to_dict(), "finds": finds, "coverage": coverage, "left_out_by_flat_view": dict(sorted(left_out.items()))}
        entry["outcomes"] = dict(sorted((outcomes or {}).items()))
        entry["intervals"], entry["per_document"] = {}, {}
        for kind in KINDS if score.macro_over != "rows" else ():
            for mode in MODES:
                rows = score.rows(kind, mode)
                if samples:
                    entry["intervals"][f"{kind}/{mode}"] = interval(Clustered.of([rows]), samples=samples).to_dict()
                entry["per_document"][f"{kind}/{mode}"] = {name: list(row) for name, row in rows.items()}
        self.splits.setdefault(split, {}).setdefault(corpus, {})[task] = entry

    def remove(self, split: str, corpus: str, task: str) -> bool:
        """Take a score away; whether there was one."""
        found = self.splits.get(split, {}).get(corpus, {}).pop(task, None)
        corpora = {name: tasks for name, tasks in self.splits.get(split, {}).items() if tasks}
        self.splits = {name: held for name, held in (self.splits | {split: corpora}).items() if held}
        return found is not None

    def write(self, path: Path | str) -> None:
        """Write the file whole."""
        write_text(path, json.dumps({"run": self.run, "splits": self.splits}, indent=1, ensure_ascii=False) + "\n")
