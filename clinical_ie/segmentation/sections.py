"""Which sections of a note are where, by their headings.

A note's own headings may hold a name ("MR SMITH:"), so what comes out is one of a fixed list of sections, never the words of the note.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

NO_HEADING, OTHER_HEADING = "before any heading", "other heading"

_SECTIONS: dict[str, str] = {
    "allergies": r"allerg(?:y|ies)(?: and intolerances?)?|drug allergies",
    "assessment and plan": r"assessment|plan|assessment (?:and|&) plan|impression (?:and|&) plan|a/?p|recommendations?|disposition",
    "chief complaint": r"chief complaint|reason for (?:visit|admission|consultation|referral)|presenting complaint|cc|indications?",
    "diagnosis": r"(?:admission|admitting|discharge|final|principal|primary|secondary|preoperative|postoperative|pre-?op|post-?op)?"
    r" ?diagnos[ei]s|problem list|problems",
    "discharge": r"(?:condition (?:on|at) )?discharge(?: condition| instructions| disposition| status)?|follow[- ]?up(?: instructions)?",
    "family history": r"family(?: medical)? history|family hx|fh",
    "findings": r"findings",
    "history of present illness": r"hi?story of (?:the )?present(?:ing)? illness|present illness|hpi|history|subjective|interval history",
    "hospital course": r"(?:brief )?hospital course(?: by (?:system|problem)s?)?|course(?: in (?:the )?hospital)?"
    r"|emergency department course",
    "imaging": r"imaging|radiology|x-?rays?|ct|mri|ultrasound|echocardiogram|ekg|ecg",
    "impression": r"impressions?|conclusions?",
    "laboratory": r"lab(?:s|oratory)?(?: data| results| values| findings| studies)?|pertinent results|results|data",
    "medications": r"(?:current|home|admission|discharge|outpatient|inpatient)? ?(?:medications?|meds)"
    r"(?: (?:on|at|upon) (?:admission|discharge))?|prescriptions?",
    "past medical history": r"past (?:medical |surgical |medical and surgical )?history|pmhx?|past history|psh"
    r"|medical history|surgical history",
    "physical examination": r"(?:physical )?exam(?:ination)?|pe|objective|general(?: appearance)?|vital signs?|vitals",
    "procedure": r"procedures?(?: performed)?|operations?(?: performed)?"
    r"|description of (?:the )?(?:procedure|operation)|technique|anesthesia",
    "review of systems": r"review of systems|ros",
    "social history": r"social(?: and family)? history|social hx|sh|sochx|habits|occupational history",
}
_KNOWN = re.compile("|".join(f"(?P<S{place}>{pattern})" for place, pattern in enumerate(_SECTIONS.values())), re.IGNORECASE)
_NAMES = tuple(_SECTIONS)
_HEADING = re.compile(
    r"""^[ \t#=*_]*(?P<name>[A-Za-z][A-Za-z /&,()'-]{0,58}?[A-Za-z)])[ \t]*
    (?: :                                   # SOCIAL HISTORY: lives alone
      | [=*_]+[ \t:]*\r?$                   # == Social History ==
      | [ \t]--[ \t]                        # social history -- lives alone
      | \r?$ )                              # a line that is nothing but a heading
    """,
    re.VERBOSE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Sections:
    """Where the sections of a text begin, ascending, and what they are."""

    starts: tuple[int, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Sections:
        r"""The sections of a text.

        A heading of the list counts at the start of any line, behind which a colon, dashes, or nothing stands. Any other words are a
        heading only in capitals with a colon behind them.

        Example:
            >>> Sections.of("Seen today.\nSOCIAL HISTORY: smokes\nTemp: 37\nMR X:\nwell").names
            ('before any heading', 'social history', 'other heading')
        """
        starts, names = [0], [NO_HEADING]
        for match in _HEADING.finditer(text):
            words = " ".join(match["name"].split())
            known = _KNOWN.fullmatch(words)
            if known and known.lastgroup:
                name = _NAMES[int(known.lastgroup[1:])]
            elif words.isupper() and len(words) > 3 and ":" in match[0]:
                name = OTHER_HEADING
            else:
                continue
            starts.append(match.start())
            names.append(name)
        return cls(tuple(starts), tuple(names))

    def at(self, offset: int) -> str:
        """The section that a character lies in."""
        return self.names[bisect_right(self.starts, offset) - 1]
