"""What runs will cost, and how a study says how far it is."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from clinical_ie.commands import study_progress
from clinical_ie.commands.study_progress import StudyProgress
from clinical_ie.studies.estimate import Estimate, estimates
from clinical_ie.studies.plan import Content, Run
from clinical_ie.studies.runner import Outcome
from clinical_ie.studies.store import Store
from tests.studies.fake_fit import results


def run(key: str, shape: str, steps: int | None) -> Run:
    return Run(key, ("a",), Content(key, shape, steps=steps, tokens=100), cells=[f"cell of {key}"])


def finished(store: Store, one: Run, tokens: int, seconds: float) -> None:
    store.describe(one, "tiny")
    found = results("0000", {"uw": 3})
    found["run"] |= {"training_subwords": tokens, "seconds": seconds}
    store.results(one.key).write_text(json.dumps(found), encoding="utf-8")


def test_runs_cost_what_those_of_their_shape_did_and_else_what_their_steps_tell(tmp_path: Path) -> None:
    store = Store(tmp_path)
    alike, other, endless = run("alike", "s", 50), run("other", "t", 50), run("endless", "u", None)
    assert estimates([other, endless], store) == {"other": Estimate(5000, None, False), "endless": Estimate(None, None, False)}
    for number, (tokens, seconds) in enumerate([(1000, 10.0), (3000, 20.0), (2000, 20.0)]):
        finished(store, run(f"done{number}", "s", 50), tokens, seconds)
    found = estimates([alike, other, endless], store)
    assert found["alike"] == Estimate(2000, 20.0, True)
    assert found["other"] == Estimate(5000, 50.0, False), "5,000 sub-words at the usual 100 a second"
    assert found["endless"] == Estimate(None, None, False)


def test_a_line_for_each_run_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_progress, "time", SimpleNamespace(monotonic=lambda: 0.0))
    runs = [run("a", "s", 1), run("b", "s", 1), run("c", "s", 1)]
    costs = {"a": Estimate(1, 60.0, True), "b": Estimate(None, None, False), "c": Estimate(1, 120.0, True)}
    with StudyProgress(runs, costs) as progress:
        progress.begin(runs[0])
        progress.end(Outcome(runs[0], "done", 30.0))
        progress.end(Outcome(runs[1], "failed", 0.0, "why"))
        progress.end(Outcome(runs[2], "done"))
    assert capsys.readouterr().out.splitlines() == [
        "1/3 begins: cell of a, about 4 min 30 s left",  # 60 + 90 (the mean of what is known) + 120
        "1/3 done in 30 s: cell of a, about 2 min 30 s left",  # 30, as the one that was done, + 120
        "2/3 failed: cell of b, about 2 min 0 s left",
        "3/3 done: cell of c",
    ]
