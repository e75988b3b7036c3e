"""Demonstrations stand before the text, and look like its own questions and answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.document import Document, Entity, Span
from clinical_ie.formats import jsonl
from clinical_ie.schema import EntityType, Schema
from clinical_ie.tasks.task import Source
from tests.tasks.instruction_round_trip import HERE, NEAR, NOTE, SHOWN, WAYS, Characters, said, spelled, task_of

ANSWERS = {
    ("entities", "lines"): "Dose\tone\nDrug\taspirin", ("entities", "grouped"): "Drug\t aspirin\nDose\t one",
    ("entities", "json"): '{"mentions":[["Dose","one"],["Drug","aspirin"]]}',
    ("entities", "markup"): "<Dose>one</Dose> <Drug>aspirin</Drug>", ("entities", "bio"): "one\tB-Dose\naspirin\tB-Drug",
    ("entities", "inline"): "{one|Dose} {aspirin|Drug}", ("relations", "inline"): ">Of\t1 2",
    ("joint", "inline"): "{one|Dose:1} {aspirin|Drug:2}\n>Of\t1 2",
    ("relations", "lines"): ">Of\t1 2", ("relations", "grouped"): ">Of\t1 2", ("relations", "json"): '{"links":[["Of",1,2]]}',
    ("relations", "markup"): ">Of\t1 2",
    ("joint", "lines"): "Dose\tone\nDrug\taspirin\n>Of\t1 2", ("joint", "grouped"): "Drug\t aspirin\nDose\t one\n>Of\t2 1",
    ("joint", "json"): '{"mentions":[["Dose","one"],["Drug","aspirin"]],"links":[["Of",1,2]]}',
    ("joint", "markup"): "<Dose>one</Dose> <Drug>aspirin</Drug>\n>Of\t1 2",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "response"), WAYS)
def test_demonstrations_stand_before_the_text(kind: str, response: str, tmp_path: Path) -> None:
    jsonl.write([SHOWN], tmp_path / "shown.jsonl")
    task = task_of(kind, response, demonstrations=str(tmp_path / "shown.jsonl"))
    (example,) = task.examples(NOTE, HERE)
    prefix = spelled(example.prefix_ids)
    answer = ANSWERS[kind, response]
    assert "one aspirin" in prefix
    assert prefix.count(answer) == 1
    assert prefix.index("one aspirin") < prefix.index(answer)
    assert "heparin" not in prefix
    (shown,) = task_of(kind, response).examples(SHOWN, HERE)
    assert said(shown) == answer


@pytest.mark.parametrize("response", ["lines", "grouped", "json", "inline", "markup"])
def test_demonstrations_of_links_number_the_mentions_they_refer_to(response: str, tmp_path: Path) -> None:
    """An answer ``1 2`` says nothing where no mention is numbered."""
    jsonl.write([SHOWN], tmp_path / "shown.jsonl")
    (example,) = task_of("relations", response, demonstrations=str(tmp_path / "shown.jsonl")).examples(NOTE, HERE)
    (question,) = task_of("relations", response).examples(SHOWN, HERE)
    assert spelled(question.input_ids).strip() in spelled(example.prefix_ids)


def test_each_corpus_is_shown_notes_of_its_own(tmp_path: Path) -> None:
    """With one file for all, a note of another corpus stood in the question with what names coincide: it taught to leave the rest out."""
    other = Schema((EntityType("Drug", "x"), EntityType("Route", "y")))
    jsonl.write([SHOWN], tmp_path / "near.jsonl")
    jsonl.write(
        [Document("o", "oral warfarin", (Entity("T1", "Route", Span.of(0, 4)), Entity("T2", "Drug", Span.of(5, 13))))],
        tmp_path / "other.jsonl",
    )
    task = task_of("entities", "inline", demonstrations={name: str(tmp_path / f"{name}.jsonl") for name in ("near", "other")})
    prefixes = {
        name: spelled(task.examples(NOTE, Source(name, schema, Characters()))[0].prefix_ids)
        for name, schema in (("near", NEAR), ("other", other), ("third", NEAR))
    }
    assert {name: ("{one|Dose} {aspirin|Drug}" in text, "{oral|Route} {warfarin|Drug}" in text) for name, text in prefixes.items()} == {
        "near": (True, False),
        "other": (False, True),
        "third": (False, False),
    }
    assert [bool(task.spec(name, schema).demonstrations) for name, schema in (("near", NEAR), ("other", other), ("third", NEAR))] == [
        True,
        True,
        False,
    ]
