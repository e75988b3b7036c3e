"""Small tables worked out by hand."""

import itertools
import sys
from typing import Any

import pytest

from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError
from clinical_ie.formats import brat
from clinical_ie.scoring.counts import Counts
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import Score, score
from clinical_ie.scoring.shac import Shac2022

#       0         1         2         3         4
#       0123456789012345678901234567890123456789012345
TEXT = "aspirin 81 mg and ibuprofen two packs per day."


def note(records: str, name: str = "a") -> Document:
    """Records separated by ``;;``: ``T1 Drug 0 7``, ``R1 Strength-Drug Arg1:T2 Arg2:T1``, ``E1 Drug:T1 Role:T2``."""
    lines = []
    for number, record in enumerate(filter(None, (part.strip() for part in records.split(";;"))), 1):
        identifier, _, rest = record.partition(" ")
        covered = ""
        if identifier.startswith("T"):
            ranges = [part.split() for part in rest.partition(" ")[2].split(";")]
            covered = "\t" + " ".join(TEXT[int(start) : int(end)] for start, end in ranges)
        lines.append(f"{identifier if identifier[1:] else identifier + str(100 + number)}\t{rest}{covered}")
    return brat.parse(name, TEXT, "\n".join(lines) + "\n")


def held(gold: str, predicted: str, rules: str) -> Score:
    return score([note(gold)], [note(predicted)], rule_set(rules))


def counts(result: Score, kind: Any, mode: Any) -> tuple[int, int, int]:
    micro = result.micro(kind, mode)
    return micro.tp, micro.fp, micro.fn


@pytest.mark.parametrize(
    ("case", "gold", "predicted", "n2c2_strict", "n2c2_lenient", "fair_strict", "fair_lenient"),
    [
        # One long mention over two gold ones: right once when lenient, which leaves one gold behind, in both rule sets.
        ("long over two", "T1 Drug 0 7;;T2 Drug 18 27", "T1 Drug 0 27", (0, 1, 2), (1, 0, 1), (0, 1, 2), (1, 0, 1)),
        # The reverse. Script: the second piece equals a gold item already matched and is dropped. Ours: it is wrong.
        ("two in one", "T1 Drug 0 27", "T1 Drug 0 7;;T2 Drug 18 27", (0, 2, 1), (1, 0, 0), (0, 2, 1), (1, 1, 0)),
        ("duplicate", "T1 Drug 0 7", "T1 Drug 0 7;;T2 Drug 0 7", (1, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 0)),
        ("three copies", "T1 Drug 0 7", "T Drug 0 7;;T Drug 0 7;;T Drug 0 7", (1, 0, 0), (1, 0, 0), (1, 2, 0), (1, 2, 0)),
        # Duplicates in the gold: one system item matches both, one fn stays; a second is dropped (ours: matches the copy).
        ("gold copies", "T1 Drug 0 7;;T2 Drug 0 7", "T1 Drug 0 7;;T2 Drug 0 7", (1, 0, 1), (1, 0, 1), (2, 0, 0), (2, 0, 0)),
        ("other type", "T1 Drug 0 7", "T1 Dose 0 7", (0, 1, 1), (0, 1, 1), (0, 1, 1), (0, 1, 1)),
        ("touching only", "T1 Dose 8 10", "T1 Dose 10 13", (0, 1, 1), (0, 1, 1), (0, 1, 1), (0, 1, 1)),
        # Wrong duplicates equal nothing, so nobody drops them.
        ("wrong twice", "T1 Drug 0 7", "T1 Drug 18 27;;T2 Drug 18 27", (0, 2, 1), (0, 2, 1), (0, 2, 1), (0, 2, 1)),
        # Same hull 0-13, other fragments: equal for the script only.
        ("fragments", "T1 Dose 0 7;11 13", "T1 Dose 0 7;8 13", (1, 0, 0), (1, 0, 0), (0, 1, 1), (1, 0, 0)),
        # Inside the gap: shares a character with the hull 0-13 only.
        ("in the gap", "T1 Dose 0 7;11 13", "T1 Dose 8 10", (0, 1, 1), (1, 0, 0), (0, 1, 1), (0, 1, 1)),
        # System 0-13 comes first and marks 0-7 and 8-13; the exact 0-7 behind it is then dropped under lenient.
        ("order matters", "T1 Drug 0 7;;T2 Drug 8 13", "T1 Drug 0 13;;T2 Drug 0 7", (1, 1, 1), (1, 0, 1), (1, 1, 1), (2, 0, 0)),
        ("nothing", "", "", (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)),
    ],
)
def test_entities(case: str, gold: str, predicted: str, n2c2_strict: Any, n2c2_lenient: Any, fair_strict: Any, fair_lenient: Any) -> None:
    official, fair = held(gold, predicted, "n2c2-2018"), held(gold, predicted, "strict-one-to-one")
    assert counts(official, "entities", "strict") == n2c2_strict, case
    assert counts(official, "entities", "lenient") == n2c2_lenient, case
    assert counts(fair, "entities", "strict") == fair_strict, case
    assert counts(fair, "entities", "lenient") == fair_lenient, case


