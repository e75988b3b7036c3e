from __future__ import annotations

import pytest
import yaml
from jsonargparse import Namespace

from clinical_ie.commands import configurations
from clinical_ie.commands.chain import Chain
from clinical_ie.commands.corpus_settings import check_different, name_of, place_roots
from clinical_ie.corpora.catalogue import CORPORA
from clinical_ie.errors import SettingError


def entry(kind: str, **init_args: str) -> Namespace:
    return Namespace(class_path=f"clinical_ie.corpora.{kind}", init_args=Namespace(**init_args))


@pytest.mark.parametrize("file", configurations.names("data"))
def test_the_name_of_every_packaged_corpus(file: str) -> None:
    (given,) = yaml.safe_load(configurations.resolve(f"data/{file}").read_text(encoding="utf-8"))["data"]["corpora+"]
    kind = given["class_path"].rpartition(".")[2]
    expected = {one.__name__: name for name, one in CORPORA.items()} | {"BratFolder": "my_notes"}
    named = given.get("init_args", {}).get("corpus_name")
    assert name_of(entry(kind, **given.get("init_args", {}))) == (named or expected[kind])


def test_each_corpus_has_a_folder_of_its_own() -> None:
    corpora = [entry("Maccrobat", root="a"), entry("BratFolder", root="b", corpus_name="Ward 7"), entry("BratFolder", root="c")]
    place_roots(corpora, {"Ward 7": "x", "maccrobat": "y"})
    assert [one.init_args.root for one in corpora] == ["y", "x", "c"]
    with pytest.raises(SettingError, match=r"--data\.roots\.ward 7: no corpus of that name; .*; did you mean 'Ward 7'"):
        place_roots(corpora, {"ward 7": "x"})


def test_a_corpus_that_is_there_twice_names_the_files() -> None:
    """Review of the training: an experiment behind a data file said no more than "different names"."""
    chain = Chain(["-c", "task/entity_tagging", "-c", "model/minilm", "-c", "data/maccrobat", "-c", "experiment/maccrobat_entities"])
    corpora = [entry("Maccrobat", root="a"), entry("Maccrobat", root="a")]
    with pytest.raises(SettingError) as caught:
        check_different(corpora, chain.added_by)
    assert "corpus maccrobat is there twice (-c data/maccrobat, -c experiment/maccrobat_entities add corpora)" in str(caught.value)
    assert name_of(Namespace(class_path="clinical_ie.corpora.Demo")) == "demo"
    check_different([corpora[0], entry("BratFolder", root="a", corpus_name="b")], [])
