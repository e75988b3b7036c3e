"""Whose notes may be shown for whom; what they look like in a prompt is tested with instructions."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import SettingError
from clinical_ie.formats import jsonl
from clinical_ie.schema import EntityType, Schema
from clinical_ie.tasks.demonstrations import Demonstrations

WARD, OTHER = Schema((EntityType("Drug"), EntityType("Dose"))), Schema((EntityType("Drug"), EntityType("Route")))


@pytest.fixture
def notes(tmp_path: Path) -> str:
    jsonl.write([Document("a", "one aspirin", (Entity("T1", "Dose", Span.of(0, 3)),))], tmp_path / "ward.jsonl")
    return str(tmp_path / "ward.jsonl")


def test_notes_of_a_corpus_are_shown_for_it_alone(notes: str) -> None:
    Demonstrations(notes).check({"ward": WARD}, training=True)
    Demonstrations({"ward": notes}).check({"ward": WARD, "other": OTHER}, training=True)
    assert [Demonstrations({"ward": notes}).of(name) for name in ("ward", "other")] == [notes, None]
    assert [bool(Demonstrations(files)) for files in (None, {}, notes, {"ward": notes})] == [False, False, True, True]


def test_others_are_refused(notes: str) -> None:
    with pytest.raises(SettingError, match=r"one file for 2 corpora; give one for each, {ward: FILE, other: FILE}"):
        Demonstrations(notes).check({"ward": WARD, "other": OTHER}, training=True)
    for files in (notes, {"other": notes}):
        with pytest.raises(SettingError, match=r"is shown for other, whose schema does not know Dose; give notes of other"):
            Demonstrations(files).check({"other": OTHER}, training=False)
    with pytest.raises(SettingError, match=r"names corpus 'wrad'; the corpora are ward; did you mean 'ward'"):
        Demonstrations({"wrad": notes}).check({"ward": WARD}, training=True)
    Demonstrations({"ward": notes}).check({"other": OTHER}, training=False)
