"""Corpora by their name on the command line."""

from __future__ import annotations

from collections.abc import Callable

from clinical_ie.corpora.brat_folder import BratFolder, described_split
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.demo import Demo
from clinical_ie.corpora.hash_split import HashSplit
from clinical_ie.corpora.i2b2_2010 import I2b2Concepts2010
from clinical_ie.corpora.leaf_clinical_trials import LeafClinicalTrials
from clinical_ie.corpora.maccrobat import Maccrobat
from clinical_ie.corpora.n2c2_2018 import N2c2Medications2018
from clinical_ie.corpora.n2c2_2022 import N2c2SocialHistory2022
from clinical_ie.corpora.phee import Phee
from clinical_ie.corpora.radgraph import RadGraph
from clinical_ie.corpora.uw_social_history import UWSocialHistory
from clinical_ie.errors import SettingError, did_you_mean

CORPORA: dict[str, type[Corpus]] = {
    kind.name: kind
    for kind in (
        Demo,
        I2b2Concepts2010,
        LeafClinicalTrials,
        Maccrobat,
        N2c2Medications2018,
        N2c2SocialHistory2022,
        Phee,
        RadGraph,
        UWSocialHistory,
    )
}
"""Corpora that need no description; any other one is a YAML file (see `BratFolder.from_yaml`)."""


def find(name: str) -> Callable[..., Corpus]:
    """The class of a corpus by its name, or a maker of one from a YAML file.

    Raises:
        SettingError: No corpus of that name.
    """
    if name.endswith((".yaml", ".yml")):
        return lambda root=None, **options: BratFolder.from_yaml(name, root=root, **options)
    if name not in CORPORA:
        known = f"known are {', '.join(sorted(CORPORA))}, or a YAML file that describes a BRAT folder"
        raise SettingError(f"no corpus {name!r}{did_you_mean(name, CORPORA)}; {known}")
    return CORPORA[name]


def find_split(name: str) -> HashSplit:
    """How a corpus of this name is shared out: as its YAML file says, or by default.

    Raises:
        InputError: The file is none that describes a corpus.
    """
    return described_split(name) if name.endswith((".yaml", ".yml")) else HashSplit()
