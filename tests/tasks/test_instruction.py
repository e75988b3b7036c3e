"""Segments and windows of instructions, their settings, and completions cut short."""

from __future__ import annotations

from collections import Counter

import pytest

from clinical_ie.document import Document, Span
from clinical_ie.errors import SettingError
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.instruction import Completion, EntityInstruction, JointInstruction
from clinical_ie.tasks.task import Source
from tests.tasks.instruction_round_trip import HERE, NEAR, NOTE, SHOWN, TASKS, Corpus, entities_of, said, task_of


@pytest.mark.parametrize("segment", [8, 20, 64, 1000])
def test_segments_hold_every_character_once(segment: int, demo: Corpus) -> None:
    documents, source = demo
    for document in [
        *documents,
        Document("odd", "  \n\t a b.\n\n\n c d e f g h. i j k l m n o p q r s t u v w x y z  \n"),
        Document("none", " \n"),
    ]:
        for kind in TASKS:
            examples = task_of(kind, "lines", segment=segment).examples(document, source)
            spans = [example.segment for example in examples]
            covered = [place for start, end in spans for place in range(start, end)]
            assert len(covered) == len(set(covered))
            assert {place for place, character in enumerate(document.text) if not character.isspace()} <= set(covered)
            for start, end in spans:
                assert document.text[start:end] == document.text[start:end].strip() != ""
            assert spans == sorted(spans)
            assert len({example.id for example in examples}) == len(examples)


@pytest.mark.parametrize("options", [{"segment": 7}, {"segment": 64, "window": 32}])
def test_settings_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(SettingError, match="segment"):
        EntityInstruction("lines", **options)  # type: ignore[arg-type]


def test_an_encoders_tokenizer_is_refused() -> None:
    class Encoder:
        prefix: list[int] = []  # noqa: RUF012
        suffix: list[int] = []  # noqa: RUF012

        def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
            return [], []

    with pytest.raises(SettingError, match="decoder"):
        JointInstruction("lines").examples(NOTE, Source("c", NEAR, Encoder()))


def test_answers_longer_than_the_window_are_counted_and_not_learned_from(demo: Corpus) -> None:
    documents, source = demo
    document = max(documents, key=lambda document: len(document.entities))
    whole = task_of("entities", "lines", segment=64).examples(document, source)
    window = max(len(example.prefix_ids) + len(example.input_ids) for example in whole) + 20
    coverage = Coverage()
    task = task_of("entities", "lines", segment=64, window=window)
    learned = task.examples(document, source, coverage, training=True)
    assert all(example.length <= window for example in learned)
    assert len(learned) < len(whole)
    left_out = {example.id for example in whole} - {example.id for example in learned}
    mentions = sum(said(example).count("\n") + 1 for example in whole if example.id in left_out)
    assert coverage.unrepresentable["the answer is longer than the window"] == mentions
    assert len(task.examples(document, source)) == len(whole), "asked all the same"
    with pytest.raises(SettingError, match="leaves no room"):
        task_of("entities", "lines", segment=64, window=64).examples(document, source)


def test_prompts_longer_than_the_window_stop_training_and_nothing_else(demo: Corpus) -> None:
    """One long note among those to be annotated is no reason to annotate none."""
    documents, source = demo
    document = max(documents, key=lambda document: len(document.entities))
    whole = task_of("entities", "lines", segment=64).examples(document, source)
    longest = max(whole, key=lambda example: len(example.input_ids))
    task = task_of("entities", "lines", segment=64, window=len(longest.prefix_ids) + len(longest.input_ids))
    coverage = Coverage()
    assert len(task.examples(document, source, coverage)) == len(whole)
    assert coverage.unrepresentable["the prompt is longer than the window"] == said(longest).count("\n") + 1
    with pytest.raises(SettingError, match="leaves no room"):
        task.examples(document, source, training=True)


def test_completions_cut_short_keep_what_is_whole() -> None:
    task = EntityInstruction("lines")
    (example,) = task.examples(SHOWN, HERE)
    outcomes = Counter[str]()
    cut = {example.id: Completion("Dose\tone\nDrug\tasp", truncated=True)}
    found = task.annotations(Document("s", SHOWN.text), [example], cut, NEAR, outcomes)
    assert entities_of(found) == Counter({("Dose", Span.of(0, 3)): 1})
    assert outcomes["completions truncated"] == 1
