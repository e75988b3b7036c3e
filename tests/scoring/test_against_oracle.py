"""Every count of every rule set against quadratic scorers written from the rules alone."""

import itertools
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.formats import brat, brat_literal
from clinical_ie.scoring.n2c2 import N2c22018
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score, score_literally
from clinical_ie.scoring.shac import Shac2022

sys.path.insert(0, str(Path(__file__).parent))
import oracle as scoring_oracle

TEXT = "xx x\nx  xxx\r\nx x xx xxx" + "x" * 60
RULES = ("n2c2-2018", "strict-one-to-one")
MODES = ("strict", "lenient")
Choose = Callable[[int, int], int]
"""Draws an integer between two others, both included."""
Sides = dict[str, tuple[list[scoring_oracle.Mention], list[scoring_oracle.Relation]]]


def mention(choose: Choose) -> scoring_oracle.Mention:
    """Short spans on a short text, so that equal, nested, crossing and duplicate ones are common."""
    start = choose(0, 12)
    end = start + choose(1, 5)
    if choose(0, 3):
        return "AB"[choose(0, 1)], ((start, end),)
    second = end + choose(0, 3)
    return "AB"[choose(0, 1)], ((start, end), (second, second + choose(1, 4)))


def side(choose: Choose, most: int = 7) -> tuple[list[scoring_oracle.Mention], list[scoring_oracle.Relation]]:
    mentions = [mention(choose) for _ in range(choose(0, most))]
    if mentions and not choose(0, 2):
        mentions.append(mentions[0])
    links = []
    for _ in range(choose(0, most) if mentions else 0):
        head, tail = (mentions[choose(0, len(mentions) - 1)] for _ in range(2))
        links.append(("PQ"[choose(0, 1)], head, tail))
        if not choose(0, 3):
            links.append(("PQ"[choose(0, 1)], tail, head))
        if not choose(0, 3):
            links.append(links[0])
    return mentions, links


def folder(choose: Choose, most: int = 7) -> Sides:
    """Up to three documents, any of which may be missing."""
    return {name: side(choose, most) for name in ("a", "b", "c") if choose(0, 4)}


def documents(given_sides: Sides) -> list[Document]:
    found = []
    for name, (mentions, links) in given_sides.items():
        entities = tuple(Entity(f"T{i}", kind, Span(fragments)) for i, (kind, fragments) in enumerate(mentions))
        relations = tuple(
            Relation(f"R{i}", kind, f"T{mentions.index(head)}", f"T{mentions.index(tail)}") for i, (kind, head, tail) in enumerate(links)
        )
        found.append(Document(name, TEXT, entities, relations))
    return found


def compare(gold: Sides, system: Sides, rules: str) -> None:
    data = score(documents(gold), documents(system), rule_set(rules)).to_dict()
    assert data["missing"] == len(set(gold) - set(system))
    assert data["documents"] == len(set(gold) | set(system) if rules == "strict-one-to-one" else set(gold) & set(system))
    for place, kind in enumerate(("entities", "relations")):
        for mode in MODES:
            ours, theirs = ({name: one[place] for name, one in sides.items()} for sides in (gold, system))
            expected = scoring_oracle.corpus(rules, ours, theirs, mode, TEXT)
            got = data[kind][mode]
            rows = {"micro": (got["micro"], expected["micro"])}
            rows |= {name: (got["types"][name], expected["types"][name][0]) for name in expected["types"]}
            assert set(got["types"]) == set(expected["types"])
            for name, (row, counts) in rows.items():
                assert (row["tp"], row["fp"], row["fn"]) == counts, (kind, mode, name)
                assert (row["precision"], row["recall"], row["f1"]) == pytest.approx(scoring_oracle.prf(counts)), (kind, mode, name)
            assert tuple(got["macro"][name] for name in ("precision", "recall", "f1")) == pytest.approx(expected["macro"]), (kind, mode)