GOLD = "T1 Drug 0 7;;T2 Strength 8 13;;T3 Drug 18 27"


@pytest.mark.parametrize(
    ("case", "gold", "predicted", "expected"),
    [
        # Each row: n2c2 strict, n2c2 lenient, ours strict, ours lenient.
        ("swapped", "R1 S-D Arg1:T2 Arg2:T1", "R1 S-D Arg1:T1 Arg2:T2", [(0, 1, 1)] * 4),
        # Arg2 written before Arg1 is the same relation.
        ("written backwards", "R1 S-D Arg1:T2 Arg2:T1", "R1 S-D Arg2:T1 Arg1:T2", [(1, 0, 0)] * 4),
        ("other type", "R1 S-D Arg1:T2 Arg2:T1", "R1 F-D Arg1:T2 Arg2:T1", [(0, 1, 1)] * 4),
        ("other drug", "R1 S-D Arg1:T2 Arg2:T1", "R1 S-D Arg1:T2 Arg2:T3", [(0, 1, 1)] * 4),
        (
            "duplicate",
            "R1 S-D Arg1:T2 Arg2:T1",
            "R1 S-D Arg1:T2 Arg2:T1;;R2 S-D Arg1:T2 Arg2:T1",
            [(1, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 0)],
        ),
    ],
)
def test_relations(case: str, gold: str, predicted: str, expected: list[tuple[int, int, int]]) -> None:
    kinds = [(rules, mode) for rules in ("n2c2-2018", "strict-one-to-one") for mode in ("strict", "lenient")]
    got = [counts(held(f"{GOLD};;{gold}", f"{GOLD};;{predicted}", rules), "relations", mode) for rules, mode in kinds]
    assert got == expected, case


def test_relation_between_ends_that_only_overlap() -> None:
    predicted = "T1 Drug 3 7;;T2 Strength 8 10;;R1 S-D Arg1:T2 Arg2:T1"
    for rules in ("n2c2-2018", "strict-one-to-one"):
        result = held(f"{GOLD};;R1 S-D Arg1:T2 Arg2:T1", predicted, rules)
        assert (counts(result, "relations", "strict"), counts(result, "relations", "lenient")) == ((0, 1, 1), (1, 0, 0))
    # An argument of the wrong type makes the relation wrong.
    wrong = held(f"{GOLD};;R1 S-D Arg1:T2 Arg2:T1", "T1 Dose 0 7;;T2 Strength 8 13;;R1 S-D Arg1:T2 Arg2:T1", "n2c2-2018")
    assert counts(wrong, "relations", "lenient") == (0, 1, 1)


def test_file_order_changes_the_script_but_not_ours() -> None:
    gold = "T1 Drug 0 7;;T2 Drug 8 13"
    pieces = ("T1 Drug 0 13", "T2 Drug 0 7", "T3 Drug 9 10")
    seen: dict[str, set[tuple[int, int, int]]] = {"n2c2-2018": set(), "strict-one-to-one": set()}
    for rules, order in itertools.product(seen, itertools.permutations(pieces)):
        seen[rules].add(counts(held(gold, ";;".join(order), rules), "entities", "lenient"))
    # Ours: 2 gold, 3 predicted, 2 pairs. Script: 0-13 first drops both others (1, 0, 1);
    # behind either or both of the others it is dropped itself, and 0-7 and 9-10 are right (2, 0, 0).
    # Order 0-7, 0-13, 9-10: 0-13 is dropped but still marks 8-13, so 9-10 is dropped too (1, 0, 1).
    assert seen == {"strict-one-to-one": {(2, 1, 0)}, "n2c2-2018": {(1, 0, 1), (2, 0, 0)}}


