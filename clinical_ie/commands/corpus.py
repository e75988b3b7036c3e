"""``clinical-ie corpus check | stats | survive | convert | draft``."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clinical_ie.commands.arguments import Parser
from clinical_ie.corpora import Corpus, CorpusReader, find, find_split
from clinical_ie.corpora.corpus import BratCorpus
from clinical_ie.document import Document
from clinical_ie.errors import ClinicalIEError, SettingError
from clinical_ie.files import write_text
from clinical_ie.formats import brat, doccano, i2b2, jsonl, label_studio, phee, prodigy, radgraph
from clinical_ie.formats.brat.offsets import CHARACTERS, RULES, check_rule
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.losses import in_words

_FOLDERS = ("brat", "i2b2")
_FILES = ("jsonl", "phee", "radgraph", "label-studio")
_READ_ONLY = ("doccano", "prodigy")


def run(arguments: Sequence[str]) -> int:
    """Run one of them."""
    options = _parser().parse_args(arguments[1:])
    command: Callable[[argparse.Namespace], int] = options.command
    return command(options)


def _corpus(options: argparse.Namespace) -> Corpus:
    maker = find(options.corpus)
    if options.dir is None and options.corpus != "demo" and not options.corpus.endswith((".yaml", ".yml")):
        raise SettingError(f"corpus {options.corpus}: the folder with its files is missing")
    corpus = maker(options.dir) if options.dir is not None or options.corpus == "demo" else maker()
    if options.offsets is not None:
        if not isinstance(corpus, BratCorpus):
            raise SettingError(f"--offsets {options.offsets}: {corpus.name} has no BRAT files")
        corpus.offsets = check_rule(options.offsets)
    return corpus


def check(options: argparse.Namespace) -> int:
    """Every problem with file and line, then a summary; 2 if there are errors."""
    from clinical_ie.corpora.integrity import check as look

    corpus, findings, console = _corpus(options), Findings(strict=False), Console()
    splits = look(corpus, findings, find_split(options.corpus))
    shown = list(findings) if options.all else findings.errors + findings.warnings[: options.warnings]
    for finding in shown:
        kind = "[red]error[/]" if finding.error else "[yellow]warning[/]"
        console.print(f"{kind} {escape(str(finding))}", highlight=False, soft_wrap=True)
    if hidden := len(findings.items) - len(shown):
        console.print(f"... and {hidden} more warnings; --all shows them")
    table = Table(title=f"{escape(corpus.name)}: {len(findings.errors)} errors, {len(findings.warnings)} warnings", title_justify="left")
    table.add_column("problem")
    table.add_column("kind")
    table.add_column("count", justify="right")
    errors = {finding.code for finding in findings.errors}
    for code, count in sorted(findings.counts().items()):
        table.add_row(code, "error" if code in errors else "warning", f"{count:,}")
    table.add_section()
    for split, documents in splits.items():
        mentions = sum(len(document.entities) for document in documents)
        links = sum(1 for document in documents for _ in document.links())
        table.add_row(f"{split}: {mentions:,} entities, {links:,} relations and arguments", "documents", f"{len(documents):,}")
    console.print(table)
    return 2 if findings.errors else 0


def stats(options: argparse.Namespace) -> int:
    """Tables, and a figure on request."""
    from clinical_ie.reports.corpus_figures import tables, write_figure
    from clinical_ie.reports.corpus_statistics import Statistics, describe

    corpus, findings, console = _corpus(options), Findings(strict=False), Console()
    parts = CorpusReader(corpus, find_split(options.corpus), findings).read_all()
    found: dict[str, Statistics] = {split: describe(documents, corpus.schema) for split, documents in parts.items()}
    for table in tables(corpus.name, found):
        console.print(table)
    _tell(findings, console)
    if options.figure:
        write_figure(options.figure, corpus.name, found)
        console.print(f"wrote {escape(str(options.figure))}")
    return 0


def survive(options: argparse.Namespace) -> int:
    """What of the gold annotations comes back from each task, and why not the rest."""
    from clinical_ie.commands.corpus_survival import GoldSurvival, table_of

    corpus, findings, console = _corpus(options), Findings(strict=False), Console()
    parts = CorpusReader(corpus, find_split(options.corpus), findings).read_all()
    documents = [document for part in parts.values() for document in part]
    if not any(document.entities for document in documents):
        raise SettingError(f"corpus {corpus.name}: {len(documents)} documents without annotations; nothing could be lost")
    measured = GoldSurvival(corpus.name, corpus.schema, documents, options.model)
    rows = list(measured.rows(options.task, formats=options.formats))
    if not rows:
        raise SettingError(next(iter(measured.left_out.values())))
    console.print(table_of(f"{corpus.name}: survival of gold, {len(documents):,} documents", rows))
    console.print(f"tokenizers: {', '.join(dict.fromkeys(escape(row.model) for row in rows))}", highlight=False, soft_wrap=True)
    for name, reason in measured.left_out.items():
        console.print(f"[yellow]without {name}[/]: {escape(reason)}", highlight=False, soft_wrap=True)
    if left_out := sum(corpus.view.left_out.values()):
        console.print(f"[yellow]the flat view leaves out {left_out:,} overlapping mentions before[/]", highlight=False)
    _tell(findings, console)
    if options.json:
        found = {
            "corpus": corpus.name,
            "documents": len(documents),
            "rows": [row.to_dict() for row in rows],
            "left_out": measured.left_out,
            "left_out_by_flat_view": dict(sorted(corpus.view.left_out.items())),
            "findings": dict(sorted(findings.counts().items())),
        }
        write_text(options.json, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return 0


def convert(options: argparse.Namespace) -> int:
    """The same annotations in another format."""
    console = Console()
    # the covered text is written anew from the text: where the two disagree, that would hide a fault of the offsets
    findings = Findings(strict=not options.lenient, as_errors=frozenset({"covered-text-differs"}))
    target, source = Path(options.output), Path(options.dir) if options.dir else None
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SettingError(f"{target} exists already; give a name that is free")
    if options.corpus and options.source:
        raise SettingError(f"--from {options.source} and --corpus {options.corpus}: a corpus knows its format; give one of the two")
    if options.corpus:
        parts = CorpusReader(_corpus(options), find_split(options.corpus), findings).read_all()
        splits: dict[str, list[Document]] = {split: documents for split, documents in parts.items() if documents}
    else:
        if source is None or not options.source:
            raise SettingError("nothing to convert: give a folder or file with --from FORMAT, or --corpus NAME")
        if options.offsets is not None and options.source not in ("brat", "label-studio"):
            raise SettingError(f"--offsets {options.offsets} is for BRAT files and Label Studio; {options.source} has offsets of its own")
        splits = {"": _reader(options.source, options.offsets)(source, findings)}
    count = 0
    try:
        for split, documents in splits.items():
            _write(options.to, documents, target, split, findings)
            count += len(documents)
    except (ClinicalIEError, KeyboardInterrupt):
        shutil.rmtree(target, ignore_errors=True)  # it was free: what a split before left there is half of a corpus
        raise
    _tell(findings, console)
    console.print(f"wrote {count:,} documents to {escape(str(target))}")
    return 0


def draft(options: argparse.Namespace) -> int:
    """The description of a BRAT folder as a YAML file, to be read and corrected."""
    from clinical_ie.corpora.drafted_schema import drafted_schema

    source, target, console, findings = Path(options.dir), Path(options.output), Console(), Findings()
    if target.suffix not in (".yaml", ".yml"):
        raise SettingError(f"--output {target}: expected a name that ends in .yaml, such as {source.name or 'my_notes'}.yaml")
    if target.exists():
        raise SettingError(f"{target} exists already, and may have been corrected; give a name that is free")
    documents = brat.read(source, findings, offsets=options.offsets or CHARACTERS)
    if not any(document.entities for document in documents):
        raise SettingError(f"{source}: {len(documents)} documents without a mention; there are no types to describe")
    write_text(target, drafted_schema(documents, source, target.stem))
    _tell(findings, console)
    console.print(f"wrote {escape(str(target))}: read it, and give each type a definition; then", highlight=False, soft_wrap=True)
    console.print(f"  clinical-ie corpus check --corpus {escape(str(target))}", highlight=False, soft_wrap=True)
    return 0


def _reader(name: str, offsets: str | None) -> Callable[[Path, Findings], list[Document]]:
    readers: dict[str, Callable[..., list[Document]]] = {
        "brat": lambda path, findings: brat.read(path, findings, offsets=offsets or CHARACTERS),
        "i2b2": i2b2.read, "jsonl": jsonl.read, "phee": phee.read, "radgraph": radgraph.read,
        "doccano": doccano.read, "prodigy": prodigy.read,
        "label-studio": lambda path, findings: label_studio.read(path, findings, offsets=offsets or CHARACTERS),
    }  # fmt: skip
    return readers[name]


def _write(name: str, documents: Iterable[Document], target: Path, split: str, findings: Findings) -> None:
    """A folder, or a file where the format holds all documents in one; one of either for each split."""
    if name == "brat":
        brat.write(documents, target / split, findings)
    elif name == "i2b2":
        i2b2.write(documents, target / split, findings)
    else:
        ending = "jsonl" if name == "jsonl" else "json"
        file = target / f"{split}.{ending}" if split else target
        writers: dict[str, Callable[..., Any]] = {
            "jsonl": lambda docs, path, _: jsonl.write(docs, path),
            "phee": phee.write,
            "radgraph": radgraph.write,
            "label-studio": label_studio.write,
        }
        writers[name](documents, file, findings)


def _tell(findings: Findings, console: Console) -> None:
    errors = {finding.code for finding in findings.errors}
    if findings.losses:
        console.print(f"[red]left out[/]: {in_words(findings.losses)}", highlight=False, soft_wrap=True)
    for code, count in sorted(findings.counts().items()):
        if code == "unrepresentable":
            continue
        kind = "[red]left out or mended[/]" if code in errors else "[yellow]warning[/]"
        console.print(f"{kind}: {count:,} x {code}", highlight=False)


def _parser() -> Parser:
    parser = Parser(
        prog="clinical-ie corpus",
        example="clinical-ie corpus check /data/my_notes --corpus my_notes.yaml",
        description="Check, describe and convert corpora, and measure what tasks lose of them.",
    )
    commands = parser.add_subparsers(required=True, metavar="check|stats|survive|convert|draft")
    described = "maccrobat, n2c2_2018, ..., or a YAML file that describes a BRAT folder"

    one = commands.add_parser("check", help="every integrity problem with file and line; exit code 2 on errors")
    one.add_argument("dir", nargs="?", metavar="DIR", help="the corpus as its owners ship it")
    one.add_argument("--corpus", required=True, metavar="NAME", help=described)
    one.add_argument("--warnings", type=int, default=20, metavar="N", help="show so many warnings (default: %(default)s)")
    one.add_argument("--all", action="store_true", help="show all")
    one.set_defaults(command=check)

    two = commands.add_parser("stats", help="documents, types, overlaps, lengths, by split")
    two.add_argument("dir", nargs="?", metavar="DIR", help="the corpus as its owners ship it")
    two.add_argument("--corpus", required=True, metavar="NAME", help=described)
    two.add_argument("--figure", metavar="FILE", help="write a picture: .png, or .html with the tables too")
    two.set_defaults(command=stats)

    four = commands.add_parser("survive", help="the share of gold annotations that comes back from each task, by cause of loss")
    four.add_argument("dir", nargs="?", metavar="DIR", help="the corpus as its owners ship it")
    four.add_argument("--corpus", required=True, metavar="NAME", help=described)
    four.add_argument(
        "--task", action="append", default=[], metavar="NAME", help="entity_tagging, ..., or a file; may be repeated (default: all tasks)"
    )
    four.add_argument("--model", metavar="NAME", help="whose tokenizer: minilm, ..., a hub name or a folder (default: the packaged models)")
    four.add_argument("--formats", action="store_true", help="a row for each response format of instructions")
    four.add_argument("--json", metavar="FILE", help="write all numbers, by type too")
    four.set_defaults(command=survive)

    three = commands.add_parser("convert", help="the same annotations in another format")
    three.add_argument("dir", nargs="?", metavar="INPUT", help="folder or file")
    three.add_argument("--corpus", metavar="NAME", help=f"{described}; its splits become folders or files")
    three.add_argument("--from", dest="source", choices=(*_FOLDERS, *_FILES, *_READ_ONLY), help="the format of INPUT, without --corpus")
    three.add_argument("--to", required=True, choices=(*_FOLDERS, *_FILES))
    three.add_argument("--output", required=True, metavar="PATH", help="a folder or file that does not exist yet")
    three.add_argument(
        "--lenient",
        action="store_true",
        help="leave out or replace what a format cannot hold, mend broken records, and count them, instead of stopping",
    )
    three.set_defaults(command=convert)

    five = commands.add_parser("draft", help="write the YAML file that describes a BRAT folder, from the types in it")
    five.add_argument("dir", metavar="DIR", help="the folder, or the one above those of the splits")
    five.add_argument("--output", required=True, metavar="FILE", help="a YAML file that does not exist yet")
    five.set_defaults(command=draft)
    for command in (one, two, three, four, five):
        command.add_argument(
            "--offsets",
            metavar="RULE",
            help=f"what the offsets of BRAT files or Label Studio count: {', '.join(RULES)} (default: characters, or what the corpus says)",
        )
    return parser
