"""MACCROBAT2020: 200 clinical case reports from PubMed Central."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from clinical_ie.corpora.corpus import BratCorpus, entity_types
from clinical_ie.corpora.splits import Split
from clinical_ie.schema import AttributeType, RelationType, Schema

_MENTIONS = {
    "Activity": "An activity of the patient, such as an exercise or a habit in action.",
    "Administration": "How a medication is given, such as its route or form.",
    "Age": "The age of the patient or of a relative.",
    "Area": "A size in two dimensions.",
    "Biological_attribute": "A property of a living thing that is neither sign nor measurement.",
    "Biological_structure": "A part of the body: organ, tissue, region or cell.",
    "Clinical_event": "A step of care: admission, discharge, visit, transfer, follow-up.",
    "Color": "A colour.",
    "Coreference": "A word that refers to another mention, such as 'the lesion'.",
    "Date": "A point in time, absolute or relative to another event.",
    "Detailed_description": "A finer description of another mention.",
    "Diagnostic_procedure": "A test, examination, image or measured quantity.",
    "Disease_disorder": "A disease, disorder or abnormal state with a name.",
    "Distance": "A length or distance.",
    "Dosage": "The amount of a medication or of radiation.",
    "Duration": "How long something lasts.",
    "Frequency": "How often something happens.",
    "Height": "The height of a person.",
    "Lab_value": "The result of a test or measurement.",
    "Mass": "A mass that is not the weight of a person.",
    "Medication": "A drug or a class of drugs.",
    "Nonbiological_location": "A place outside the body, such as a hospital or country.",
    "Occupation": "An occupation.",
    "Other_entity": "A thing of clinical interest that fits no other type.",
    "Other_event": "An event of clinical interest that fits no other type.",
    "Outcome": "How the case ended.",
    "Personal_background": "Origin or social background of the patient.",
    "Qualitative_concept": "A quality without a number.",
    "Quantitative_concept": "A quantity without a more specific type.",
    "Severity": "How severe a disease or symptom is.",
    "Sex": "The sex of the patient.",
    "Shape": "A shape.",
    "Sign_symptom": "A symptom that the patient reports or a sign that an examiner finds.",
    "Subject": "A person other than the patient.",
    "Texture": "A texture or consistency.",
    "Therapeutic_procedure": "A procedure that treats, such as surgery.",
    "Time": "A time of day.",
    "Volume": "A volume.",
    "Weight": "The weight of a person.",
}
_HISTORY = {
    "History": "A stretch of text that tells earlier medical history of the patient.",
    "Family_history": "A stretch of text that tells medical history of relatives.",
}
_EVENTS = (
    "Activity", "Clinical_event", "Coreference", "Date", "Diagnostic_procedure", "Disease_disorder", "Duration",
    "Lab_value", "Medication", "Other_event", "Outcome", "Sign_symptom", "Therapeutic_procedure", "Time",
)  # fmt: skip
_PROCEDURES = ("Coreference", "Diagnostic_procedure", "Medication", "Therapeutic_procedure")


class Maccrobat(BratCorpus):
    """MACCROBAT2020, no official split.

    History spans embrace mentions of other types and so have a layer of their own.
    """

    name = "maccrobat"
    licence = "CC BY 4.0"
    citation = (
        "Caufield JH et al. A comprehensive typing system for information extraction from clinical narratives. medRxiv 19009118 (2019)"
    )
    declared = Schema(
        entity_types({"mentions": _MENTIONS, "history": _HISTORY}),
        (
            RelationType("AFTER", "The head happens after the tail."),
            RelationType("BEFORE", "The head happens before the tail."),
            RelationType("CAUSE", "The head causes the tail."),
            RelationType("CO-OCCURRENCE", "Both happen at the same time."),
            RelationType("IDENTICAL", "Both mean the same thing."),
            RelationType("MODIFY", "The head describes the tail more closely."),
            RelationType("SUB_PROCEDURE", "The head is a part of the tail.", _PROCEDURES, _PROCEDURES),
            RelationType("OVERLAP", "The members of the group overlap in time."),
        ),
        (
            AttributeType("POLARITY", "Whether it is denied or doubted.", ("NEG", "POS", "UNCERTAIN", "MAYBE_NEG", "MAYBE_POS"), _EVENTS),
            AttributeType("TREND", "Which way it develops.", ("INC", "DEC", "STAY"), _EVENTS),
        ),
        _EVENTS,
    )
    meanings: ClassVar[Mapping[str, str]] = {
        "Subject": "OtherPerson",
        "Time": "TimeOfDay",
    }  # the patient in PHEE; any point in time in social histories

    def folders(self) -> dict[Split, list[Path]]:
        """One folder; development and test documents are held out by seed."""
        return {"train": [self.root]}
