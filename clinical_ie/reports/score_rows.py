"""Every score below a folder as a row of a table: for one's own analysis, and for the tables of studies."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical_ie.errors import InputError, RunError
from clinical_ie.reports.entry import Entry
from clinical_ie.reports.results import Results
from clinical_ie.scoring.counts import MODES, Counts

if TYPE_CHECKING:
    import pandas


def rows(folder: Path | str) -> list[dict[str, Any]]:
    """The scores in every ``results.json`` below a folder, by path: a row for each run, split, corpus, task, kind and mode.

    Columns, None where a run does not say so:

    - ``run`` (its folder, from the one given), ``split``, ``corpus``, ``task``, ``kind`` (entities, relations or attributes; events
      under rules that count those), ``mode`` (strict or lenient; overall of events)
    - ``rules``, ``setting`` (relations and attributes on gold entities or end to end), ``documents``, ``gold`` (annotations),
      ``precision``, ``recall``, ``f1``, ``macro_f1``, ``tp``, ``fp``, ``fn``
    - ``low``, ``high``, ``level``, ``method``, ``clusters`` of the F1's interval; ``smallest_visible_difference``
    - ``per_document`` (document -> [tp, fp, fn]) and ``groups`` (document -> cluster), of which `Clustered.of` makes cells to compare
    - ``strings``, ``seen``, ``unseen``, ``outcomes``, ``coverage``, ``survival`` as in the file
    - ``model``, ``tuning``, ``seed``, ``held_out``, ``shots``, ``fingerprint``, ``data``, ``commit``
    - the cost: ``steps``, ``seconds``, ``training_subwords``, ``parameters``, ``trainable_parameters``, ``peak_memory_bytes``,
      ``checkpoint_bytes``

    Raises:
        InputError: No such folder.
        FileFormatError: A file is no results file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with runs, which hold a results.json each")
    found: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("results.json")):
        found.extend(_rows(Results.load(path), path.parent.relative_to(folder).as_posix()))
    return found


def dataframe(folder: Path | str) -> pandas.DataFrame:
    """`rows` as a pandas table, with its missing values where a row has None.

    Raises:
        RunError: pandas is not installed.
        InputError: As for `rows`.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise RunError("a dataframe needs pandas: pip install 'clinical_ie[notebooks]'; rows() gives the same as a list") from None
    return pandas.DataFrame(rows(folder))


def _rows(results: Results, run: str) -> Iterator[dict[str, Any]]:
    of_run = results.facts.to_dict()
    for split, corpora in results.splits.items():
        for corpus, tasks in corpora.items():
            for task, entry in tasks.items():
                place = {"run": run, "split": split, "corpus": corpus, "task": task}
                for kind, mode in product(entry.kinds, MODES):
                    scores = entry.scores[kind][mode]
                    yield {**place, "kind": kind, "mode": mode, **_scores(entry, kind, mode, scores.micro, scores.macro["f1"]), **of_run}
                if entry.overall is not None:
                    yield {
                        **place,
                        "kind": "events",
                        "mode": "overall",
                        **_scores(entry, "events", "overall", entry.overall, None),
                        **of_run,
                    }


def _scores(entry: Entry, kind: str, mode: str, micro: Counts, macro_f1: float | None) -> dict[str, Any]:
    key, plain = f"{kind}/{mode}", entry.to_dict()
    interval = plain["intervals"].get(key, {})
    return {
        "rules": entry.rules,
        "setting": entry.relation_setting if kind in ("relations", "attributes") else None,
        "documents": entry.documents,
        "gold": micro.tp + micro.fn,
        **{name: getattr(micro, name) for name in ("precision", "recall", "f1")},
        "macro_f1": macro_f1,
        **{name: getattr(micro, name) for name in ("tp", "fp", "fn")},
        **{name: interval.get(name) for name in ("low", "high", "level", "method", "clusters")},
        "smallest_visible_difference": entry.smallest_visible_difference.get(key),
        "per_document": plain["per_document"].get(key),
        **{name: plain.get(name) for name in ("groups", "strings", "seen", "unseen", "outcomes", "coverage", "survival")},
    }
