"""The corpora, one a file: schema, where files lie, licence, citation; and the split, which says what each document is for.

A configuration names one by its class (``class_path: clinical_ie.corpora.Maccrobat``), the
command line by its file (``--corpus maccrobat``) or by a YAML file that describes a BRAT corpus.
"""

from clinical_ie.corpora.brat_folder import BratFolder
from clinical_ie.corpora.catalogue import find, find_split
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
from clinical_ie.corpora.reading import CorpusReader
from clinical_ie.corpora.uw_social_history import UWSocialHistory

__all__ = [
    "BratFolder",
    "Corpus",
    "CorpusReader",
    "Demo",
    "HashSplit",
    "I2b2Concepts2010",
    "LeafClinicalTrials",
    "Maccrobat",
    "N2c2Medications2018",
    "N2c2SocialHistory2022",
    "Phee",
    "RadGraph",
    "UWSocialHistory",
    "find",
    "find_split",
]
