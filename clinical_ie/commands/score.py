"""``clinical-ie score``: predicted files against gold files."""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Sequence
from pathlib import Path

from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError
from clinical_ie.files import write_text
from clinical_ie.formats import brat, jsonl
from clinical_ie.formats.findings import Findings
from clinical_ie.scoring.rule_set import RuleSet
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score
from clinical_ie.scoring.shac import Shac2022


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
    findings = Findings(strict=not options.lenient)
    rules = _rules(options)
    gold = read(options.gold, findings)
    texts = {document.id: document.text for document in gold}
    result = score(gold, read(options.predicted, findings, texts), rules)
    if options.json:
        write_text(options.json, json.dumps(result.to_dict(), indent=1, ensure_ascii=False) + "\n")
    other = score(gold, read(options.compare, findings, texts), rules) if options.compare else None

    from clinical_ie.reports.score_tables import show

    show(result, findings, other=other, samples=options.intervals, names=(options.predicted, options.compare))
    return 0


def read(path: str, findings: Findings, texts: dict[str, str] | None = None) -> list[Document]:
    """Documents of a BRAT folder, or of JSON lines."""
    if path.endswith(".jsonl"):
        return jsonl.read(path, findings)
    if not Path(path).is_dir():
        raise InputError(f"{path}: no such folder; expected one with .ann files, or a .jsonl file")
    if not any(Path(path).rglob("*.ann")) and any(Path(path).glob("*.jsonl")):
        return jsonl.read(path, findings)
    return brat.read(path, findings, texts=texts)


def _rules(options: argparse.Namespace) -> RuleSet:
    if options.intervals < 0:
        raise SettingError(f"--intervals {options.intervals}: expected the number of bootstrap samples, such as 1000")
    if options.rules == Shac2022.name:
        if options.compare or options.intervals:
            raise SettingError(f"{options.rules} has no per-document F1 to compare or resample; use another rule set for that")
        return Shac2022(options.triggers, options.span_arguments, options.labelled_arguments)
    if (options.triggers, options.span_arguments, options.labelled_arguments) != ("overlap", "exact", "label"):
        raise SettingError("--triggers, --span-arguments and --labelled-arguments belong to --rules shac-2022")
    return rule_set(options.rules)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clinical-ie score", description="Compare predicted with gold annotations.")
    parser.add_argument("--gold", required=True, metavar="DIR", help="BRAT folder or .jsonl file with the truth")
    parser.add_argument("--predicted", required=True, metavar="DIR", help="the same from a system; .ann files are enough")
    parser.add_argument(
        "--rules",
        default="strict-one-to-one",
        choices=("strict-one-to-one", "n2c2-2018", "shac-2022"),
        help="default: %(default)s, where a missing prediction counts as missed",
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--compare", metavar="DIR", help="a second system; tells whether the difference may be chance")
    parser.add_argument(
        "--intervals", type=int, default=0, metavar="N", help="95 %% confidence intervals from N bootstrap samples of documents"
    )
    parser.add_argument("--lenient", action="store_true", help="mend and count broken records instead of stopping at the first")
    parser.add_argument("--triggers", default="overlap", choices=("overlap", "exact", "min_dist"), help="shac-2022: equal triggers")
    parser.add_argument(
        "--span-arguments", default="exact", choices=("exact", "overlap", "partial"), help="shac-2022: arguments without value"
    )
    parser.add_argument(
        "--labelled-arguments", default="label", choices=("label", "exact", "overlap"), help="shac-2022: arguments with value"
    )
    return parser
