from __future__ import annotations

from dataclasses import replace

import pytest

from clinical_ie.corpora.views import View, keep, renamed
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.formats import brat
from clinical_ie.schema import AttributeType, EntityType, RelationType, Schema

SCHEMA = Schema(
    (
        EntityType("Drug", layer="core"),
        EntityType("Dose", layer="core"),
        EntityType("Problem", layer="more"),
        EntityType("Site", layer="more"),
    ),
    (RelationType("Has", "", ("Drug",), ("Dose",)), RelationType("For", "", ("Drug",), ("Problem",))),
    (AttributeType("Negated", "", (), ("Problem",)),),
    ("Drug", "Problem"),
)
#       0123456789012345678901234567890123456789
TEXT = "aspirin 81 mg for pain in left arm, no"
DOCUMENT = brat.parse(
    "d",
    TEXT,
    "T1\tDrug 0 7\taspirin\nT2\tDose 8 13\t81 mg\nT3\tProblem 18 34\tpain in left arm\nT4\tSite 26 34\tleft arm\n"
    "T5\tProblem 18 22;31 34\tpain arm\nE1\tDrug:T1 Dose:T2 Problem:E2\nE2\tProblem:T3 Site:T4\n"
    "R1\tHas Arg1:T1 Arg2:T2\nR2\tFor Arg1:E1 Arg2:T3\nA1\tNegated T3\nA2\tSure R2\nA3\tNegated E1\n"
    "*\tEquiv T1 T2\n*\tEquiv T3 T5\nN1\tReference T3 UMLS:C1\tpain\n#1\tAnnotatorNotes T2\tx\n#2\tAnnotatorNotes A3\ty\n",
)


def ids(rows: tuple[object, ...]) -> list[str]:
    return [row.id for row in rows]  # type: ignore[attr-defined]


def test_the_whole_view_changes_nothing() -> None:
    view = View(SCHEMA)
    assert view(DOCUMENT) is DOCUMENT
    assert view.schema is SCHEMA


def test_fewer_types_take_along_all_that_refers_to_others() -> None:
    view = View(SCHEMA, ["Drug", "Dose"])
    shown = view(DOCUMENT)
    assert view.schema.entity_names == ("Drug", "Dose")
    assert shown.text == TEXT
    assert ids(shown.entities) == ["T1", "T2"]
    assert [(event.id, event.arguments) for event in shown.events] == [("E1", (("Dose", "T2"),))]
    assert ids(shown.relations) == ["R1"]
    assert ids(shown.attributes) == ["A3"]
    assert [group.members for group in shown.equivalences] == [("T1", "T2")]
    assert shown.normalizations == ()


def test_notes_stay_with_what_they_are_about() -> None:
    """BRAT lets annotators write notes on attributes, too."""
    assert ids(View(SCHEMA, ["Drug", "Dose"])(DOCUMENT).comments) == ["#1", "#2"]
    assert ids(View(SCHEMA, ["Problem", "Site"])(DOCUMENT).comments) == []


def test_flat_keeps_the_earliest_then_longest_and_counts_the_rest() -> None:
    view = View(SCHEMA, flat=True)
    shown = view(DOCUMENT)
    assert ids(shown.entities) == ["T1", "T2", "T3"]
    assert view.left_out == {"Site": 1, "Problem": 1}
    assert list(view.schema.layers) == ["entities"]


def test_mentions_that_touch_do_not_overlap() -> None:
    document = brat.parse("d", "abcd", "T1\tDrug 0 2\tab\nT2\tDose 2 4\tcd\nT3\tDose 1 3\tbc\n")
    assert ids(View(SCHEMA, flat=True)(document).entities) == ["T1", "T2"]


def test_flat_looks_at_chosen_types_only() -> None:
    shown = View(SCHEMA, ["Site"], flat=True)(DOCUMENT)
    assert ids(shown.entities) == ["T4"]


def test_of_two_mentions_of_one_span_one_stays() -> None:
    document = brat.parse("d", "ab", "T1\tDrug 0 2\tab\nT2\tDose 0 2\tab\n")
    view = View(SCHEMA, flat=True)
    assert len(view(document).entities) == 1
    assert sum(view.left_out.values()) == 1


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(SettingError, match="Dosis"):
        View(SCHEMA, ["Dosis"])


def test_keeping_all_keeps_everything_and_none_nothing_but_text() -> None:
    assert keep(DOCUMENT, list(DOCUMENT.entities)) == DOCUMENT
    assert keep(DOCUMENT, []) == Document("d", TEXT)


