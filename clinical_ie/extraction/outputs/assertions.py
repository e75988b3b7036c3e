"""What attributes say of a mention's truth, for outputs that have a place for it: whether it is denied, and whether it is past.

Corpora name these things in many ways; the names here are those of 2010 i2b2 (Assertion), MACCROBAT (POLARITY), PHEE (NegatedValue), 2022
n2c2 (StatusTimeVal), medspaCy (is_negated) and cTAKES (polarity). Other attributes say nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from clinical_ie.document import Attribute

_YES = {"", "true", "yes", "y", "1"}
_DENIED: dict[str, set[str]] = {
    "negation": {*_YES, "negated", "negative", "absent"},
    "negated": {*_YES, "negated"},
    "isnegated": _YES,
    "neg": _YES,
    "polarity": {"negative", "negated", "neg", "absent", "-1"},
    "assertion": {"absent", "negated"},
    "presence": {"absent", "negated"},
    "certainty": {"negated"},
}
_NOT_OF_THE_PATIENT_NOW: dict[str, set[str]] = {
    "assertion": {"conditional", "hypothetical", "associated_with_someone_else"},
    "conditional": _YES,
    "hypothetical": _YES,
    "ishypothetical": _YES,
    "ruleout": _YES,
    "family": _YES,
    "isfamily": _YES,
    "experiencer": {"other", "family", "family_member"},
    "subject": {"other", "family", "family_member"},
}
_PAST: dict[str, set[str]] = {
    "history": _YES,
    "historical": _YES,
    "ishistorical": _YES,
    "temporality": {"past", "historical", "history", "before"},
    "status": {"past"},
    "statustime": {"past"},
}
_PRESENT: dict[str, set[str]] = {
    "temporality": {"present", "current", "recent", "overlap"},
    "status": {"current", "present"},
    "statustime": {"current"},
}


def denied(attributes: Iterable[Attribute]) -> bool:
    """Whether the note says that it isn't so.

    Example:
        >>> denied([Attribute("A1", "Negated", "T1")]), denied([Attribute("A1", "Assertion", "T1", "possible")])
        (True, False)
    """
    return _says(attributes, _DENIED)


def of_the_patient_now(attributes: Iterable[Attribute]) -> bool:
    """Whether the patient has it: not denied, of someone else, conditional or hypothetical (OMOP's ``term_exists``)."""
    found = list(attributes)
    return not _says(found, _DENIED) and not _says(found, _NOT_OF_THE_PATIENT_NOW)


def when(attributes: Iterable[Attribute]) -> str:
    """``past``, ``present``, or nothing where no attribute says it (OMOP's ``term_temporal``)."""
    found = list(attributes)
    return "past" if _says(found, _PAST) else "present" if _says(found, _PRESENT) else ""


def _says(attributes: Iterable[Attribute], known: dict[str, set[str]]) -> bool:
    return any((a.value or "").strip().casefold().replace(" ", "_") in known.get(_plain(a.type), ()) for a in attributes)


def _plain(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum()).removesuffix("val").removesuffix("value")
