"""results.json as a typed record: what is written is read, and what is wrong is refused by file and key."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import FileFormatError
from clinical_ie.reports.results import Results
from clinical_ie.reports.run_tables import show_run
from clinical_ie.scoring.clusters import Clustered
from clinical_ie.scoring.counts import Kind
from clinical_ie.scoring.intervals import interval
from clinical_ie.scoring.paired import smallest_visible_difference
from clinical_ie.scoring.rules import StrictOneToOne, rule_set
from clinical_ie.scoring.score import score
from clinical_ie.scoring.strings import StringCounts, digests

TEXT = "aspirin <5 mg> & pain"
DRUG, DOSE, PAIN = ("Drug", 0, 7), ("Dose", 9, 13), ("Problem", 17, 21)


def document(*spans: tuple[str, int, int], name: str = "d") -> Document:
    return Document(name, TEXT, tuple(Entity(f"T{k}", kind, Span.of(a, b)) for k, (kind, a, b) in enumerate(spans)))


def shown(results: Results) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    show_run(results, console)
    return console.export_text()


@pytest.fixture
def results() -> Results:
    """Three notes of two patients; the system misses a dose and a problem."""
    gold = [document(DRUG, DOSE, name="a1"), document(DRUG, PAIN, name="a2"), document(DOSE, name="b1")]
    predicted = [document(DRUG, name="a1"), document(DRUG, name="a2"), document(DOSE, name="b1")]
    strings = StringCounts()
    for one, other in zip(gold, predicted, strict=True):
        strings.add(one, other, digests([document(DRUG, PAIN)]))
    found = Results(run={"seed": 1})
    coverage = {"of": "mentions", "gold": 5, "unrepresentable": {}, "recall_ceiling": 1.0}
    found.add(
        "test", "c", "entity_tagging", score(gold, predicted, StrictOneToOne()), finds="entities", coverage=coverage, left_out={},
        outcomes={"kept": 1, "answers that touch no mention": 3}, groups={"a1": "a", "a2": "a", "b1": "b"}, strings=strings, samples=50,
    )  # fmt: skip
    return found


def test_there_and_back(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "results.json")
    again = Results.load(tmp_path / "results.json")
    assert again == results
    assert again.to_dict() == json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert Results.load(tmp_path / "absent.json") == Results()


def test_what_a_score_says(results: Results) -> None:
    entry = results.to_dict()["splits"]["test"]["c"]["entity_tagging"]
    assert entry["per_document"]["entities/strict"] == {"a1": [1, 0, 1], "a2": [1, 0, 1], "b1": [1, 0, 0]}
    assert entry["groups"] == {"a1": "a", "a2": "a", "b1": "b"}
    patients = Clustered.of([{"a": (2, 0, 2), "b": (1, 0, 0)}])
    assert entry["intervals"]["entities/strict"] == interval(patients, samples=50)._asdict()
    assert entry["intervals"]["entities/strict"]["clusters"] == 2
    assert entry["smallest_visible_difference"]["entities/strict"] == smallest_visible_difference(patients)
    # training knows aspirin and pain: 2 of 3 found; both doses are new, one found
    assert (entry["seen"], entry["unseen"]) == ({"gold": 3, "tp": 2, "recall": 2 / 3}, {"gold": 2, "tp": 1, "recall": 1 / 2})
    assert {name: entry["strings"]["entities"][name] for name in ("tp", "fp", "fn")} == {"tp": 3, "fp": 0, "fn": 2}
    assert "relations" not in entry["strings"], "a tagger finds none"
    assert TEXT[:7] not in json.dumps(entry), "no text of notes"


def test_the_table_says_it(results: Results) -> None:
    said = shown(results)
    assert "3 answers that touch no mention" in said
    assert "jackknife-t interval over 2 clusters; smallest visible difference" in said
    assert "F1 of strings 0.750; recall 0.667 of 3 seen and 0.500 of 2 unseen in training" in said  # 6 / 8


def test_without_intervals_and_strings() -> None:
    results = Results()
    result = score([document(DRUG)], [document(DRUG)], StrictOneToOne())
    results.add("test", "c", "entity_tagging", result, finds="entities", coverage=None, left_out={}, samples=0)
    entry = results.splits["test"]["c"]["entity_tagging"]
    assert (entry.intervals, entry.per_document["entities/strict"], entry.groups) == ({}, {"d": (1, 0, 0)}, {"d": "d"})
    assert (entry.strings, entry.seen, entry.smallest_visible_difference) == ({}, None, {})
    said = shown(results)
    assert "interval" not in said
    assert "1.000" in said


@pytest.mark.parametrize("rules", ["strict-one-to-one", "n2c2-2018", "shac-2022"])
@pytest.mark.parametrize("finds", ["entities", "relations"])
@pytest.mark.parametrize("documents", [[], [document(DRUG)]])
def test_every_rule_set_comes_back(rules: str, finds: Kind, documents: list[Document], tmp_path: Path) -> None:
    results = Results()
    results.add("test", "c", "t", score(documents, documents, rule_set(rules)), finds=finds, coverage=None, left_out={}, samples=10)
    results.write(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("rules",), 3, "splits.test.c.entity_tagging.rules: found a number; expected a string"),
        (("documents",), None, "'documents' is missing"),
        (("finds",), "mentions", "finds: found an unknown kind; expected one of entities, relations"),
        (("out_comes",), {}, "unknown key 'out_comes'.*did you mean 'outcomes'"),
        (("outcomes", "kept"), "one", "outcomes.kept: found a string; expected a number"),
        (("entities", "strict", "micro", "tp"), -1, "entities.strict.micro.tp: found a number below 0"),
        (("per_document", "entities/strict", "a1"), [1, 2], "per_document.entities/strict.a1: found 2 elements; expected 3"),
        (("intervals", "entities/strict", "method"), "guess", "method: found an unknown method; expected one of expanded percentile"),
        (("intervals", "entities/strict", "low"), True, "intervals.entities/strict.low: found true or false; expected a number"),
        (("seen", "tp"), 1.5, "seen.tp: found a number; expected a number without a fraction"),
    ],
)
def test_what_is_wrong_is_named(path: tuple[str, ...], value: Any, said: str, results: Results, tmp_path: Path) -> None:
    data = results.to_dict()
    place = data["splits"]["test"]["c"]["entity_tagging"]
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    (tmp_path / "results.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(FileFormatError, match=f"results.json: not a results file: .*{said}"):
        Results.load(tmp_path / "results.json")


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"model": 3}, "run.model: found a number; expected a string"),
        ({"steps": "ten"}, "run.steps: found a string; expected a number without a fraction"),
        ({"seconds": [1]}, "run.seconds: found a list; expected a number"),
        ({"held_out": "ward"}, "run.held_out: found a string; expected a list"),
        ({"held_out": ["ward", 1]}, r"run.held_out\[1\]: found a number; expected a string"),
        ({"seed": 0.5}, "run.seed: found a number; expected a number without a fraction"),
    ],
)
def test_what_is_wrong_of_the_run_is_named(run: dict[str, Any], said: str, tmp_path: Path) -> None:
    Results(run=run).write(tmp_path / "results.json")
    with pytest.raises(FileFormatError, match=f"not a results file: {said}"):
        Results.load(tmp_path / "results.json")


def test_facts_of_a_run() -> None:
    facts = Results(run={"model": "tiny", "seed": 0, "shots": {"ward": {"documents": 5}}, "seconds": 3, "machine": "x"}).facts
    assert (facts.model, facts.seed, facts.shots, facts.seconds) == ("tiny", 0, {"ward": {"documents": 5}}, 3.0)
    assert facts.commit is facts.held_out is facts.parameters is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSON with run and splits"),
        ("[]", "found a list"),
        ('{"splits": {}}', "'run' is missing"),
        ('{"run": {}, "splits": {"test": {"c": {"rules": "x"}}}}', "splits.test.c.rules: found a string; expected a mapping"),
    ],
)
def test_another_file_is_no_results_file(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match=f"not a results file.*{said}"):
        Results.load(tmp_path / "results.json")