@settings(max_examples=250, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("rules", RULES)
def test_arbitrary_folders(rules: str, data: st.DataObject) -> None:
    def choose(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    compare(folder(choose, 4), folder(choose, 4), rules)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_random_folders(rules: str, seed: int) -> None:
    generator = random.Random(seed)
    for most in [3] * 60 + [7] * 60 + [20] * 12:
        compare(folder(generator.randint, most), folder(generator.randint, most), rules)


def odd_lines(choose: Choose) -> str:
    """A BRAT file as no document can be: equal ids, ends before starts, offsets that no text has, fragments and arguments in any order."""
    lines: list[str] = []
    names: list[str] = []
    for _ in range(choose(0, 7)):
        names.append(f"T{choose(1, 6)}")
        numbers = [choose(0, 14) for _ in range(2 * choose(1, 2))]
        if choose(0, 2):
            numbers.sort()
        ranges = ";".join(f"{a} {b}" for a, b in zip(numbers[::2], numbers[1::2], strict=True))
        lines.append(f"{' ' * (choose(0, 5) == 0)}{names[-1]}\t{'AB'[choose(0, 1)]} {ranges}\tx")
    for _ in range(choose(0, 5) if names else 0):
        ends = [names[choose(0, len(names) - 1)] for _ in range(2)]
        first, second = (("Arg1", "Arg2"), ("Arg2", "Arg1"), ("Drug", "Dose"))[choose(0, 2)]
        lines.insert(choose(0, len(lines)), f"R{choose(1, 4)}\t{'PQ'[choose(0, 1)]} {first}:{ends[0]} {second}:{ends[1]}")
    return "\n".join(lines)


def test_what_no_document_can_hold_counts_for_the_script_of_2018() -> None:
    generator = random.Random(9)
    for _ in range(400):
        gold, system = odd_lines(generator.randint), odd_lines(generator.randint)
        notes = [brat_literal.parse("a", None, lines) for lines in (gold, system)]
        data = score_literally(notes[:1], notes[1:], N2c22018()).to_dict()
        for place, kind in enumerate(("entities", "relations")):
            ours, theirs = ({"a": scoring_oracle.n2c2_lines(lines)[place]} for lines in (gold, system))
            for mode in MODES:
                expected = scoring_oracle.corpus("n2c2-2018", ours, theirs, mode, "")
                got = data[kind][mode]
                assert tuple(got["micro"][name] for name in ("tp", "fp", "fn")) == expected["micro"], (gold, system)
                rows = {name: (row["tp"], row["fp"], row["fn"]) for name, row in got["types"].items()}
                assert rows == {name: row[0] for name, row in expected["types"].items()}


WORDS = "Smoked two packs a day for ten years, quit in May; drinks wine daily, lives alone and works as a nurse."
MENTIONED = ("StatusTime", "StatusEmploy", "TypeLiving", "Amount", "Degree")
ROLES = ("StatusTime", "Status", "Type", "Amount", "Amount2", "Degree")


def event_lines(choose: Choose) -> str:
    """A BRAT file of events: roles and types of events are drawn apart from the types of the entities, values from everything."""
    lines: list[str] = []

    def add(kinds: tuple[str, ...]) -> str:
        start, length = choose(0, 24), choose(1, 14)
        numbers = [start, start + length]
        if not choose(0, 3):
            numbers += [numbers[-1] + choose(1, 3), numbers[-1] + choose(4, 9)]
        ranges = ";".join(f"{a} {b}" for a, b in zip(numbers[::2], numbers[1::2], strict=True))
        covered = " ".join(WORDS[a:b] for a, b in zip(numbers[::2], numbers[1::2], strict=True))
        name = f"T{len(lines) + 1}"
        lines.append(f"{name}\t{kinds[choose(0, len(kinds) - 1)]} {ranges}\t{covered}")
        if choose(0, 1):
            lines.append(f"A{len(lines) + 1}\t{ROLES[choose(0, 5)]}Val {name} {('now', 'past')[choose(0, 1)]}")
        return name

    for _ in range(choose(0, 5)):
        parts = [f"{'XYZ'[choose(0, 2)]}:{add(('X', 'Y'))}"]
        parts += [f"{ROLES[choose(0, 5)]}:{add(MENTIONED)}" for _ in range(choose(0, 5))]
        lines.append(f"E{len(lines) + 1}\t{' '.join(parts)}")
    return "\n".join(lines)


def compare_events(gold: list[str], system: list[str], criteria: tuple[Any, Any, Any]) -> None:
    """`gold` and `system` are the files of documents 0, 1, ...; tokens are words here, so that no tokenizer is needed."""
    expected: dict[tuple, list[int]] = {}
    for ours, theirs in zip(gold, system, strict=True):
        for (event, argument, value), counts in scoring_oracle.shac(ours, theirs, *criteria).items():
            row = expected.setdefault((event, argument, value or "N/A"), [0, 0, 0])
            row[:] = [a + b for a, b in zip(row, counts, strict=True)]
    sides = [[brat.parse(str(i), WORDS, lines) for i, lines in enumerate(files)] for files in (gold, system)]
    data = score(*sides, Shac2022(*criteria, tokens=str.split)).to_dict()
    assert {(r["event"], r["argument"], r["subtype"]): [r["gold"], r["predicted"], r["tp"]] for r in data["events"]} == expected
    n_gold, n_predicted, tp = (sum(row[k] for row in expected.values()) for k in range(3))
    overall = data["overall"]
    assert (overall["tp"], overall["fp"], overall["fn"]) == (tp, n_predicted - tp, n_gold - tp)
    assert overall["precision"] == pytest.approx(tp / n_predicted if n_predicted else 0.0)
    assert overall["recall"] == pytest.approx(tp / n_gold if n_gold else 0.0)


CRITERIA = list(itertools.product(("overlap", "exact", "min_dist"), ("exact", "overlap", "partial"), ("label", "exact", "overlap")))


@pytest.mark.parametrize("criteria", CRITERIA)
def test_random_events(criteria: tuple[Any, Any, Any]) -> None:
    generator = random.Random(7)
    for _ in range(60):
        number = generator.randint(0, 3)
        gold, system = ([event_lines(generator.randint) for _ in range(number)] for _ in range(2))
        compare_events(gold, system, criteria)


def near(choose: Choose, lines: str) -> str:
    """The same file by a system that is nearly right: some roles, types, values and ends changed, some lines of values left out."""
    found = []
    for line in lines.splitlines():
        changed = line
        luck = choose(0, 11)
        if line[0] == "A" and luck < 4:
            if luck < 2:
                continue
            changed = line.replace("now", "past")
        elif line[0] == "E" and luck < 6:
            changed = line.replace(ROLES[luck], ROLES[choose(0, 5)], 1)
        elif line[0] == "T" and luck < 2:
            changed = line.replace(MENTIONED[choose(0, 4)], MENTIONED[choose(0, 4)], 1)
        found.append(changed)
    return "\n".join(found)


@pytest.mark.parametrize("criteria", CRITERIA)
def test_events_of_a_system_that_is_nearly_right(criteria: tuple[Any, Any, Any]) -> None:
    generator = random.Random(8)
    for _ in range(40):
        gold = event_lines(generator.randint)
        compare_events([gold], [near(generator.randint, gold)], criteria)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_arbitrary_events(data: st.DataObject) -> None:
    def choose(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    compare_events([event_lines(choose)], [event_lines(choose)], data.draw(st.sampled_from(CRITERIA)))
