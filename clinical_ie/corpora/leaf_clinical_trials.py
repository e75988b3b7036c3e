"""Leaf Clinical Trials: eligibility criteria as events, relations and normalised values."""

from __future__ import annotations

from pathlib import Path

from clinical_ie.corpora.corpus import BratCorpus, entity_types
from clinical_ie.corpora.splits import Split
from clinical_ie.schema import AttributeType, RelationType, Schema, arguments

_CONCEPTS = {
    "Age": "The age of the patient.",
    "Allergy": "An allergy or intolerance.",
    "Birth": "The act of giving birth.",
    "Condition": "A disease, disorder, symptom or state of health.",
    "Contraindication": "A statement that something must not be given or done.",
    "Coreference": "A word that refers to another mention.",
    "Criteria-Count": "A number of criteria that must be met.",
    "Death": "Death.",
    "Drug": "A drug or class of drugs.",
    "Encounter": "A visit, admission or other contact with care.",
    "Eq-Comparison": "A comparison with a value: numeric, temporal or both.",
    "Ethnicity": "Ethnicity or race.",
    "Exception": "An exception from another criterion.",
    "Family-Member": "A relative, or a person other than the patient.",
    "Immunization": "A vaccination.",
    "Indication": "A statement that something is called for.",
    "Insurance": "Insurance.",
    "Language": "A language that the patient must know.",
    "Life-Stage-And-Gender": "Life stage or gender of the patient.",
    "Location": "A place of care or residence.",
    "Modifier": "A word that describes another mention more closely.",
    "Negation": "A word that negates.",
    "Observation": "A laboratory test, vital sign, score or social habit.",
    "Organism": "A bacterium, virus or other organism.",
    "Other": "What says that similar things not named are meant too.",
    "Procedure": "A procedure, therapy or examination.",
    "Provider": "Who gives care.",
    "Risk": "A risk of something.",
    "Stability": "Whether something is stable or changing.",
    "Study": "The study itself or another one.",
    "Acuteness": "Acute or chronic.",
    "Polarity": "Positive, negative, high, low, normal or abnormal.",
    "Severity": "How severe.",
    "Condition-Type": "What kind of diagnosis, such as one at discharge.",
    "Code": "A code of a terminology.",
}
_PARTS = {
    "Allergy-Name": "The name of the allergen.",
    "Condition-Name": "The name of the condition.",
    "Drug-Name": "The name of the drug.",
    "Immunization-Name": "The name of the vaccine.",
    "Observation-Name": "The name of what is observed.",
    "Organism-Name": "The name of the organism.",
    "Procedure-Name": "The name of the procedure.",
    "Assertion": "A word that makes something possible, hypothetical or intended.",
    "Eq-Operator": "The operator of a comparison.",
    "Eq-Value": "The value of a comparison.",
    "Eq-Unit": "The unit of a value.",
    "Eq-Temporal-Period": "Past, present or future.",
    "Eq-Temporal-Recency": "First or most recent.",
    "Eq-Temporal-Unit": "Day, week, month, year.",
    "Specimen": "What the observation is made on, such as blood.",
}
_CLINICAL = ("Allergy", "Birth", "Condition", "Coreference", "Drug", "Encounter", "Immunization", "Negation",
             "Observation", "Organism", "Procedure", "Risk", "Study", "Age", "Death", "Family-Member", "Provider")  # fmt: skip
_TREATMENTS = ("Drug", "Immunization", "Observation", "Procedure")
_COMPARISON = ("Eq-Comparison",)
_NAMES = ("Allergy-Name", "Condition-Name", "Coreference", "Drug", "Drug-Name", "Immunization-Name", "Observation-Name",
          "Organism-Name", "Procedure", "Procedure-Name")  # fmt: skip

