"""Grammars of instructions accept their gold answers."""

from __future__ import annotations

import pytest

from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import SettingError
from clinical_ie.schema import EntityType, RelationType, Schema
from clinical_ie.tasks.task import Source
from tests.tasks.instruction_round_trip import WAYS, Characters, Corpus, accepted, discontinuous, task_of

CONSTRAINABLE = [(kind, response) for kind, response in WAYS if response in ("lines", "grouped", "inline", "markup")]


@pytest.mark.parametrize(("kind", "response"), CONSTRAINABLE)
def test_grammars_accept_gold_answers_of_demo_notes(kind: str, response: str, demo: Corpus) -> None:
    """All but those with discontinuous mentions, which cannot be copied in one piece."""
    documents, source = demo
    for document in documents:
        for example in task_of(kind, response).examples(document, source):
            sayable = kind == "relations" or response in ("inline", "markup")  # which leaves them out, and counts them
            assert accepted(example) == (sayable or not discontinuous(document, example.segment))


def inside_a_word(document: Document, span: tuple[int, int]) -> bool:
    """Whether a mention begins inside a word or with white space."""
    starts = [entity.start for entity in document.entities if span[0] <= entity.start and entity.end <= span[1]]
    return any(document.text[at].isspace() or (at and document.text[at - 1].isalpha() and document.text[at].isalpha()) for at in starts)


@pytest.mark.parametrize(("kind", "response"), CONSTRAINABLE)
def test_grammars_accept_gold_answers_of_real_notes(kind: str, response: str, real: Corpus) -> None:
    """The others have discontinuous mentions (MACCROBAT), or mentions that begin inside a word (UW: "non|smoker")."""
    documents, source = real
    refused, count = 0, 0
    for document in documents[:20]:
        for example in task_of(kind, response).examples(document, source):
            count += 1
            if not accepted(example):
                refused += 1
                assert kind != "relations"
                assert discontinuous(document, example.segment) or inside_a_word(document, example.segment)
    assert refused <= 0.1 * count


def test_types_that_cannot_be_tags_are_refused() -> None:
    """Where they would be tags: not among links, and not in other syntaxes."""
    schema = Schema((EntityType("Dose>5"), EntityType("Drug")), (RelationType("Of", "", ("Dose>5",), ("Drug",)),))
    document = Document("d", "one aspirin", (Entity("T1", "Dose>5", Span.of(0, 3)), Entity("T2", "Drug", Span.of(4, 11))))
    source = Source("here", schema, Characters())
    for kind in ("entities", "joint"):
        with pytest.raises(SettingError, match=r"Dose>5.*grouped"):
            task_of(kind, "markup").examples(document, source)
        assert task_of(kind, "inline").examples(document, source)
        assert task_of(kind, "grouped").examples(document, source)
    assert task_of("relations", "markup").examples(document, source)


@pytest.mark.parametrize("response", ["json", "bio"])
def test_other_syntaxes_have_no_grammar(response: str, demo: Corpus) -> None:
    documents, source = demo
    assert all(example.grammar is None for example in task_of("entities", response).examples(documents[0], source))
