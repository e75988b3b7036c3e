"""UW social history on MTSamples: events with arguments, the predecessor of SHAC."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from clinical_ie.corpora.corpus import BratCorpus, entity_types, require
from clinical_ie.corpora.splits import SPLITS, Split, named_parts
from clinical_ie.schema import AttributeType, RelationType, Schema, arguments

_TRIGGERS = {
    "Tobacco": "Use of tobacco: what shows that it is spoken of.",
    "Alcohol": "Use of alcohol.",
    "Drug": "Use of drugs that are not prescribed.",
    "Occupation": "Work, school, retirement or unemployment.",
    "MaritalStatus": "Married, divorced, widowed or single.",
    "Residence": "Where the patient lives.",
    "LivingSituation": "With whom the patient lives, or in what kind of home.",
    "EnvironmentalExposure": "Exposure to harmful substances.",
    "PhysicalActivity": "Exercise.",
    "WeightManagement": "Diets and attempts to change weight.",
    "SexualHistory": "Sexual activity and history.",
    "InfectiousDiseases": "Exposure to or risk of infectious diseases.",
}
_FAMILY = {"Family": "Relatives: children, siblings, parents."}
_STATUS = {"StatusTime": "What tells whether the event is current, past, future or does not apply."}
_MANNER = {
    "Method": "How: smoked, chewed, injected; with whom the patient lives.",
    "Location": "Where the event takes place.",
    "LivingStatus": "Whether a relative is alive or has died.",
}
_ARGUMENTS = {
    "Type": "What kind: cigarettes, beer, marijuana, truck driver, married.",
    "Amount": "How much.",
    "Frequency": "How often.",
    "Time": "When, or since when.",
    "History": "For how long, where neither exposure nor quitting is meant.",
    "ExposureHistory": "For how long or how much in total the substance has been used.",
    "QuitHistory": "How long ago the patient quit.",
    "MedicalCondition": "A disease of a relative.",
    "Extent": "To what extent, such as part time.",
    "Other": "Further detail of a relative.",
}
_SUBSTANCES = ("Tobacco", "Alcohol", "Drug")
_ALL = (*_TRIGGERS, "Family")
_NOT_FAMILY = tuple(name for name in _TRIGGERS)


class UWSocialHistory(BratCorpus):
    """Social history sections with 13 kinds of events, official train, dev and test folders.

    Triggers, families, status and arguments share their words by design, hence the layers.
    """

    name = "uw_social_history"
    licence = "free to use with citation; texts from MTSamples"
    citation = "Yetisgen M, Vanderwende L. Automatic identification of substance abuse from social history in clinical text. AIME 2017"
    declared = Schema(
        entity_types({"triggers": _TRIGGERS, "family": _FAMILY, "status": _STATUS, "manner": _MANNER, "arguments": _ARGUMENTS}),
        arguments(
            RelationType("Status", "Current, past, future or none.", _NOT_FAMILY, ("StatusTime",)),
            RelationType("Type", "What kind.", _ALL, ("Type", "StatusTime")),
            RelationType("Time", "When, or since when.", _ALL, ("Time",)),
            RelationType("Method", "How.", _NOT_FAMILY, ("Method",)),
            RelationType("Amount", "How much.", _ALL, ("Amount",)),
            RelationType("Frequency", "How often.", _NOT_FAMILY, ("Frequency",)),
            RelationType("History", "For how long.", (*_SUBSTANCES, "SexualHistory"), ("History",)),
            RelationType("ExposureHistory", "For how long used.", _SUBSTANCES, ("ExposureHistory",)),
            RelationType("QuitHistory", "How long ago given up.", _SUBSTANCES, ("QuitHistory",)),
            RelationType("Location", "Where.", ("Occupation", "Residence"), ("Location",)),
            RelationType("Extent", "To what extent.", ("Occupation",), ("Extent",)),
            RelationType("LivingStatus", "Whether alive.", ("Family",), ("LivingStatus",)),
            RelationType("MedicalCondition", "A disease of the relative.", ("Family",), ("MedicalCondition",)),
            RelationType("Other", "Further detail.", ("Family",), ("Other",)),
        ),
        (AttributeType("StatusTimeVal", "The value of a status.", ("current", "past", "future", "none", "unknown"), ("StatusTime",)),),
        _ALL,
    )
    meanings: ClassVar[Mapping[str, str]] = {
        "Drug": "DrugUse",  # a medication elsewhere
        "History": "EventHistory",  # earlier medical history elsewhere
        "LivingStatus": "VitalStatus",  # with whom the patient lives, in SHAC
        "Occupation": "Employment",  # SHAC's name; elsewhere the kind of work
        "Other": "RelativeDetail",
    }

    def folders(self) -> dict[Split, list[Path]]:
        """The official folders.

        Raises:
            InputError: They are not there.
        """
        named = named_parts(self.root)
        return {split: [require(named.get(split), self.root, "folders train, dev and test")] for split in SPLITS}