_RELATIONS = (
    RelationType("Abbrev-Of", "The head abbreviates the tail."),
    RelationType("After", "The head happens after the tail."),
    RelationType("And", "Both must hold."),
    RelationType("Before", "The head happens before the tail."),
    RelationType("Caused-By", "The tail causes the head."),
    RelationType("During", "The head happens during the tail."),
    RelationType("Equivalent-To", "Both mean the same thing."),
    RelationType("Example-Of", "The head is an example of the tail."),
    RelationType("Found-By", "The tail finds the head."),
    RelationType("If-Then", "Where the head holds, the tail must."),
    RelationType("Or", "One of both must hold."),
    RelationType("Treatment-For", "The head treats the tail.", tails=("Condition", "Coreference", "Observation")),
    RelationType("Using", "The head is done with the tail.", tails=_TREATMENTS),
)
_ROLES = arguments(
    RelationType("Acuteness", "Acute or chronic.", _CLINICAL, ("Acuteness",)),
    RelationType("Asserted", "What is asserted.", ("Assertion",)),
    RelationType("Class", "The class of a drug.", ("Drug",), _COMPARISON),
    RelationType("Code", "The code.", ("Condition", "Observation", "Procedure"), ("Code",)),
    RelationType("Contraindicates", "What must not be done.", ("Contraindication",)),
    RelationType("Criteria", "A criterion that is counted.", ("Criteria-Count",)),
    RelationType("Dose", "The dose.", ("Drug",), (*_COMPARISON, "Polarity")),
    RelationType("Duration", "For how long.", _CLINICAL, _COMPARISON),
    RelationType("Except", "What is excepted.", ("Exception",)),
    RelationType("From", "What it is excepted from.", ("Exception",)),
    RelationType("Has", "What a relative has.", ("Family-Member",)),
    RelationType("Indication-For", "What is called for.", ("Indication",)),
    RelationType("Is-Other", "What it is similar to.", ("Other",)),
    RelationType("Location", "Where.", _CLINICAL, ("Location",)),
    RelationType("Max-Value", "The largest number.", ("Criteria-Count",), _COMPARISON),
    RelationType("Min-Value", "The smallest number.", ("Criteria-Count",), _COMPARISON),
    RelationType("Minimum-Count", "How often at least.", _CLINICAL, _COMPARISON),
    RelationType("Modifies", "What it describes.", ("Modifier",)),
    RelationType("Name", "The name.", _CLINICAL, _NAMES),
    RelationType("Negates", "What is negated.", ("Negation",)),
    RelationType("Numeric-Filter", "The value it is compared with.", ("Age", "Condition", "Observation", "Risk"), _COMPARISON),
    RelationType("Operator", "The operator.", _COMPARISON, ("Eq-Operator",)),
    RelationType("Per", "Per what.", _COMPARISON, ("Eq-Temporal-Unit", "Eq-Unit")),
    RelationType("Polarity", "Which polarity.", (*_CLINICAL, "Assertion"), ("Polarity",)),
    RelationType("Provider", "By whom.", _CLINICAL, ("Provider",)),
    RelationType("Refers-To", "What it refers to.", ("Coreference",)),
    RelationType("Risk-For", "What the risk is for.", ("Risk",)),
    RelationType("Severity", "How severe.", _CLINICAL, ("Severity",)),
    RelationType("Specimen", "On what.", ("Observation",), ("Specimen",)),
    RelationType("Stability", "Whether stable.", _CLINICAL, ("Stability",)),
    RelationType("Stage", "The stage.", _CLINICAL, _COMPARISON),
    RelationType("Study-Of", "What is studied.", ("Study",)),
    RelationType("Temporal-Period", "Past, present or future.", _COMPARISON, ("Eq-Temporal-Period",)),
    RelationType("Temporal-Recency", "First or most recent.", _COMPARISON, ("Eq-Temporal-Recency",)),
    RelationType("Temporal-Unit", "The unit of time.", _COMPARISON, ("Eq-Temporal-Unit",)),
    RelationType("Temporality", "When.", tails=_COMPARISON),
    RelationType("Type", "Which kind.", ("Condition", "Encounter"), ("Condition-Type",)),
    RelationType("Unit", "The unit.", _COMPARISON, ("Drug", "Eq-Unit")),
    RelationType("Value", "The value.", _COMPARISON, ("Eq-Value", "Severity")),
)
_ATTRIBUTES = (
    AttributeType("Acuteness-Type-Value", "", ("acute", "chronic"), ("Acuteness",)),
    AttributeType("Assertion-Type-Value", "", ("possible", "hypothetical", "intention"), ("Assertion",)),
    AttributeType("Condition-Type-Value", "", ("admitting", "discharge", "problem-list"), ("Condition-Type",)),
    AttributeType(
        "Encounter-Type-Value",
        "",
        ("outpatient", "inpatient", "emergency", "observation", "icu", "discharge", "transfer", "readmission", "referral"),
        ("Encounter",),
    ),
    AttributeType("Eq-Operator-Value", "", ("EQ", "LT", "LTEQ", "GT", "GTEQ", "BETWEEN", "PLUS-MINUS"), ("Eq-Operator",)),
    AttributeType("Eq-Unit-Value", "", ("ref-range-low", "ref-range-high", "ref-range-normal"), ("Eq-Unit",)),
    AttributeType(
        "Eq-Temporal-Unit-Value", "", ("second", "minute", "hour", "day", "week", "month", "year"), ("Eq-Temporal-Unit",)
    ),
    AttributeType("Eq-Temporal-Period-Value", "", ("past", "recent", "present", "future", "anytime"), ("Eq-Temporal-Period",)),
    AttributeType("Eq-Temporal-Recency-Value", "", ("first-time", "most-recent-time"), ("Eq-Temporal-Recency",)),
    AttributeType(
        "Family-Member-Type",
        "",
        ("child", "sibling", "sister", "brother", "parent", "mother", "father", "aunt", "uncle", "grandparent", "grandmother",
         "grandfather", "patient", "spouse"),
        ("Family-Member",),
    ),
    AttributeType(
        "Life-Stage-And-Gender-Type",
        "",
        ("girl", "boy", "infant", "child", "male", "female", "nonbinary", "transgender", "adult", "elderly"),
        ("Life-Stage-And-Gender",),
    ),
    AttributeType("Location-Value", "", ("residence", "clinic", "hospital", "unit", "room", "emergency-dept"), ("Location",)),
    AttributeType("Polarity-Value", "", ("normal", "abnormal", "high", "medium", "low", "positive", "negative"), ("Polarity",)),
    AttributeType(
        "Observation-Type-Value",
        "",
        ("lab", "vital", "measurement", "social-habit", "clinical-score", "survey-or-questionnaire"),
        ("Observation",),
    ),
    AttributeType("Severity-Value", "", ("mild", "moderate", "severe"), ("Severity",)),
    AttributeType("Stability-Value", "", ("stable", "change"), ("Stability",)),
)  # fmt: skip
_EVENTS = (
    "Age", "Allergy", "Assertion", "Birth", "Condition", "Contraindication", "Coreference", "Criteria-Count", "Death", "Drug",
    "Encounter", "Eq-Comparison", "Exception", "Family-Member", "Immunization", "Indication", "Modifier", "Negation",
    "Observation", "Organism", "Other", "Procedure", "Provider", "Risk", "Study",
)  # fmt: skip


class LeafClinicalTrials(BratCorpus):
    """LCT in its batch folders, no official split.

    A concept and its name often cover the same words, hence two layers.
    """

    name = "leaf_clinical_trials"
    licence = "MIT (repository), CC BY 4.0 (release)"
    citation = "Dobbins NJ et al. The Leaf Clinical Trials corpus. Sci Data 9:490 (2022)"
    declared = Schema(entity_types({"concepts": _CONCEPTS, "parts": _PARTS}), (*_RELATIONS, *_ROLES), _ATTRIBUTES, _EVENTS)

    def folders(self) -> dict[Split, list[Path]]:
        """All batch folders; development and test documents are held out by seed."""
        return {"train": [self.root]}
