"""Cards of a hand-made run: every figure in them is one that was put into its files, and what no file knows is left to the authors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clinical_ie.corpora import BratFolder
from clinical_ie.document import Document, Entity, Span
from clinical_ie.reports.cards.card_facts import AUTHORS, CardFacts
from clinical_ie.reports.cards.data_statement import data_statement
from clinical_ie.reports.cards.model_card import model_card
from clinical_ie.reports.cards.tripod_llm import ITEMS, tripod_llm
from clinical_ie.reports.results import Results
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score

TEXT = "aspirin for zosterpain"
RUN = {
    "model": "UFNLP/gatortron-base", "tuning": "lora", "seed": 7, "epochs": 3, "steps": 12, "seconds": 61.4, "parameters": 1234567,
    "trainable_parameters": 4321, "peak_memory_bytes": 2_500_000_000, "machine": "x86_64, 2 cores", "devices": 2, "precision": "bf16-mixed",
    "fingerprint": "feedbeef", "data": "c0ffee", "versions": {"clinical_ie": "0.1.0", "torch": "2.13"}, "commit": "abc1234",
    "training_subwords": 9876, "changes": ["from step 5, versions.torch: 1 -> 2"], "findings": {"covered-text-differs": 4},
    "coverage": {"train": {"ward/entity_tagging": {"of": "mentions", "gold": 321, "unrepresentable": {"discontinuous": 5}}}},
    "isolation": {"threshold": 0.8, "compared": {"test": {"ward": {"documents": 2, "equal": 1, "near": 0}}}},
}  # fmt: skip
SETTINGS = {
    "model": {"class_path": "clinical_ie.modules.EncoderTagger", "init_args": {"backbone": "/secret/disk/gatortron", "decoder": "crf"}},
    "data": {"tasks": [{"class_path": "clinical_ie.tasks.EntityTagging", "init_args": {"window": 256}}]},
    "trainer": {"max_epochs": 3},
}
SCHEMA = {
    "entities": [{"name": "Drug", "definition": "A medication."}, {"name": "Problem"}],
    "relations": [{"name": "Reason", "heads": ["Problem"], "tails": ["Drug"]}],
}


def entity(number: int, kind: str, start: int, end: int) -> Entity:
    return Entity(f"T{number}", kind, Span.of(start, end))


@pytest.fixture
def facts(tmp_path: Path) -> CardFacts:
    gold = [Document(f"patient{n}", TEXT, (entity(1, "Drug", 0, 7), entity(2, "Problem", 12, 22))) for n in (1, 2)]
    predicted = [gold[0], Document("patient2", TEXT, (entity(1, "Drug", 0, 7), entity(2, "Problem", 13, 22)))]
    results = Results(run=RUN)
    results.add(
        "test", "ward", "entity_tagging", score(gold, predicted, rule_set("strict-one-to-one")), finds="entities",
        coverage={"of": "mentions", "gold": 4}, survival={"of": "mentions", "share": 0.75, "causes": {"discontinuous": 1}},
        left_out={}, outcomes={}, samples=50,
    )  # fmt: skip
    corpus = BratFolder(str(tmp_path / "secret"), SCHEMA, corpus_name="ward")
    return CardFacts("mine", results, SETTINGS, {"ward": corpus}, {"ward": {"train": 17, "dev": 3, "test": 2}})


def test_the_model_card_holds_what_the_run_measured(facts: CardFacts) -> None:
    card = model_card(facts)
    for said in ("gatortron-base", "1,234,567, 4,321 of them trained", "3 epochs, 12 steps, seed 7", "61 s, 2.50 GB", "feedbeef", "c0ffee"):
        assert said in card
    row = next(line for line in card.splitlines() if line.startswith("| test | ward | entity_tagging"))
    assert "| 2 | 0.750 | 0.750 | 0.750 [" in row, "3 of 4 mentions by hand"
    assert row.split("|")[-3].strip() == "1.000", "lenient"
    assert "| Problem | 2 | 0.500 | 0.500 | 0.500 | 1.000 |" in card
    assert "0.7500 of the gold mentions could come back at all (1 discontinuous)" in card
    assert "| test | ward | 2 | 1 | 0 |" in card
    assert "4 x covered-text-differs" in card
    sections = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert sections == [  # Mitchell et al. (2019), figure 1
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data", "Quantitative analyses",
        "Ethical considerations", "Caveats and recommendations",
    ]  # fmt: skip


def test_the_data_statement_has_the_schema_and_its_sections(facts: CardFacts) -> None:
    text = data_statement(facts)
    assert "| trained on | 17 | 321 mentions |" in text
    assert "| tested on | 2 | 4 mentions |" in text
    assert "| mention | Drug | A medication. |" in text
    assert f"| mention | Problem | {AUTHORS} |" in text
    assert f"| relation | Reason (Problem -> Drug) | {AUTHORS} |" in text
    assert re.findall(r"^\*\*([A-I])\.", text, re.MULTILINE) == list("ABCDEFGHI"), "Bender and Friedman (2018), section 5"


def test_tripod_llm_has_the_items_of_the_guideline(facts: CardFacts) -> None:
    table = tripod_llm(facts)
    letters = {3: "ab", 5: "abcde", 6: "abcde", 7: "abcde", 8: "abc", 9: "ab", 14: "abcdef", 16: "abcd", 19: "abcdefg"}
    numbers = [f"{number}{letter}" for number in range(1, 20) for letter in letters.get(number, ("",))]
    assert [item.number for item in ITEMS] == numbers, "Gallifant et al. (2025), Table 2"
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines() if re.match(r"\| \d", line)}
    assert list(rows) == numbers
    for number, said in {
        "5b": "ward: 17 trained on, 3 chosen by, 2 tested on", "5e": "5 discontinuous of 321 mentions", "6a": "feedbeef",
        "6b": "decoder crf",
        "12": "61 s on 2 device(s)", "14f": "commit abc1234", "17": "strict F1 0.750", "18": "versions.torch: 1 -> 2",
    }.items():  # fmt: skip
        assert said in rows[number]
    for number in ("13", "14a", "15", "8b", "7d"):
        assert rows[number].endswith(f"| - | {AUTHORS} |")
    for number in ("9a", "10", "11"):
        assert "does not apply" in rows[number]
        assert AUTHORS not in rows[number]


def test_a_decoder_has_prompts_and_outcomes(facts: CardFacts) -> None:
    settings = SETTINGS | {"model": {"class_path": "clinical_ie.modules.InstructionGenerator", "init_args": {"constrained": True}}}
    entry = next(facts.entries())[3]
    entry.outcomes = {"truncated": 3}
    table = tripod_llm(CardFacts("mine", facts.results, settings, facts.corpora, facts.documents))
    assert "prompts.json" in table
    assert "constrained by a grammar" in table
    assert "3 truncated" in table
    assert table.count("does not apply") == 1, "nothing is summarized"


def test_no_card_names_a_document_a_disk_or_words_of_a_note(facts: CardFacts) -> None:
    for write in (model_card, data_statement, tripod_llm):
        text = write(facts)
        for hidden in ("patient1", "patient2", "/secret", "secret", "zosterpain"):
            assert hidden not in text, write.__name__


def test_an_empty_run_claims_nothing() -> None:
    facts = CardFacts("mine", Results(run={"fingerprint": "x"}), {}, {}, {})
    assert "Nothing was scored" in model_card(facts)
    assert "0.000" not in model_card(facts)
    assert AUTHORS in data_statement(facts) or "## " not in data_statement(facts)
    assert not re.search(r"strict F1 \d", tripod_llm(facts))