def test_a_missing_prediction() -> None:
    gold = [note("T1 Drug 0 7;;T2 Drug 18 27"), note("T1 Drug 0 7", "b")]
    predicted = [note("T1 Drug 0 7;;T2 Drug 18 27"), note("T1 Drug 0 7", "c")]
    fair, official = (score(gold, predicted, rule_set(rules)) for rules in ("strict-one-to-one", "n2c2-2018"))
    # Ours: 2 right in a; b is missed altogether; what c holds is wrong. 2 / 3 either way.
    assert counts(fair, "entities", "strict") == (2, 1, 1)
    # The script: only a counts.
    assert counts(official, "entities", "strict") == (2, 0, 0)
    assert (fair.missing, fair.extra, len(fair.documents)) == (["b"], ["c"], 3)
    assert (official.missing, official.extra, len(official.documents)) == (["b"], ["c"], 1)
    with pytest.raises(InputError, match="b"):
        score(gold, predicted, rule_set("shac-2022"))


def test_averages() -> None:
    # a: Drug 2 of 2 found, Dose 0 of 1 and 1 wrong -> P 2/3, R 2/3, F 2/3. b: nothing predicted -> 0, 0, 0.
    gold = [note("T1 Drug 0 7;;T2 Drug 18 27;;T3 Dose 8 10"), note("T1 Drug 0 7", "b")]
    predicted = [note("T1 Drug 0 7;;T2 Drug 18 27;;T3 Dose 11 13"), note("", "b")]
    official, fair = (score(gold, predicted, rule_set(rules)) for rules in ("n2c2-2018", "strict-one-to-one"))
    # Over documents: (2/3 + 0) / 2 = 1/3.
    assert official.macro("entities", "strict") == pytest.approx({"precision": 1 / 3, "recall": 1 / 3, "f1": 1 / 3})
    # Over types: Drug P 2/2, R 2/3, F 4/5; Dose 0 -> 1/2, 1/3, 2/5.
    assert fair.macro("entities", "strict") == pytest.approx({"precision": 1 / 2, "recall": 1 / 3, "f1": 2 / 5})
    for result in (official, fair):  # 2 tp, 1 fp, 2 fn
        assert result.micro("entities", "strict").f1 == pytest.approx(4 / 7)


def rows_of(gold: str, predicted: str, rules: Shac2022 | None = None) -> list[tuple[Any, ...]]:
    """(event, argument, subtype, gold, predicted, tp) of events of one note."""
    return [tuple(row.values()) for row in score([note(gold)], [note(predicted)], rules or Shac2022()).events()]


def test_events_of_one_note() -> None:
    event = "E1 Tobacco:T1 Status:T2 Amount:T3 Amount2:T4;;A1 StatusTimeVal T2 now"
    gold = f"T1 Tobacco 28 31;;T2 StatusTime 0 7;;T3 Amount 32 37;;T4 Amount 38 41;;{event}"
    predicted = f"T1 Tobacco 28 37;;T2 StatusTime 42 45;;T3 Amount 38 41;;T4 Amount 32 36;;{event}"
    # The trigger overlaps; the status has the right value elsewhere; of the amounts 38-41 is exact and 32-36 too short.
    assert rows_of(gold, predicted) == [
        ("Tobacco", "Amount", "N/A", 2, 2, 1),
        ("Tobacco", "StatusTime", "now", 1, 1, 1),
        ("Tobacco", "Trigger", "N/A", 1, 1, 1),
    ]
    assert [row[5] for row in rows_of(gold, predicted, Shac2022("exact"))] == [0, 0, 0]  # no aligned event, so no argument either


EVENT = "T1 Tobacco 28 31;;T2 StatusTime 0 7;;A1 StatusTimeVal T2 current"
TRIGGER = ("Tobacco", "Trigger", "N/A", 1, 1, 1)


