"""Writes the demo corpus: ``python -m clinical_ie.corpora.demo_notes.generate`` puts it beside this file again.

Same seed, same notes; a test compares them with what the package holds.
"""

from __future__ import annotations

import random
from pathlib import Path

from clinical_ie.corpora.demo_notes.lexicon import Words
from clinical_ie.corpora.demo_notes.markup import NoteWriter
from clinical_ie.corpora.demo_notes.sections import HANDS, Sections
from clinical_ie.document import Document
from clinical_ie.formats import jsonl

SEED = 2026
SIZES = {"train": 80, "dev": 15, "test": 25}
NOVELTY = {"train": 0.0, "dev": 0.0, "test": 0.4}
"""Chance that a word of a test note is one that no other note has, so that a dictionary is not enough."""
FOLDER = Path(__file__).parent


def note(split: str, rank: int, seed: int = SEED) -> Document:
    """One invented note."""
    dice = random.Random(f"{seed}/{split}/{rank}")
    writer = NoteWriter()
    hand = HANDS[rank % len(HANDS)]
    sections = Sections(writer, Words(dice, NOVELTY[split]), hand)
    service = " " * dice.randint(1, 12) + "Service: " + dice.choice(["Medicine", "MEDICINE", "Surgery", "Cardiology"])
    writer.plain(f"Admission Date: {hand.date}{service}\n\n")
    body = [sections.history, sections.course, sections.results, sections.medications]
    extra = [sections.allergies, sections.social]
    order = [sections.allergies, *body, sections.social] if dice.random() < 0.5 else [*body, *extra]
    for section in order:
        section()
    sections.plan()
    return writer.document(f"{split}-{rank:03d}")


def notes(split: str, seed: int = SEED) -> list[Document]:
    """All notes of a split."""
    return [note(split, rank, seed) for rank in range(SIZES[split])]


def main() -> None:
    """Write the files that the package ships."""
    for split in SIZES:
        jsonl.write(notes(split), FOLDER / f"{split}.jsonl")


if __name__ == "__main__":
    main()
