from __future__ import annotations

from typing import Any

import pytest
import yaml

from clinical_ie.corpora import Demo, LeafClinicalTrials, Maccrobat, N2c2SocialHistory2022, Phee, RadGraph, UWSocialHistory
from clinical_ie.errors import SettingError
from clinical_ie.schema import AttributeType, EntityType, RelationType, Schema

SCHEMA = Schema(
    (EntityType("Drug", "A medication.", "core"), EntityType("Dose", "How much.", "core"), EntityType("Cue", "A cue.", "cues")),
    (
        RelationType("Has", "", ("Drug",), ("Dose",)),
        RelationType("Has", "", ("Cue",), ("Drug",)),
        RelationType("Any"),
    ),
    (AttributeType("Status", "", ("on", "off"), ("Drug",)), AttributeType("Flag")),
    ("Drug", "Cue"),
)


def test_names_and_layers_keep_their_order() -> None:
    assert SCHEMA.entity_names == ("Drug", "Dose", "Cue")
    assert SCHEMA.layers == {"core": ("Drug", "Dose"), "cues": ("Cue",)}


@pytest.mark.parametrize(
    ("relation", "head", "tail", "expected"),
    [
        ("Has", "Drug", "Dose", True),
        ("Has", "Cue", "Drug", True),
        ("Has", "Dose", "Drug", False),
        ("Has", "Cue", "Dose", False),
        ("Any", "Dose", "Dose", True),
        ("None", "Drug", "Dose", False),
    ],
)
def test_allows_looks_at_every_declaration(relation: str, head: str, tail: str, expected: bool) -> None:
    assert SCHEMA.allows(relation, head, tail) is expected


def test_restricting_takes_along_what_loses_its_last_argument() -> None:
    small = SCHEMA.restricted(["Dose", "Cue"])
    assert small.entity_names == ("Dose", "Cue")
    assert [relation.name for relation in small.relations] == ["Any"]
    assert [attribute.name for attribute in small.attributes] == ["Flag"]
    assert small.events == ("Cue",)


def test_a_single_layer_on_request() -> None:
    assert list(SCHEMA.restricted(single_layer=True).layers) == ["entities"]
    assert SCHEMA.restricted(["Drug"]).layers == {"core": ("Drug",)}


def test_restricting_to_an_unknown_type_names_it() -> None:
    with pytest.raises(SettingError, match="Dosis"):
        SCHEMA.restricted(["Drug", "Dosis"])


@pytest.mark.parametrize(
    "parts",
    [
        {"entities": (EntityType("A"), EntityType("A"))},
        {"entities": (EntityType("A"),), "relations": (RelationType("R", heads=("B",)),)},
        {"entities": (EntityType("A"),), "attributes": (AttributeType("V", targets=("B",)),)},
        {"entities": (EntityType("A"),), "events": ("B",)},
    ],
)
def test_contradictions_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Schema(**parts)


def test_yaml_there_and_back() -> None:
    assert Schema.from_dict(yaml.safe_load(yaml.safe_dump(SCHEMA.to_dict()))) == SCHEMA


@pytest.mark.parametrize("corpus", [Demo, LeafClinicalTrials, Maccrobat, N2c2SocialHistory2022, Phee, RadGraph, UWSocialHistory])
def test_every_declared_schema_survives_yaml_and_defines_its_types(corpus: Any) -> None:
    declared = corpus.declared
    assert Schema.from_dict(yaml.safe_load(yaml.safe_dump(declared.to_dict()))) == declared
    assert all(entity.definition for entity in declared.entities)


def test_short_forms() -> None:
    written = """
    entities:
      - Problem
      - Test: An examination.
      - Drug: {definition: A medication., layer: drugs}
    relations:
      - {name: Reveals, heads: [Test], tails: [Problem]}
    """
    schema = Schema.from_dict(yaml.safe_load(written))
    assert schema.entities == (EntityType("Problem"), EntityType("Test", "An examination."), EntityType("Drug", "A medication.", "drugs"))
    assert schema.relations == (RelationType("Reveals", "", ("Test",), ("Problem",)),)


def test_entities_as_a_mapping() -> None:
    assert Schema.from_dict({"entities": {"A": "First.", "B": None}}).entities == (EntityType("A", "First."), EntityType("B"))


@pytest.mark.parametrize(
    "data",
    [
        {"entitys": ["A"]},
        {"entities": [{"name": "A", "colour": "red"}]},
        {"entities": [5]},
        {"entities": 5},
        {"entities": "Drug"},
        {"entities": ["A"], "relations": [{"name": "R", "heads": "A"}]},
        {"entities": ["A", "B"], "events": "AB"},
    ],
)
def test_values_of_the_wrong_kind_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Schema.from_dict(data)