@pytest.mark.parametrize(
    ("case", "gold", "predicted", "expected"),
    [
        # The argument is its entity's type: StatusTime, whatever the role is called on either side.
        ("A1 roles", f"{EVENT};;E1 Tobacco:T1 Status:T2", f"{EVENT};;E1 Tobacco:T1 StatusTime:T2",
         [("Tobacco", "StatusTime", "current", 1, 1, 1), TRIGGER]),
        ("A1 living", "T1 LivingStatus 28 31;;T2 TypeLiving 0 7;;A1 TypeLivingVal T2 alone;;E1 LivingStatus:T1 Type:T2",
         "T1 LivingStatus 28 31;;T2 TypeLiving 18 27;;A1 TypeLivingVal T2 alone;;E1 LivingStatus:T1 TypeLiving:T2",
         [("LivingStatus", "Trigger", "N/A", 1, 1, 1), ("LivingStatus", "TypeLiving", "alone", 1, 1, 1)]),
        # The same role and span, but one is a Frequency.
        ("A2 other type", "T1 Tobacco 28 31;;T2 Frequency 38 45;;E1 Tobacco:T1 Amount:T2",
         "T1 Tobacco 28 31;;T2 Amount 38 45;;E1 Tobacco:T1 Amount:T2",
         [("Tobacco", "Amount", "N/A", 0, 1, 0), ("Tobacco", "Frequency", "N/A", 1, 0, 0), TRIGGER]),
        # No value equals no value, and the span is not looked at.
        ("A3 no value", "T1 Tobacco 28 31;;T2 StatusTime 0 7;;E1 Tobacco:T1 Status:T2",
         "T1 Tobacco 28 31;;T2 StatusTime 18 27;;E1 Tobacco:T1 Status:T2", [("Tobacco", "StatusTime", "N/A", 1, 1, 1), TRIGGER]),
        ("A3 value against none", f"{EVENT};;E1 Tobacco:T1 Status:T2", "T1 Tobacco 28 31;;T2 StatusTime 0 7;;E1 Tobacco:T1 Status:T2",
         [("Tobacco", "StatusTime", "N/A", 0, 1, 0), ("Tobacco", "StatusTime", "current", 1, 0, 0), TRIGGER]),
        # Degree is compared by span: equal though the values differ, and counted in the rows of gold's and of the predicted value.
        ("A4 values of spans", "T1 Tobacco 28 31;;T2 Degree 0 7;;A1 DegreeVal T2 mild;;E1 Tobacco:T1 Degree:T2",
         "T1 Tobacco 28 31;;T2 Degree 0 7;;A1 DegreeVal T2 severe;;E1 Tobacco:T1 Degree:T2",
         [("Tobacco", "Degree", "mild", 1, 0, 1), ("Tobacco", "Degree", "severe", 0, 1, 0), TRIGGER]),
        ("A4 spans differ", "T1 Tobacco 28 31;;T2 Degree 0 7;;A1 DegreeVal T2 mild;;E1 Tobacco:T1 Degree:T2",
         "T1 Tobacco 28 31;;T2 Degree 0 6;;A1 DegreeVal T2 mild;;E1 Tobacco:T1 Degree:T2",
         [("Tobacco", "Degree", "mild", 1, 1, 0), TRIGGER]),
        # The trigger's value is the row's subtype and is not compared.
        ("A5 value of a trigger", "T1 Tobacco 28 31;;A1 TobaccoVal T1 heavy;;E1 Tobacco:T1", "T1 Tobacco 28 31;;E1 Tobacco:T1",
         [("Tobacco", "Trigger", "N/A", 0, 1, 0), ("Tobacco", "Trigger", "heavy", 1, 0, 1)]),
        ("A6 type of the event", "T1 Tobacco 28 31;;E1 Smoking:T1", "T1 Tobacco 28 31;;E1 Alcohol:T1", [TRIGGER]),
        # 28-41 with a gap overlaps 33-36, which lies in the gap; 0-13 in two pieces equals 0-13 in one.
        ("A7 hulls", "T1 Tobacco 28 31;38 41;;T2 Amount 0 7;8 13;;E1 Tobacco:T1 Amount:T2",
         "T1 Tobacco 33 36;;T2 Amount 0 13;;E1 Tobacco:T1 Amount:T2", [("Tobacco", "Amount", "N/A", 1, 1, 1), TRIGGER]),
        # Each argument is matched once.
        ("twice", "T1 Tobacco 28 31;;T2 Amount 0 7;;E1 Tobacco:T1 Amount:T2",
         "T1 Tobacco 28 31;;T2 Amount 0 7;;T3 Amount 0 7;;E1 Tobacco:T1 Amount:T2 Amount2:T3",
         [("Tobacco", "Amount", "N/A", 1, 2, 1), TRIGGER]),
        # Two values on one mention: that of the attribute with the mention's name.
        ("two values", f"{EVENT};;A2 Certainty T2 low;;E1 Tobacco:T1 Status:T2", f"{EVENT};;E1 Tobacco:T1 Status:T2",
         [("Tobacco", "StatusTime", "current", 1, 1, 1), TRIGGER]),
    ],
)  # fmt: skip
def test_arguments_are_known_by_the_type_of_their_entity(case: str, gold: str, predicted: str, expected: list[tuple[Any, ...]]) -> None:
    assert rows_of(gold, predicted) == sorted(expected), case


