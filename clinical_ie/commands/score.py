"""``clinical-ie score``: predicted files against gold files."""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from clinical_ie.commands.arguments import Parser
from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError, printable
from clinical_ie.files import write_text
from clinical_ie.formats import brat, brat_literal, jsonl
from clinical_ie.formats.brat.offsets import CHARACTERS, RULES
from clinical_ie.formats.brat_literal import LiteralNote
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_files
from clinical_ie.scoring.n2c2 import N2c22018
from clinical_ie.scoring.rule_set import RuleSet
from clinical_ie.scoring.rules import RULE_SETS, rule_set
from clinical_ie.scoring.same_text import on_texts
from clinical_ie.scoring.score import Score, score, score_literally
from clinical_ie.scoring.shac import Shac2022

N = TypeVar("N", Document, LiteralNote)
Texts = Mapping[str, str] | None
"""Document id -> text, for files of annotations without a text beside them."""
Reader = Callable[[str, Findings, Texts, str], list[N]]
"""Notes of a path, given where findings go, texts, and what the offsets of BRAT files count."""


def run(arguments: Sequence[str]) -> int:
    """Read both sides, score, write, print."""
    options = _parser().parse_args(arguments[1:])
    # Nothing that is read is garbage before the end, so looking for garbage only costs time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _score(options)
    finally:
        if collecting:
            gc.enable()


def _score(options: argparse.Namespace) -> int:
    rules = _rules(options)
    sides = {name: Findings(strict=not options.lenient) for name in ("gold", "predicted", "compare")}
    if isinstance(rules, N2c22018):
        result, other = _scores(options, sides, read_literally, lambda gold, predicted, _: score_literally(gold, predicted, rules))
    else:
        result, other = _scores(options, sides, read, lambda gold, predicted, written: score(gold, predicted, rules, written=written))
    if options.json:
        write_text(options.json, json.dumps(result.to_dict(), indent=1, ensure_ascii=False) + "\n")

    from clinical_ie.reports.score_tables import show

    show(result, sides, other=other, samples=options.intervals, names=(options.predicted, options.compare))
    return 0


def _scores(
    options: argparse.Namespace,
    sides: Mapping[str, Findings],
    reader: Reader[N],
    judge: Callable[[list[N], list[N], Mapping[str, LiteralNote] | None], Score],
) -> tuple[Score, Score | None]:
    """The scores of the system and of the second one, if there is one, both on gold's texts."""
    gold = reader(options.gold, sides["gold"], None, options.gold_offsets)
    texts = {note.id: note.text for note in gold if note.text is not None}

    def scored(path: str, side: str) -> Score:
        notes = reader(path, sides[side], texts, options.offsets)
        check_names(options.gold, [note.id for note in gold], path, [note.id for note in notes])
        return judge(gold, on_texts(notes, texts, path, sides[side]), _written(path) if sides[side].errors else None)

    return scored(options.predicted, "predicted"), scored(options.compare, "compare") if options.compare else None


def check_names(gold: str, ours: Sequence[str], path: str, theirs: Sequence[str]) -> None:
    """Refuse folders that have no document in common: one of them is the wrong one, or lies a level deeper."""
    if ours and theirs and not set(ours) & set(theirs):
        raise InputError(
            f"{printable(path)}: none of its documents has the name of one in {printable(gold)};"
            f" names there are like {printable(ours[0])}, here like {printable(theirs[0])}; give folders in which they are the same"
        )


def read(path: str, findings: Findings, texts: Texts, offsets: str) -> list[Document]:
    """Documents of a BRAT folder, or of JSON lines.

    Raises:
        SettingError: Offsets of JSON lines are to count something else than characters.
    """
    if not holds_json_lines(path):
        return brat.read(path, findings, texts=texts, offsets=offsets)
    if offsets != CHARACTERS:
        raise SettingError(f"{printable(path)}: offsets {offsets} are for BRAT files; those of JSON lines count characters")
    return jsonl.read(path, findings)


