"""2018 n2c2 Track 2: medications, their attributes and adverse drug events."""

from __future__ import annotations

from pathlib import Path

from clinical_ie.corpora.corpus import BratCorpus, entity_types, first_existing, require
from clinical_ie.corpora.splits import Split, named_parts
from clinical_ie.schema import RelationType, Schema

_TYPES = {
    "Drug": "A medication by generic, brand or class name, given to the patient or discussed.",
    "Strength": "The amount of active substance in one unit of the medication.",
    "Form": "The form of the medication: tablet, capsule, solution.",
    "Frequency": "How often it is taken.",
    "Route": "How it enters the body.",
    "Dosage": "How much is taken at a time.",
    "Reason": "Why it is given.",
    "ADE": "An injury that its use results in.",
    "Duration": "For how long it is taken.",
}


class N2c2Medications2018(BratCorpus):
    """303 training and 202 test notes; the relations lead from each attribute to its drug."""

    name = "n2c2_2018"
    licence = "n2c2 data use agreement"
    citation = (
        "Henry S et al. 2018 n2c2 shared task on adverse drug events and medication extraction in electronic health records. "
        "JAMIA 27:3 (2020)"
    )
    declared = Schema(
        entity_types({"medications": _TYPES}),
        tuple(RelationType(f"{name}-Drug", f"The {name} belongs to the drug.", (name,), ("Drug",)) for name in _TYPES if name != "Drug"),
    )

    def folders(self) -> dict[Split, list[Path]]:
        """The official folders; a development part is held out of the training notes."""
        named = named_parts(self.root)
        train = first_existing(self.root, "training_20180910") or named.get("train")
        found: dict[Split, list[Path]] = {"train": [require(train, self.root, "a folder training_20180910 or train")]}
        if test := first_existing(self.root, "gold-standard-test-data/test") or named.get("test"):
            found["test"] = [test]
        if "dev" in named:
            found["dev"] = [named["dev"]]
        return found
