"""Scores of attributes, by tables worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from clinical_ie.document import Document
from clinical_ie.formats import brat, i2b2
from clinical_ie.formats.findings import Findings
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import Score, score

#       0         1         2         3         4
#       0123456789012345678901234567890123456789012345
TEXT = "aspirin 81 mg and ibuprofen two packs per day."
MENTIONS = "T1 Drug 0 7;;T2 Drug 18 27;;"


def note(records: str) -> Document:
    """Records separated by ``;;``: ``T1 Drug 0 7``, ``A1 Neg T1 yes``."""
    lines = []
    for record in filter(None, records.split(";;")):
        identifier, rest = record.split(" ", 1)
        covered = f"\t{TEXT[slice(*map(int, rest.split()[1:]))]}" if identifier.startswith("T") else ""
        lines.append(f"{identifier}\t{rest}{covered}")
    return brat.parse("a", TEXT, "\n".join(lines) + "\n")


def held(gold: str, predicted: str, rules: str = "strict-one-to-one") -> Score:
    return score([note(gold)], [note(predicted)], rule_set(rules))


def counts(result: Score, mode: Any) -> tuple[int, int, int]:
    micro = result.micro("attributes", mode)
    return micro.tp, micro.fp, micro.fn


# tp, fp, fn; a mention counts with its type and span (strict) or with its type and a shared character (lenient)
@pytest.mark.parametrize(
    ("case", "gold", "predicted", "strict", "lenient"),
    [
        ("equal", f"{MENTIONS}A1 Neg T1 yes", f"{MENTIONS}A7 Neg T1 yes", (1, 0, 0), (1, 0, 0)),
        ("other value", f"{MENTIONS}A1 Neg T1 yes", f"{MENTIONS}A1 Neg T1 no", (0, 1, 1), (0, 1, 1)),
        ("a flag is no value", f"{MENTIONS}A1 Neg T1", f"{MENTIONS}A1 Neg T1 yes", (0, 1, 1), (0, 1, 1)),
        ("other mention", f"{MENTIONS}A1 Neg T1", f"{MENTIONS}A1 Neg T2", (0, 1, 1), (0, 1, 1)),
        ("other type", f"{MENTIONS}A1 Neg T1", f"{MENTIONS}A1 Old T1", (0, 1, 1), (0, 1, 1)),
        ("shorter mention", "T1 Drug 0 7;;A1 Neg T1", "T1 Drug 0 3;;A1 Neg T1", (0, 1, 1), (1, 0, 0)),
        ("other type of mention", "T1 Drug 0 7;;A1 Neg T1", "T1 Dose 0 7;;A1 Neg T1", (0, 1, 1), (0, 1, 1)),
        ("said twice", f"{MENTIONS}A1 Neg T1", f"{MENTIONS}A1 Neg T1;;A2 Neg T1", (1, 1, 0), (1, 1, 0)),
        ("twins", "T1 Drug 0 7;;T2 Drug 0 7;;A1 Neg T1", "T1 Drug 0 7;;T2 Drug 0 7;;A1 Neg T2", (1, 0, 0), (1, 0, 0)),
        ("an event is its trigger", "T1 Drug 0 7;;E1 Drug:T1;;A1 Neg E1", "T1 Drug 0 7;;A1 Neg T1", (1, 0, 0), (1, 0, 0)),
        ("one long one", f"{MENTIONS}A1 Neg T1;;A2 Neg T2", "T1 Drug 0 27;;A1 Neg T1", (0, 1, 2), (1, 0, 1)),
        ("two values", f"{MENTIONS}A1 Neg T1 yes;;A2 Old T1 no", f"{MENTIONS}A1 Neg T1 yes", (1, 0, 1), (1, 0, 1)),
        ("none", MENTIONS, MENTIONS, (0, 0, 0), (0, 0, 0)),
        ("not of mentions", f"{MENTIONS}R1 Is Arg1:T1 Arg2:T2;;A1 Neg R1;;A2 Sure A1", MENTIONS, (0, 0, 0), (0, 0, 0)),
    ],
)  # fmt: skip
def test_hand_table(case: str, gold: str, predicted: str, strict: tuple[int, int, int], lenient: tuple[int, int, int]) -> None:
    result = held(gold, predicted)
    assert counts(result, "strict") == strict
    assert counts(result, "lenient") == lenient


def test_rows_are_types_with_their_values() -> None:
    result = held(f"{MENTIONS}A1 Neg T1 yes;;A2 Old T2", f"{MENTIONS}A1 Neg T1 no;;A2 Old T2")
    assert {name: (row.tp, row.fp, row.fn) for name, row in result.types("attributes", "strict").items()} == {
        "Neg=no": (0, 1, 0), "Neg=yes": (0, 0, 1), "Old": (1, 0, 0),
    }  # fmt: skip
    assert result.macro("attributes", "strict")["f1"] == pytest.approx(1 / 3)
    assert result.to_dict()["attributes"]["strict"]["micro"]["f1"] == 0.5
    assert set(result.to_dict()["attributes"]) == {"strict", "lenient"} == set(result.to_dict()["relations"])


@pytest.mark.parametrize("rules", ["n2c2-2018", "shac-2022"])
def test_other_rules_count_none(rules: str) -> None:
    result = held(f"{MENTIONS}A1 Neg T1", f"{MENTIONS}A1 Neg T1", rules)
    assert "attributes" not in result.to_dict()


def test_assertions_of_2010_i2b2_are_classes_of_gold_concepts(tmp_path: Any) -> None:
    """The challenge's rule: concepts are given, each has one assertion, micro F1 is over all of them (here 3 of 4 are right)."""
    text = "no fever , chills , cough\npossible angina"
    concepts = [("fever", "1:1 1:1"), ("chills", "1:3 1:3"), ("cough", "1:5 1:5"), ("angina", "2:1 2:1")]
    gold, system = ["absent", "absent", "absent", "possible"], ["absent", "absent", "present", "possible"]
    for side, said in (("gold", gold), ("system", system)):
        folder = tmp_path / side
        folder.mkdir()
        (folder / "a.txt").write_text(text)
        (folder / "a.con").write_text("\n".join(f'c="{words}" {at}||t="problem"' for words, at in concepts))
        (folder / "a.ast").write_text(
            "\n".join(f'c="{words}" {at}||t="problem"||a="{value}"' for (words, at), value in zip(concepts, said, strict=True))
        )
    result = score(*(i2b2.read(tmp_path / side, Findings()) for side in ("gold", "system")), rule_set("strict-one-to-one"))
    assert result.setting == "gold entities"
    micro = result.micro("attributes", "strict")
    assert (micro.tp, micro.fp, micro.fn) == (3, 1, 1)
    assert micro.f1 == 0.75, "with one class for each concept, micro F1 is accuracy"
    assert set(result.types("attributes", "strict")) == {"assertion=absent", "assertion=present", "assertion=possible"}