def read_literally(path: str, findings: Findings, texts: Texts, offsets: str) -> list[LiteralNote]:
    """The same as the files write it."""
    if holds_json_lines(path):
        documents = read(path, findings, texts, offsets)
        for _ in (event for document in documents for event in document.events):
            findings.warning(path, 0, "event-not-counted", "an event, which only gives its trigger to relations")
        return [LiteralNote.of(document) for document in documents]
    return brat_literal.read(path, findings, texts=texts, offsets=offsets)


def _written(path: str) -> dict[str, LiteralNote] | None:
    """What BRAT files state, readable or not; None for JSON lines, of which a line is read or not."""
    return None if holds_json_lines(path) else {note.id: note for note in brat_literal.read(path, Findings(strict=False))}


def holds_json_lines(path: str) -> bool:
    """Whether a path is a file of JSON lines, or a folder with such files and without BRAT files."""
    if path.endswith(".jsonl"):
        return True
    return any(Path(path).glob("*.jsonl")) and not find_files(path, (".ann",), Findings(strict=False))


def _rules(options: argparse.Namespace) -> RuleSet:
    if options.intervals:
        from clinical_ie.scoring.intervals import check_samples

        check_samples(options.intervals, "--intervals")
    rules = rule_set(options.rules)
    if isinstance(rules, Shac2022):
        if options.compare or options.intervals:
            raise SettingError(f"{rules.name} has no per-document F1 to compare or resample; use another rule set for that")
        return Shac2022(options.triggers, options.span_arguments, options.labelled_arguments)
    if (options.triggers, options.span_arguments, options.labelled_arguments) != ("overlap", "exact", "label"):
        raise SettingError("--triggers, --span-arguments and --labelled-arguments belong to --rules shac-2022")
    return rules


def _parser() -> Parser:
    parser = Parser(
        prog="clinical-ie score",
        example="clinical-ie score --gold gold/ --predicted system/ --rules n2c2-2018 --json scores.json",
        description="Compare predicted with gold annotations.",
    )
    parser.add_argument("--gold", required=True, metavar="DIR", help="BRAT folder or .jsonl file with the truth")
    parser.add_argument("--predicted", required=True, metavar="DIR", help="the same from a system; .ann files are enough")
    parser.add_argument(
        "--rules",
        default="strict-one-to-one",
        metavar="NAME",
        help=f"one of {', '.join(RULE_SETS)}; default: %(default)s, where a missing prediction counts as missed",
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--compare", metavar="DIR", help="a second system; gives the interval of the paired difference and tells whether it may be chance"
    )
    parser.add_argument(
        "--intervals",
        type=int,
        default=0,
        metavar="N",
        help="95 %% confidence intervals (expanded percentile; jackknife-t of less than 8 documents) from N bootstrap samples; 0, the"
        " default, for none",
    )
    parser.add_argument("--lenient", action="store_true", help="mend and count broken records instead of stopping at the first")
    counted = f"{', '.join(RULES)}, or some joined by +"
    parser.add_argument("--offsets", default=CHARACTERS, metavar="RULE", help=f"what offsets of predicted BRAT files count: {counted}")
    parser.add_argument("--gold-offsets", default=CHARACTERS, metavar="RULE", help="the same for gold files")
    parser.add_argument("--triggers", default="overlap", choices=("overlap", "exact", "min_dist"), help="shac-2022: equal triggers")
    parser.add_argument(
        "--span-arguments",
        default="exact",
        choices=("exact", "overlap", "partial"),
        help="shac-2022: arguments other than StatusTime, StatusEmploy and TypeLiving; partial needs spaCy",
    )
    parser.add_argument(
        "--labelled-arguments",
        default="label",
        choices=("label", "exact", "overlap"),
        help="shac-2022: StatusTime, StatusEmploy and TypeLiving",
    )
    return parser
