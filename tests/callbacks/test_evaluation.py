"""What can only end in zeros or late is refused before training; scores themselves are tested where runs are."""

from types import SimpleNamespace
from typing import Any, Literal

import pytest

from clinical_ie.callbacks.evaluation import Evaluation, deciding
from clinical_ie.data.mixing import Mixing
from clinical_ie.errors import SettingError
from clinical_ie.schema import EntityType, RelationType, Schema, arguments
from clinical_ie.tasks.task import SourceName

TYPES = (EntityType("Tobacco"), EntityType("Amount"))
AMOUNT = RelationType("Amount", heads=("Tobacco",))
EVENTS = Schema(TYPES, arguments(AMOUNT), events=("Tobacco",))
RELATIONS = Schema(TYPES, (AMOUNT,))
BOTH = Schema(TYPES, (RelationType("Of"), *arguments(AMOUNT)), events=("Tobacco",))


def data(finds: Literal["entities", "relations"], **schemas: Schema) -> Any:
    sources = [SourceName(name, "asked") for name in schemas]
    tasks = {"asked": SimpleNamespace(finds=finds)}
    return SimpleNamespace(corpora=schemas, corpora_left_out=[], sources=sources, tasks=tasks, schema_of=schemas.get)


@pytest.mark.parametrize(
    ("rules", "finds", "schema", "reason"),
    [
        ("shac-2022", "relations", EVENTS, None),
        ("shac-2022", "relations", RELATIONS, "its schema has no events"),
        ("shac-2022", "entities", EVENTS, "the task finds mentions"),
        ("n2c2-2018", "relations", EVENTS, "all its links are arguments of events"),
        ("n2c2-2018", "relations", RELATIONS, None),
        ("n2c2-2018", "relations", BOTH, None),
        ("n2c2-2018", "entities", EVENTS, None),
        ("strict-one-to-one", "relations", EVENTS, None),
        ("strict-one-to-one", "entities", RELATIONS, None),
    ],
)
def test_rules_that_count_nothing_of_a_corpus(
    rules: str, finds: Literal["entities", "relations"], schema: Schema, reason: str | None
) -> None:
    evaluation = Evaluation(rules=rules)
    if reason is None:
        evaluation.check(data(finds, ward=schema))
        return
    with pytest.raises(SettingError, match=rf"evaluation\.rules is {rules}, .* corpus ward: {reason}.*; give strict-one-to-one"):
        evaluation.check(data(finds, other=BOTH, ward=schema) if finds == "relations" else data(finds, ward=schema))


def test_each_corpus_may_have_rules_of_its_own() -> None:
    """As the study's comparison needs: n2c2-2018 for relations, shac-2022 for events, in one run."""
    evaluation = Evaluation(rules={"drugs": "n2c2-2018", "social": "shac-2022"})
    evaluation.check(data("relations", drugs=RELATIONS, social=EVENTS, other=BOTH))
    assert [evaluation.rules(SourceName(name, "asked")).name for name in ("drugs", "social", "other")] == [
        "n2c2-2018",
        "shac-2022",
        "strict-one-to-one",
    ]
    with pytest.raises(SettingError, match=r"evaluation\.rules is shac-2022, .* corpus social: its schema has no events"):
        evaluation.check(data("relations", drugs=RELATIONS, social=RELATIONS))
    with pytest.raises(SettingError, match=r"evaluation\.rules names 'drugs'; .*the corpora are social"):
        evaluation.check(data("relations", social=EVENTS))
    with pytest.raises(SettingError, match="no rule set 'shac'"):
        Evaluation(rules={"drugs": "shac"})


def test_a_task_may_have_rules_of_its_own() -> None:
    """As one decoder for both stages needs: events are counted of links, and nothing of mentions."""
    evaluation = Evaluation(rules={"link": "shac-2022", "drugs": "n2c2-2018", "drugs/find": "strict-one-to-one"})
    names = [(corpus, task) for corpus in ("drugs", "social") for task in ("find", "link")]
    assert [evaluation.rules(SourceName(*name)).name for name in names] == [
        "strict-one-to-one", "shac-2022", "strict-one-to-one", "shac-2022"
    ]  # fmt: skip


@pytest.mark.parametrize("samples", [-1, 1, 1_000_001])
def test_numbers_of_samples_that_give_no_interval(samples: int) -> None:
    with pytest.raises(SettingError, match=r"evaluation\.interval_samples"):
        Evaluation(interval_samples=samples)
    assert [Evaluation(interval_samples=fine).interval_samples for fine in (0, 2, 1_000_000)] == [0, 2, 1_000_000]


def test_what_is_left_out_of_training_does_not_choose_the_best() -> None:
    sources = [SourceName(corpus, task) for corpus in ("learned", "left", "empty") for task in ("find", "link")]
    gold = {source: SimpleNamespace(gold=int(source.corpus != "empty")) for source in sources}

    def chosen(**options: Any) -> list[str]:
        run: Any = SimpleNamespace(mixing=Mixing(**options), coverage={"dev": gold})
        return [str(source) for source in deciding(sources, run)]

    assert chosen() == ["learned/find", "learned/link", "left/find", "left/link"]
    assert chosen(corpus_weights={"left": 0}) == ["learned/find", "learned/link"]
    assert chosen(corpus_weights={"left": 0}, task_weights={"link": 0.0}) == ["learned/find"]
    assert chosen(task_weights={"find": 0, "link": 0}) == [str(source) for source in sources]
