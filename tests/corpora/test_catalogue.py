from __future__ import annotations

import pytest

import clinical_ie.corpora as package
from clinical_ie.corpora import BratFolder, Corpus, Phee, find
from clinical_ie.corpora.catalogue import CORPORA
from clinical_ie.errors import SettingError


def test_every_corpus_that_needs_no_description_is_found_by_its_name() -> None:
    public = {vars(package)[name] for name in package.__all__}
    classes = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Corpus)}
    assert set(CORPORA.values()) == classes - {Corpus, BratFolder}
    assert find("phee") is Phee


@pytest.mark.parametrize("name", ["phe", "PHEE", "n2c2-2018"])
def test_a_wrong_name_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(SettingError, match=f"no corpus '{name}'; did you mean '(phee|n2c2_2018)'"):
        find(name)
    with pytest.raises(SettingError, match="known are"):
        find("hospital")
