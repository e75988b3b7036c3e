"""PHEE: pharmacovigilance events in sentences of case reports."""

from __future__ import annotations

from pathlib import Path

from clinical_ie.corpora.corpus import Corpus, entity_types, require
from clinical_ie.corpora.splits import SPLITS, Split, named_parts
from clinical_ie.document import Document
from clinical_ie.formats import phee
from clinical_ie.formats.findings import Findings
from clinical_ie.schema import AttributeType, RelationType, Schema, arguments

_TRIGGERS = {
    "Adverse_event": "What says that a treatment did harm.",
    "Potential_therapeutic_event": "What says that a treatment helped or may help.",
    "Treatment.Combination": "What says that drugs were given together.",
}
_PARTICIPANTS = {
    "Subject": "The patient or patients.",
    "Treatment": "The treatment as described.",
}
_EFFECT = {"Effect": "What the treatment led to."}
_DETAILS = {
    "Subject.Age": "Age of the patient.",
    "Subject.Gender": "Gender of the patient.",
    "Subject.Population": "Number of patients.",
    "Subject.Race": "Race or nationality of the patient.",
    "Subject.Disorder": "A disorder of the patient that is not the reason of the treatment.",
    "Treatment.Drug": "The drug.",
    "Treatment.Dosage": "Its amount.",
    "Treatment.Route": "Its route.",
    "Treatment.Freq": "How often it is given.",
    "Treatment.Duration": "How long it is given.",
    "Treatment.Time_elapsed": "The time between treatment and effect.",
    "Treatment.Disorder": "What it is given for.",
}
_COMBINATION = {"Combination.Drug": "A drug that is given together with others."}
_CUES = {
    "Severity": "What tells how severe the event is.",
    "Negated": "What says that the event did not happen.",
    "Speculated": "What says that the event is uncertain.",
}
_EVENTS = ("Adverse_event", "Potential_therapeutic_event")
_ROLES = {**_PARTICIPANTS, **_EFFECT, **_DETAILS, **_CUES}


class Phee(Corpus):
    """PHEE with its official split; sentences of one article stay together where a split is drawn."""

    name = "phee"
    licence = "MIT"
    citation = "Sun Z et al. PHEE: a dataset for pharmacovigilance event extraction from text. EMNLP 2022"
    declared = Schema(
        entity_types(
            {
                "triggers": _TRIGGERS,
                "participants": _PARTICIPANTS,
                "effect": _EFFECT,
                "details": _DETAILS,
                "combination": _COMBINATION,
                "cues": _CUES,
            }
        ),
        arguments(
            *(RelationType(name, text, _EVENTS, (name,)) for name, text in _ROLES.items()),
            RelationType("Treatment.Combination", "Drugs given together.", _EVENTS, ("Treatment.Combination",)),
            RelationType("Combination.Drug", "A drug of the combination.", ("Treatment.Combination",), ("Combination.Drug",)),
        ),
        (
            AttributeType("SeverityValue", "How severe.", ("High", "Medium", "Low"), ("Severity",)),
            AttributeType("NegatedValue", "Negated.", ("True",), ("Negated",)),
            AttributeType("SpeculatedValue", "Speculated.", ("True",), ("Speculated",)),
        ),
        (*_EVENTS, "Treatment.Combination"),
    )

    def folders(self) -> dict[Split, list[Path]]:
        """The official files."""
        named = named_parts(self.root, ".json")
        return {split: [require(named.get(split), self.root, f"{split}.json")] for split in SPLITS}

    def load(self, path: Path, findings: Findings) -> list[Document]:
        """PHEE JSON lines."""
        return phee.read(path, findings)

    def group(self, document_id: str) -> str:
        """The article (PubMed id) that a sentence comes from."""
        return document_id.partition("_")[0]