def test_a_flat_view_keeps_mentions_that_a_line_end_breaks_with_their_fragments() -> None:
    document = brat.parse(
        "d", "220 mg\ntwice daily", "T1\tDose 0 6;7 18\t220 mg twice daily\nT2\tDose 7 12\ttwice\nT3\tDrug 0 3;7 12\t220 twice\n"
    )
    view = View(SCHEMA, flat=True)
    assert [entity.id for entity in view(document).entities] == ["T1"]
    assert view(document).entities[0] == document.entities[0], "as its file has it"
    assert view.left_out == {"Dose": 2, "Drug": 2}, "counted in both calls"


def test_other_names_stand_everywhere_and_nothing_else_changes() -> None:
    view = View(SCHEMA, rename={"Drug": "Medication", "Has": "DoseOf", "Dose": "Amount", "Problem": "Finding"})
    shown = view(DOCUMENT)
    assert view.schema.entity_names == ("Medication", "Amount", "Finding", "Site")
    assert [(relation.name, relation.heads, relation.tails) for relation in view.schema.relations] == [
        ("DoseOf", ("Medication",), ("Amount",)),
        ("For", ("Medication",), ("Finding",)),
    ]
    assert view.schema.events == ("Medication", "Finding")
    assert view.schema.attributes[0].targets == ("Finding",)
    assert [entity.type for entity in shown.entities] == ["Medication", "Amount", "Finding", "Site", "Finding"]
    assert [(event.type, event.arguments) for event in shown.events] == [
        ("Medication", (("Amount", "T2"), ("Finding", "E2"))),
        ("Finding", (("Site", "T4"),)),
    ]
    assert [relation.type for relation in shown.relations] == ["DoseOf", "For"]
    assert (shown.attributes, shown.comments, shown.normalizations) == (DOCUMENT.attributes, DOCUMENT.comments, DOCUMENT.normalizations)
    assert view.mentions(DOCUMENT) == {"Finding": 2, "Medication": 1, "Amount": 1, "Site": 1}
    assert view.links(DOCUMENT) == {"DoseOf": 1, "For": 1, "Amount": 1, "Finding": 1, "Site": 1}
    assert (view.original("Amount"), view.original("Site")) == ("Dose", "Site")


def test_a_role_keeps_its_number_under_another_name() -> None:
    document = brat.parse("d", "ab cd ef", "T1\tDrug 0 2\tab\nT2\tDose 3 5\tcd\nT3\tDose 6 8\tef\nE1\tDrug:T1 Dose:T2 Dose2:T3\n")
    assert View(SCHEMA, rename={"Dose": "Amount"})(document).events[0].arguments == (("Amount", "T2"), ("Amount2", "T3"))


def test_renaming_goes_with_fewer_types_and_flat() -> None:
    view = View(SCHEMA, ["Drug", "Dose"], flat=True, rename={"Drug": "Medication"})
    assert [entity.type for entity in view(DOCUMENT).entities] == ["Medication", "Dose"]
    assert view.mentions(DOCUMENT) == {"Medication": 1, "Dose": 1}
    assert view.links(DOCUMENT) == {"Has": 1, "Dose": 1}


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        ({"Drgu": "X"}, r"no type or relation 'Drgu'; did you mean 'Drug'"),
        ({"Drug": "Dose"}, "'Drug' cannot be called 'Dose'"),
        ({"Drug": "X", "Dose": "X"}, "'Drug' cannot be called 'X'"),
        ({"Has": "For"}, "'Has' cannot be called 'For'"),
    ],
)
def test_wrong_other_names_are_refused(rename: dict[str, str], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        View(SCHEMA, rename=rename)
    assert View(SCHEMA, rename={"Drug": "Dose", "Dose": "Drug"}).schema.entity_names[:2] == ("Dose", "Drug")


def test_views_and_other_names_keep_confidences() -> None:
    drug, dose, *others = DOCUMENT.entities
    sure = replace(
        DOCUMENT,
        entities=(replace(drug, confidence=0.25), replace(dose, confidence=0.5), *others),
        relations=(replace(DOCUMENT.relations[0], confidence=0.75), DOCUMENT.relations[1]),
        events=(replace(DOCUMENT.events[0], confidence=0.125, argument_confidences=(0.3, 0.4)), DOCUMENT.events[1]),
    )
    (renamed_dose,) = (e for e in renamed(sure, {"Dose": "Amount"}).entities if e.type == "Amount")
    assert renamed_dose.confidence == 0.5
    assert renamed(sure, {"Dose": "Amount"}).events[0].argument_confidences == (0.3, 0.4)
    kept = keep(sure, list(sure.entities[:2]))
    assert [entity.confidence for entity in kept.entities] == [0.25, 0.5]
    assert [(event.arguments, event.confidence, event.argument_confidences) for event in kept.events] == [
        ((("Dose", "T2"),), 0.125, (0.3,))
    ]
    assert kept.relations[0].confidence == 0.75
