"""Demonstrations out of the shots of a run: of the shots only, never of the text that is asked about."""

from __future__ import annotations

import math
import random

import pytest

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.tasks.demonstrations import Demonstrations
from clinical_ie.tasks.shot_demonstrations import ShotDemonstrations, ShotSegments, excerpt
from tests.tasks.instruction_round_trip import HERE, NOTE, SHOWN, Characters, spelled, task_of


def note(name: str, text: str) -> Document:
    return Document(name, text, (Entity("T1", "Drug", Span.of(0, 4)),))


SHOTS = [
    note("a", "iron for anaemia"),
    note("b", "zinc for a cold"),
    note("c", "iron and zinc daily"),
    note("d", "iron iron iron iron for the cold"),
    Document("e", "a cold"),
]


def chosen(text: str, document: str = "", *, by: str = "similarity", count: int = 2, seed: int = 0) -> list[str]:
    segments = ShotSegments(SHOTS, Characters(), 64, random.Random(seed))
    return [one.id for one in segments.choose(ShotDemonstrations(count, by), document or text, text)]  # type: ignore[arg-type]


def test_the_likest_by_tf_idf_stand_last() -> None:
    """By hand: four segments with mentions; idf is ln(5 / (1 + df)) + 1."""
    idf = {"iron": math.log(5 / 4) + 1, "anaemia": math.log(5 / 2) + 1, "for": math.log(5 / 4) + 1}
    asked = [idf["iron"], idf["anaemia"]]
    a = [idf["iron"], idf["anaemia"], idf["for"]]
    cosine = sum(x * x for x in asked) / math.sqrt(sum(x * x for x in asked)) / math.sqrt(sum(x * x for x in a))
    segments = ShotSegments(SHOTS, Characters(), 64, random.Random(0))
    assert segments.similarities("Iron: anaemia?")[0] == pytest.approx(cosine)
    assert chosen("Iron: anaemia?") == ["d#0", "a#0"]
    assert chosen("a cold, zinc", count=1) == ["b#0"]
    assert chosen("zinc daily", count=9) == [*chosen("zinc daily", count=9)[:2], "b#0", "c#0"], "what has no mention is not shown"


def test_those_at_random_are_the_same_for_all_texts_and_nested() -> None:
    for seed in range(5):
        orders = [chosen(text, by="random", count=count, seed=seed) for text in ("iron", "zinc") for count in (1, 2, 4)]
        assert orders[:3] == orders[3:]
        assert orders[0] == orders[1][:1] == orders[2][:1]
        assert sorted(orders[2]) == ["a#0", "b#0", "c#0", "d#0"]
    assert len({tuple(chosen("x", by="random", seed=seed)) for seed in range(9)}) > 3


@pytest.mark.parametrize("by", ["similarity", "random"])
def test_no_part_of_the_text_itself_is_shown(by: str) -> None:
    for shot in SHOTS[:4]:
        assert f"{shot.id}#0" not in chosen(shot.text, by=by, count=4)
        assert len(chosen(shot.text, by=by, count=4)) == 3
        assert f"{shot.id}#0" in chosen(shot.text, "a longer note that holds it", by=by, count=4)


def test_an_excerpt_has_what_lies_in_it() -> None:
    document = Document(
        "d",
        "one two three four",
        (
            Entity("T1", "A", Span.of(0, 3)),
            Entity("T2", "A", Span.of(4, 7)),
            Entity("T3", "B", Span.of(8, 13)),
            Entity("T4", "B", Span(((8, 10), (14, 18)))),
        ),
        (Relation("R1", "Of", "T2", "T3"), Relation("R2", "Of", "T1", "T2")),
        (Event("E1", "A", "T2", (("With", "T3"), ("From", "T1"))), Event("E2", "A", "T1")),
        attributes=(Attribute("A1", "Sure", "T3", "yes"), Attribute("A2", "Sure", "T1", "no"), Attribute("A3", "Sure", "E1", "no")),
    )  # fmt: skip
    assert excerpt(document, (4, 13), 3) == Document(
        "d#3",
        "two three",
        (Entity("T2", "A", Span.of(0, 3)), Entity("T3", "B", Span.of(4, 9))),
        (Relation("R1", "Of", "T2", "T3"),),
        (Event("E1", "A", "T2", (("With", "T3"),)),),
        attributes=(Attribute("A1", "Sure", "T3", "yes"), Attribute("A3", "Sure", "E1", "no")),
    )


@pytest.mark.parametrize("training", [False, True])
def test_a_prompt_shows_the_shots_and_not_itself(training: bool) -> None:
    task = task_of("entities", "inline", shot_demonstrations=ShotDemonstrations(3))
    plain = task_of("entities", "inline")
    assert spelled(task.examples(NOTE, HERE)[0].prefix_ids) == spelled(plain.examples(NOTE, HERE)[0].prefix_ids), "none are offered"
    task.demonstrations.offer(HERE.corpus, [SHOWN, NOTE])
    for asked, shown, other in ((NOTE, SHOWN, NOTE), (SHOWN, NOTE, SHOWN)):
        (example,) = task.examples(asked, HERE, training=training)
        prefix = spelled(example.prefix_ids)
        assert shown.text.split()[-1] in prefix
        assert other.text not in prefix
        (question,) = plain.examples(shown, HERE)
        assert spelled(question.response[:-1]) in prefix


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="count is 0; expected 1 or more"):
        ShotDemonstrations(0)
    with pytest.raises(SettingError, match="names files, and shot_demonstrations shows shots"):
        Demonstrations("notes.jsonl", ShotDemonstrations(1))
