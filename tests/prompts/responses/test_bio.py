"""Words of the text with a BIO tag each."""

from __future__ import annotations

from clinical_ie.prompts.answers import Answer, Mention
from tests.prompts.responses.response_cases import VOCABULARY, made


def test_words_are_tagged_one_by_one() -> None:
    text = "x-ray 10mg"
    kind = made("bio")
    mentions = (Mention("Drug", "x-ray", (0, 5)), Mention("Dose", "10", (6, 8)), Mention("Dose", "mg", (8, 10)))
    assert kind.render(Answer(mentions), text, VOCABULARY) == "x\tB-Drug\n-\tI-Drug\nray\tI-Drug\n10\tB-Dose\nmg\tB-Dose"


def test_tagged_words_say_no_overlap() -> None:
    kind = made("bio")
    mentions = (
        Mention("Drug", "a b", (0, 3)),
        Mention("Dose", "b", (2, 3)),
        Mention("Dose", "c ... d", (4, 11)),
        Mention("T1", "e", (12, 13)),
    )
    assert set(kind.inexpressible(mentions, "a b c x x d e")) == {1, 2}


def test_a_mention_that_crosses_only_inexpressible_ones_can_be_tagged() -> None:
    """What is not said covers nothing."""
    kind = made("bio")
    mentions = (Mention("Drug", "a b", (0, 3)), Mention("Drug", "b c", (2, 5)), Mention("Drug", "c d", (4, 7)))
    assert 2 not in kind.inexpressible(mentions, "a b c d")


def test_a_tag_without_a_word_is_no_mention() -> None:
    parsed = made("bio").parse("a\tO\n\tB-Drug\nb\tO", VOCABULARY)
    assert not parsed.mentions
    assert parsed.problems


def test_an_inside_tag_behind_another_type_begins_a_mention() -> None:
    parsed = made("bio").parse("a\tB-Drug\nb\tI-Dose\nc\tO\nd\tI-T1", VOCABULARY)
    assert [(mention.type, mention.text, mention.at) for mention in parsed.mentions] == [
        ("Drug", "a", (0, 1)), ("Dose", "b", (1, 2)), ("T1", "d", (3, 4)),
    ]  # fmt: skip
