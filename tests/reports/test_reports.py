from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from clinical_ie.document import Document, Entity, Span
from clinical_ie.reports.confusion import NOTHING, confusion_counts, confusion_figure
from clinical_ie.reports.corpus_figures import write_figure
from clinical_ie.reports.corpus_statistics import describe
from clinical_ie.reports.results import Results
from clinical_ie.reports.run_tables import show_run
from clinical_ie.schema import EntityType, Schema
from clinical_ie.scoring.counts import Kind
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score

TEXT = "aspirin <5 mg> & pain"


def document(*spans: tuple[str, int, int]) -> Document:
    return Document("d", TEXT, tuple(Entity(f"T{k}", kind, Span.of(a, b)) for k, (kind, a, b) in enumerate(spans)))


def test_confusion_by_hand() -> None:
    gold = document(("Drug", 0, 7), ("Dose", 9, 13), ("Problem", 17, 21))
    predicted = document(("Drug", 0, 7), ("Drug", 9, 13), ("Route", 14, 16))
    assert confusion_counts([gold], [predicted]) == {
        ("Drug", "Drug"): 1, ("Dose", "Drug"): 1, ("Problem", NOTHING): 1, (NOTHING, "Route"): 1,
    }  # fmt: skip
    figure = confusion_figure(confusion_counts([gold], [predicted]), title="t")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["Dose", "Drug", "Problem", "Route", NOTHING]


@pytest.mark.parametrize(
    ("ceiling", "causes", "said"),
    [
        (0.5, {"discontinuous": 1}, "gold that comes back: 0.5000 of 2 mentions (1 discontinuous); strict F1 can reach 0.667"),
        (None, {"discontinuous": 1}, "gold that comes back: 0.5000 of 2 mentions (1 discontinuous)"),
        (1.0, {}, "gold that comes back: 1.0000 of 2 mentions"),
    ],
)
def test_what_comes_back_stands_above_a_table(ceiling: float | None, causes: dict[str, int], said: str) -> None:
    """Rules whose rows are no mentions have no ceiling."""
    results, note = Results(), document(("Drug", 0, 7), ("Dose", 9, 13))
    coverage = {"of": "mentions", "gold": 2, "unrepresentable": causes, "recall_ceiling": ceiling}
    survival = {"of": "mentions", "gold": 2, "share": 1 - len(causes) / 2, "causes": causes}
    results.add("test", "c", "entity_tagging", score([note], [note], rule_set("strict-one-to-one")), finds="entities", coverage=coverage,
                survival=survival, left_out={}, samples=0)  # fmt: skip
    console = Console(width=200, record=True, file=io.StringIO())
    show_run(results, console)
    above, _, _ = console.export_text().partition("┏")
    assert said in [line.strip() for line in above.splitlines()]


def test_what_a_mixed_run_was_trained_on_is_shown() -> None:
    results, console = Results(), Console(record=True, width=200, file=io.StringIO())
    counts = {"a/find": 1200, "b/find": 400}
    results.run["mixing"] = {source: {"trained_examples": count, "trained_targets": 10 * count} for source, count in counts.items()}
    show_run(results, console)
    assert console.export_text().strip() == "examples trained on: a/find 1,200 (75% of targets), b/find 400 (25% of targets)"


def test_fragments_of_one_mention_are_one_in_statistics() -> None:
    gold = Document(
        "d", "220 mg\ntwice daily", (Entity("T1", "Dose", Span(((0, 6), (7, 18)))), Entity("T2", "Dose", Span(((0, 3), (7, 12)))))
    )
    assert describe([gold], Schema((EntityType("Dose"),))).discontinuous == 1


@pytest.mark.parametrize("documents", [[], [Document("a", "nothing here")]])
@pytest.mark.parametrize("rules", ["strict-one-to-one", "n2c2-2018", "shac-2022"])
@pytest.mark.parametrize("finds", ["entities", "relations"])
def test_nothing_at_all_is_reported(documents: list[Document], rules: str, finds: Kind, tmp_path: Path) -> None:
    results = Results()
    results.add("test", "c", "entity_tagging", score(documents, documents, rule_set(rules)), finds=finds, coverage=None, left_out={})
    results.write(tmp_path / "results.json")
    show_run(Results.load(tmp_path / "results.json"), Console(file=io.StringIO()))
    confusion_figure(confusion_counts(documents, documents), title="c")


@pytest.mark.parametrize("splits", [{}, {"train": []}, {"train": [document(("Drug", 0, 7))], "test": []}])
def test_corpus_figures_of_little_and_of_odd_names(splits: dict[str, list[Document]], tmp_path: Path) -> None:
    schema = Schema.from_dict({"entities": ["Drug", "[/b] $\\frac$ \u836f"]})
    splits["dev"] = [Document("odd", TEXT, (Entity("T1", "[/b] $\\frac$ \u836f", Span.of(0, 7)),))]
    found = {split: describe(documents, schema) for split, documents in splits.items()}
    for name in ("f.html", "f.png"):
        write_figure(str(tmp_path / name), "[red]x $\\frac$ </title>", found)
    page = (tmp_path / "f.html").read_text(encoding="utf-8")
    assert "[red]x" in page
    assert "[/b] $" in page


def test_statistics_of_many_mentions_take_linear_time() -> None:
    many = 60_000
    entities = tuple(Entity(f"T{place}", "X", Span.of(2 * place, 2 * place + 1)) for place in range(many))
    found = describe([Document("d", "a " * many, entities)], Schema((EntityType("X"),)))
    assert (found.entities["X"], found.nested, found.crossing) == (many, 0, 0)
