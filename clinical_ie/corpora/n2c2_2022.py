"""2022 n2c2 Track 2 (SHAC): social determinants of health as events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from clinical_ie.corpora.corpus import BratCorpus, entity_types, require
from clinical_ie.corpora.splits import SPLITS, Split, named_parts
from clinical_ie.schema import AttributeType, RelationType, Schema, arguments

_TRIGGERS = {
    "Alcohol": "Use of alcohol.",
    "Drug": "Use of drugs that are not prescribed.",
    "Tobacco": "Use of tobacco.",
    "Employment": "Work, school, retirement, disability or unemployment.",
    "LivingStatus": "With whom and in what kind of home the patient lives.",
}
_LABELLED = {
    "StatusTime": "What tells whether it is current, past or does not apply.",
    "StatusEmploy": "What tells the kind of employment.",
    "TypeLiving": "What tells with whom the patient lives, or that they are homeless.",
}
_SPANS = {
    "Amount": "How much.",
    "Duration": "For how long.",
    "Frequency": "How often.",
    "History": "When it was, or when it was given up.",
    "Method": "How a substance is taken.",
    "Type": "What kind of substance, or what kind of work or home.",
}
_SUBSTANCES = ("Alcohol", "Drug", "Tobacco")


class N2c2SocialHistory2022(BratCorpus):
    """SHAC with its official train, dev and test folders, of one source or of both."""

    name = "n2c2_2022"
    licence = "data use agreement of the University of Washington"
    citation = "Lybarger K et al. The 2022 n2c2/UW shared task on extracting social determinants of health. JAMIA 30:1367 (2023)"
    declared = Schema(
        entity_types({"triggers": _TRIGGERS, "labelled": _LABELLED, "arguments": _SPANS}),
        arguments(
            RelationType("Status", "Status of the event.", (*_SUBSTANCES, "LivingStatus", "Employment"), ("StatusTime", "StatusEmploy")),
            RelationType("StatusTime", "Status of the event.", (*_SUBSTANCES, "LivingStatus"), ("StatusTime",)),
            RelationType("StatusEmploy", "Kind of employment.", ("Employment",), ("StatusEmploy",)),
            RelationType("TypeLiving", "Kind of living.", ("LivingStatus",), ("TypeLiving",)),
            RelationType("Amount", "How much.", _SUBSTANCES, ("Amount",)),
            RelationType("Duration", "For how long.", tuple(_TRIGGERS), ("Duration",)),
            RelationType("Frequency", "How often.", _SUBSTANCES, ("Frequency",)),
            RelationType("History", "When.", tuple(_TRIGGERS), ("History",)),
            RelationType("Method", "How.", _SUBSTANCES, ("Method",)),
            RelationType("Type", "What kind.", tuple(_TRIGGERS), ("Type", "TypeLiving")),
        ),
        (
            AttributeType("StatusTimeVal", "The value of a status.", ("none", "current", "past", "future"), ("StatusTime",)),
            AttributeType(
                "StatusEmployVal",
                "The kind of employment.",
                ("employed", "unemployed", "retired", "on_disability", "student", "homemaker"),
                ("StatusEmploy",),
            ),
            AttributeType("TypeLivingVal", "The kind of living.", ("alone", "with_family", "with_others", "homeless"), ("TypeLiving",)),
        ),
        tuple(_TRIGGERS),
    )
    meanings: ClassVar[Mapping[str, str]] = {"Drug": "DrugUse", "History": "EventHistory", "LivingStatus": "LivingSituation"}

    def folders(self) -> dict[Split, list[Path]]:
        """The official folders, sources (``mimic``, ``uw``) inside them read together."""
        named = named_parts(self.root)
        return {split: [require(named.get(split), self.root, "folders train, dev, test")] for split in SPLITS}
