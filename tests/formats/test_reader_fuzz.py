"""Broken BRAT and i2b2 files, seeded: strict readers raise `InputError` only, lenient ones nothing, and no message holds note text."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from clinical_ie.document import Document
from clinical_ie.errors import InputError
from clinical_ie.formats import brat, i2b2
from clinical_ie.formats.findings import Findings
from tests.fuzzing import MARKER, mutants

TEXT = f"Smokes cigars, denies {MARKER} in the left 😀 and\r\nright arm."
START = TEXT.index(MARKER)
BRAT = f"""\
T1\tTobacco 0 6\tSmokes
T2\tType 7 13\tcigars
E1\tTobacco:T1 Type:T2 Type2:T3
T3\tType 7 12\tcigar
T4\tProblem {START} {START + len(MARKER)};{TEXT.index("arm")} {TEXT.index("arm") + 3}\t{MARKER} arm
T5\tProblem {START} {START + len(MARKER)}\t{MARKER}
R1\tSame Arg1:T4 Arg2:E1
R2\tHolds Whole:T4 Part:T5
A1\tNegated T4
A2\tSure A1
A3\tStatus T1 on and off
*\tEquiv T4 T5 E1
N1\tReference T5 UMLS:C0030193\t{MARKER}
N2\tReference A2 UMLS: C0030193\t{MARKER}
#1\tAnnotatorNotes T1\tsure about {MARKER}?
"""
GRID_TEXT = f"Smokes cigars , denies {MARKER} .\n{MARKER} in the left arm\n"
CON = f'c="{MARKER.lower()}" 1:4 1:4||t="problem"\nc="smokes cigars" 1:0 1:1||t="test"\nc="left arm" 2:3 2:4||t="problem"\n'
AST = f'c="{MARKER.lower()}" 1:4 1:4||t="problem"||a="absent"\n'
REL = f'c="smokes cigars" 1:0 1:1||r="TeRP"||c="{MARKER.lower()}" 1:4 1:4\n'
COUNT = 1500
I2B2_COUNT = 400


def refusal(read: Callable[[], object]) -> str:
    """The message of an input error; empty where there is none."""
    try:
        read()
    except InputError as error:
        return str(error)
    return ""


def told(findings: Findings) -> str:
    return "\n".join(str(finding) for finding in findings).lower()


def test_the_valid_files_are_valid() -> None:
    findings = Findings()
    document = brat.parse("d", TEXT, BRAT, findings)
    assert (len(document.entities), len(document.attributes), len(document.normalizations)) == (5, 3, 2)
    assert findings.counts() == {"blank-in-entry": 1}


@pytest.mark.parametrize("seed", range(3))
def test_brat_records(seed: int) -> None:
    refused = 0
    for annotation in mutants(BRAT, COUNT, seed=seed):
        findings = Findings()
        message = refusal(partial(brat.parse, "d", TEXT, annotation, findings))
        assert len(message) < 500
        refused += bool(message)
        assert MARKER.lower() not in message.lower() + told(findings)
        lenient = Findings(strict=False)
        document = brat.parse("d", TEXT, annotation, lenient)
        assert MARKER.lower() not in told(lenient)
        assert all(len(str(finding)) < 500 for finding in lenient)
        rendered = brat.render(document, Findings(strict=False))
        again = brat.parse("d", TEXT, rendered)
        assert [entity.span for entity in again.entities] == [entity.span for entity in document.entities]
        assert [len(part) for part in parts(again)] == [len(part) for part in parts(document)]
    assert COUNT / 4 < refused < COUNT


def parts(document: Document) -> list[tuple[object, ...]]:
    return [document.relations, document.events, document.attributes, document.normalizations, document.comments, document.equivalences]


@pytest.mark.parametrize("seed", range(2))
def test_i2b2_records(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    refused = 0
    (tmp_path / "n.txt").write_text(GRID_TEXT)
    valid = {"con": CON, "ast": AST, "rel": REL}
    for rank in range(I2B2_COUNT):
        broken = rng.choice(sorted(valid))
        for ending, records in valid.items():
            (mutant,) = mutants(records, 1, seed=1000 * seed + rank) if ending == broken else (records,)
            (tmp_path / f"n.{ending}").write_bytes(mutant.encode())
        findings = Findings()
        message = refusal(partial(i2b2.read, tmp_path, findings))
        assert MARKER.lower() not in message.lower()
        assert len(message) < 500 + len(str(tmp_path))
        refused += bool(message)
        lenient = Findings(strict=False)
        documents = i2b2.read(tmp_path, lenient)
        assert MARKER.lower() not in told(findings) + told(lenient)
        if rank % 10 == 0:
            i2b2.write(documents, tmp_path.parent / f"{tmp_path.name}_out", Findings(strict=False))
    assert I2B2_COUNT / 5 < refused < I2B2_COUNT


def test_bytes_of_folders(tmp_path: Path) -> None:
    """Whole files with bytes of other encodings: one that cannot be read never costs the others."""
    rng = random.Random(0)
    (tmp_path / "good.txt").write_bytes(TEXT.encode())
    (tmp_path / "good.ann").write_bytes(BRAT.encode())
    for _ in range(200):
        for name, valid in (("bad.txt", TEXT), ("bad.ann", BRAT)):
            data = bytearray(valid.encode(rng.choice(("utf-8", "utf-8", "utf-16", "utf-8-sig"))))
            for _ in range(rng.randint(0, 3)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            (tmp_path / name).write_bytes(data)
        findings = Findings()
        assert MARKER not in refusal(partial(brat.read, tmp_path, findings)) + told(findings)
        lenient = Findings(strict=False)
        assert "good" in [document.id for document in brat.read(tmp_path, lenient)]
        assert MARKER not in told(lenient)
