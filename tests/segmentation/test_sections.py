from __future__ import annotations

import pytest

from clinical_ie.corpora import Demo
from clinical_ie.segmentation.sections import NO_HEADING, OTHER_HEADING, Sections


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SOCIAL HISTORY: lives alone", "social history"),
        ("Social History:\r\nlives alone", "social history"),
        ("social history -- lives alone", "social history"),
        ("== Social History ==\nlives alone", "social history"),
        ("Past Medical History\nasthma", "past medical history"),
        ("Discharge Medications:\naspirin", "medications"),
        ("PMH: asthma", "past medical history"),
        ("MR JOHN SMITH:\nwell", OTHER_HEADING),
        ("Temp: 37", NO_HEADING),
        ("He has a family history of asthma", NO_HEADING),
        ("WELL\nand so on", NO_HEADING),
    ],
)
def test_headings(text: str, expected: str) -> None:
    assert Sections.of(text).at(len(text) - 1) == expected


def test_a_note_is_cut_where_its_headings_stand() -> None:
    text = "Seen.\nALLERGIES: none\n\nPLAN: rest"
    found = Sections.of(text)
    assert [found.at(text.index(word)) for word in ("Seen", "ALLERGIES", "none", "PLAN", "rest")] == [
        NO_HEADING, "allergies", "allergies", "assessment and plan", "assessment and plan",
    ]  # fmt: skip


def test_every_hand_of_the_demo_corpus_has_sections() -> None:
    """Whatever form a writer's headings have, most of a note lies in a section that the list names."""
    for document in Demo().read("test"):
        found = Sections.of(document.text)
        places = [found.at(entity.start) for entity in document.entities]
        assert sum(name not in (NO_HEADING, OTHER_HEADING) for name in places) > 0.7 * len(places), document.id


def test_long_lines_cost_little() -> None:
    assert Sections.of(" " * 200_000 + "x" * 200_000 + "A " * 100_000).names == (NO_HEADING,)