def test_partial_matches_by_tokens() -> None:
    # Gold: "two packs per" 28-41 is 3 tokens. Predicted: "packs" 32-37 and "per day." 38-46 are 1 and 2.
    gold = "T1 Tobacco 18 27;;T2 Amount 28 41;;E1 Tobacco:T1 Amount:T2"
    predicted = "T1 Tobacco 18 27;;T2 Amount 32 37;;T3 Amount 38 46;;E1 Tobacco:T1 Amount:T2 Amount2:T3"
    words = Shac2022("overlap", "partial", tokens=str.split)
    # One gold argument serves both: "packs" and "per", 1 + 1.
    assert rows_of(gold, predicted, words)[0] == ("Tobacco", "Amount", "N/A", 3, 3, 2)
    # The same prediction twice: tp may exceed gold.
    again = "T1 Tobacco 18 27;;T2 Amount 28 41;;T3 Amount 28 41;;E1 Tobacco:T1 Amount:T2 Amount2:T3"
    assert rows_of(gold, again, words)[0] == ("Tobacco", "Amount", "N/A", 3, 6, 6)
    # The longest run of "aspirin 81 mg" and "aspirin ... mg and": "aspirin" and "mg" are apart, so 1.
    parts = "T1 Tobacco 28 31;;T2 Amount {};;E1 Tobacco:T1 Amount:T2"
    assert rows_of(parts.format("0 13"), parts.format("0 7;11 17"), words)[0] == ("Tobacco", "Amount", "N/A", 3, 3, 1)
    # A labelled argument is no matter of tokens.
    labelled = "T1 Tobacco 28 31;;T2 TypeLiving 0 13;;E1 Tobacco:T1 Type:T2"
    assert rows_of(labelled, labelled, words)[1] == ("Tobacco", "TypeLiving", "N/A", 1, 1, 1)


def test_partial_matches_take_the_official_tokenizer() -> None:
    pytest.importorskip("spacy")
    gold = "T1 Tobacco 18 27;;T2 Amount 28 46;;E1 Tobacco:T1 Amount:T2"
    assert rows_of(gold, gold, Shac2022("overlap", "partial"))[0] == ("Tobacco", "Amount", "N/A", 5, 5, 5)  # "day" and "." are two


def test_partial_matches_need_the_official_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(SettingError, match="pip install spacy"):
        Shac2022("overlap", "partial")


def test_nearest_triggers_first() -> None:
    # Midpoints: gold 3.5 and 22.5; predicted 20 (type Drug) -> the second, although the first comes earlier.
    gold = "T1 Drug 0 7;;T2 Drug 18 27;;T3 Dose 8 10;;T4 Dose 11 13;;E1 Drug:T1 Has:T3;;E2 Drug:T2 Has:T4"
    predicted = "T1 Drug 18 22;;T2 Dose 11 13;;E1 Drug:T1 Has:T2"
    assert rows_of(gold, predicted, Shac2022("min_dist")) == [("Drug", "Dose", "N/A", 2, 1, 1), ("Drug", "Trigger", "N/A", 2, 1, 1)]


def test_unknown_rules_and_repeated_documents_are_refused() -> None:
    with pytest.raises(SettingError, match=r"known are strict-one-to-one, n2c2-2018, shac-2022$"):
        rule_set("muc-7")
    with pytest.raises(SettingError, match="did you mean 'shac-2022'"):
        rule_set("shac_2020")
    with pytest.raises(InputError, match="gold"):
        score([note(""), note("")], [note("")], rule_set("strict-one-to-one"))


def test_a_hit_in_a_row_of_which_nothing_was_predicted_has_no_f1_above_one() -> None:
    assert Counts(tp=1, fp=-1, fn=0).f1 == 0.0
    assert Counts(tp=1, fp=0, fn=-1).f1 == 0.0
    assert Counts(tp=1, fp=1, fn=0).f1 == pytest.approx(2 / 3)
