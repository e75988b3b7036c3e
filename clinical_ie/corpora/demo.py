"""The embedded corpus: invented discharge notes that need no agreement and no download."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clinical_ie.corpora.corpus import Corpus, entity_types
from clinical_ie.corpora.splits import SPLITS, Split
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.formats import jsonl
from clinical_ie.formats.findings import Findings
from clinical_ie.schema import AttributeType, RelationType, Schema, arguments

_HANDS = 5
_CONCEPTS = {
    "Problem": "A disease, symptom, finding or reaction of the patient or, if so asserted, of a relative.",
    "Test": "An examination, image, laboratory test or measured quantity.",
    "Result": "What a test gave.",
    "Drug": "A medication by any name.",
    "Dosage": "How much is taken at a time, the strength included.",
    "Route": "How a medication enters the body.",
    "Frequency": "How often something is taken or done.",
    "Duration": "For how long.",
    "Amount": "How much is smoked or drunk.",
    "Occupation": "The kind of work.",
}
_ANATOMY = {"Anatomy": "A part of the body inside the mention of a problem."}
_TRIGGERS = {"Tobacco": "Use of tobacco.", "Alcohol": "Use of alcohol.", "Employment": "Work or the lack of it."}
_STATUS = {"Status": "What tells whether it is current, past or none."}
_DRUG, _PROBLEM, _TEST = ("Drug",), ("Problem",), ("Test",)


class Demo(Corpus):
    """About 120 invented notes in five hands, gold by construction; the test notes hold words that no other note has.

    Args:
        root: Another folder of such notes.
        corpus_name: What tables and files call it.
        hands: Only the notes of these hands, from 0 to 4: parts that share no hand are corpora as different as two wards.
        entity_types: Only these types.
        flat: Only mentions that do not overlap.
        rename: Other names for types, relations and roles; old name -> new name.

    Raises:
        SettingError: No such hand.
    """

    name = "demo"
    licence = "Apache-2.0"
    citation = "clinical_ie, demo corpus (invented notes)"
    declared = Schema(
        entity_types({"concepts": _CONCEPTS, "anatomy": _ANATOMY, "triggers": _TRIGGERS, "status": _STATUS}),
        (
            RelationType("Dosage", "The dosage of the drug.", ("Dosage",), _DRUG),
            RelationType("Route", "The route of the drug.", ("Route",), _DRUG),
            RelationType("Frequency", "How often the drug is taken.", ("Frequency",), _DRUG),
            RelationType("Duration", "How long the drug is taken, or the problem lasts.", ("Duration",), ("Drug", "Problem")),
            RelationType("Reason", "The problem is why the drug is given.", _PROBLEM, _DRUG),
            RelationType("ADE", "The problem is an adverse event of the drug.", _PROBLEM, _DRUG),
            RelationType("ResultOf", "The result of the test.", ("Result",), _TEST),
            RelationType("Reveals", "The test reveals the problem.", _TEST, _PROBLEM),
            RelationType("LocatedAt", "Where the problem is.", _PROBLEM, ("Anatomy",)),
            *arguments(
                RelationType("Frequency", "How often it is done.", tuple(_TRIGGERS), ("Frequency",)),
                RelationType("Status", "Current, past or none.", tuple(_TRIGGERS), ("Status",)),
                RelationType("Amount", "How much.", ("Tobacco", "Alcohol"), ("Amount",)),
                RelationType("Type", "What kind of work.", ("Employment",), ("Occupation",)),
            ),
        ),
        (
            AttributeType("Assertion", "Other than present.", ("absent", "possible", "family", "hypothetical"), _PROBLEM),
            AttributeType("StatusValue", "The value of a status.", ("current", "past", "none"), ("Status",)),
        ),
        tuple(_TRIGGERS),
    )

    def __init__(
        self,
        root: str | None = None,
        *,
        corpus_name: str = "demo",
        hands: list[int] | None = None,
        entity_types: list[str] | None = None,
        flat: bool = False,
        rename: dict[str, str] | None = None,
    ) -> None:
        if hands is not None and (not hands or not set(hands) <= set(range(_HANDS))):
            raise SettingError(f"{corpus_name}: hands are {hands}; expected some of 0 to {_HANDS - 1}")
        self.name = corpus_name  # type: ignore[misc]  # parts of it are corpora of their own
        self._hands = None if hands is None else frozenset(hands)
        super().__init__(root or str(Path(__file__).parent / "demo_notes"), entity_types=entity_types, flat=flat, rename=rename)

    def folders(self) -> dict[Split, list[Path]]:
        """The files of the package."""
        return {split: [self.root / f"{split}.jsonl"] for split in SPLITS}

    def load(self, path: Path, findings: Findings) -> Iterator[Document]:
        """JSON lines; notes take turns of hands by their number."""
        for document in jsonl.stream(path, findings):
            if self._hands is None or int(document.id.rpartition("-")[2]) % _HANDS in self._hands:
                yield document
