"""The rule sets by their names."""

from __future__ import annotations

from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.scoring.n2c2 import N2c22018
from clinical_ie.scoring.rule_set import RuleSet
from clinical_ie.scoring.shac import Shac2022
from clinical_ie.scoring.strict_one_to_one import StrictOneToOne

RULE_SETS: dict[str, type[RuleSet]] = {kind.name: kind for kind in (StrictOneToOne, N2c22018, Shac2022)}


def rule_set(name: str) -> RuleSet:
    """A rule set by its name.

    Raises:
        SettingError: There is none of that name.
    """
    if name not in RULE_SETS:
        raise SettingError(f"no rule set {name!r}; known are {', '.join(RULE_SETS)}{did_you_mean(name, RULE_SETS)}")
    return RULE_SETS[name]()
