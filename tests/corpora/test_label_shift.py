from __future__ import annotations

from typing import Any

import pytest

from clinical_ie.corpora import BratFolder, Demo, find
from clinical_ie.corpora.catalogue import CORPORA
from clinical_ie.corpora.label_shift import label_shift, labels_of, two_meanings


def corpus(name: str, schema: dict[str, Any], **options: Any) -> BratFolder:
    return BratFolder("nowhere", schema, corpus_name=name, **options)


def test_how_each_type_was_seen_with_shares_of_gold() -> None:
    """Counted by hand."""
    held = find("uw_social_history")("nowhere")
    types = {
        "Residence": "Home.",
        "Kind": "What kind: cigarettes, beer, marijuana, truck driver, married.",
        "Employment": "Work.",
        "drug": "A medication.",
        "alcohol": "",
    }
    other = corpus("other", {"entities": types})
    gold = {"Alcohol": 6, "Type": 8, "Drug": 4, "Tobacco": 2}
    found = label_shift(labels_of(held)[0], gold, labels_of(other)[0])
    assert {name: found["labels"][name] for name in ("Alcohol", "Residence", "Type", "Occupation", "Drug", "Tobacco")} == {
        "Alcohol": "name",
        "Residence": "name",
        "Type": "definition",
        "Occupation": "definition",  # SHAC's Employment by declaration
        "Drug": "other meaning",
        "Tobacco": "not at all",
    }
    assert found["gold"] == {"name": 6, "definition": 8, "other meaning": 4, "not at all": 2}
    assert found["shares"] == {"name": 0.3, "definition": 0.4, "other meaning": 0.2, "not at all": 0.1}
    assert label_shift(labels_of(held)[0], {}, [])["shares"] == {}


def test_relations_and_roles_have_a_shift_of_their_own() -> None:
    held, other = Demo(), find("n2c2_2022")("nowhere")
    found = label_shift(labels_of(held)[1], {"Amount": 1, "ADE": 3}, labels_of(other)[1])
    assert (found["labels"]["Amount"], found["labels"]["ADE"]) == ("name", "not at all")
    assert found["shares"]["not at all"] == 0.75


def test_names_with_two_meanings_are_named_until_they_are_renamed() -> None:
    uw, demo = find("uw_social_history"), Demo()
    found = two_meanings([uw("nowhere"), demo])
    assert found["drug"] == {"uw_social_history": "DrugUse", "demo": "Drug"}
    assert "tobacco" not in found
    renamed = uw("nowhere", rename=dict(CORPORA["uw_social_history"].meanings))
    assert not two_meanings([renamed, demo])
    assert label_shift(labels_of(renamed)[0], {}, labels_of(demo)[0])["labels"]["DrugUse"] == "not at all"
    assert two_meanings([find("n2c2_2022")("nowhere"), uw("nowhere")]).keys() == {"livingstatus"}


@pytest.mark.parametrize("name", list(CORPORA))
def test_declared_meanings_are_of_types_that_there_are_and_can_be_names(name: str) -> None:
    kind = CORPORA[name]
    whole = Demo() if name == "demo" else kind("nowhere")
    names = {label.name for labels in labels_of(whole) for label in labels}
    assert set(kind.meanings) <= names
    renamed = Demo() if name == "demo" else kind("nowhere", rename=dict(kind.meanings))
    assert {renamed.meaning(new) for new in kind.meanings.values()} == set(kind.meanings.values())
    for other in CORPORA:
        both = two_meanings([renamed, Demo() if other == "demo" else CORPORA[other]("nowhere", rename=dict(CORPORA[other].meanings))])
        assert not both, "renamed as declared, no two corpora disagree"


def test_declared_names_are_taken_whatever_else_a_corpus_shows() -> None:
    uw = CORPORA["uw_social_history"]
    whole, some = uw("nowhere"), uw("nowhere", entity_types=["Drug", "Tobacco", "Amount"], flat=True, rename={"Tobacco": "Smoking"})
    for corpus in (whole, some):
        corpus.rename_declared()
    assert whole.view.rename == dict(uw.meanings)
    assert some.schema.entity_names == ("Smoking", "DrugUse", "Amount")
    assert some.meaning("DrugUse") == "DrugUse"
    assert set(some.view.all_types.entity_names) >= {"Smoking", "DrugUse", "Occupation"}
    demo = Demo()
    demo.rename_declared()
    assert demo.schema is Demo.declared
    assert not two_meanings([whole, demo])
