"""``clinical-ie extract``: raw notes to files with what a trained model finds in them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical_ie.commands.arguments import Parser
from clinical_ie.commands.quiet import quieten
from clinical_ie.errors import SettingError
from clinical_ie.extraction.false_discovery import CERTAINTY, as_thresholds
from clinical_ie.extraction.inputs import BadNote, Note, read
from clinical_ie.extraction.inputs.acceptance import MOST_CHARACTERS
from clinical_ie.extraction.outputs import OUTPUTS
from clinical_ie.extraction.threshold_choice import calibration_notes, chosen_by_bound, refuse_learned, types_of
from clinical_ie.extraction.thresholds import Thresholds
from clinical_ie.extraction.trained_run import TrainedRun, check_backbone, stage_runs
from clinical_ie.schema import Schema
from clinical_ie.strategies.stop_signals import stopping_at_once

if TYPE_CHECKING:
    from clinical_ie.extraction.job import Summary
    from clinical_ie.extraction.part_work import PartResult
    from clinical_ie.extraction.parts import Part

_EPILOG = """\
Notes are read, annotated and written as they come, in parts. The same command goes on where an interrupted or killed one was.
Notes that cannot be annotated are listed in DIR/failed.jsonl with the reason, and stop nothing.

Exit codes: 0 all notes are annotated, 1 some are not (DIR/failed.jsonl) or the run failed, 2 bad usage, 75 stopped by a signal."""


def run(arguments: Sequence[str]) -> int:
    """Annotate notes, or go on with it."""
    options = _parser().parse_args(arguments[1:])
    formats = tuple(dict.fromkeys(options.format or ["jsonl"]))
    folder = Path(options.output)
    check_backbone(_runs(options), options.backbone)  # what is missing is said before anything heavy is imported
    _check_apart(options.input, folder)
    reading = {name: getattr(options, name) for name in ("text_column", "id_column", "encoding", "most_characters")}

    def notes(counts: Counter[str] | None = None) -> Any:
        return read(_source(options.input), **reading, counts=counts)

    with stopping_at_once():
        remarks: Counter[str] = Counter()
        given = notes(remarks)
        quieten()
        from clinical_ie.extraction.job import extract
        from clinical_ie.extraction.loading import identity

        model = {name: getattr(options, name) for name in ("relations", "corpus", "backbone", "precision", "batch_budget")}
        asked = {
            "model": identity(options.model, options.relations, corpus=options.corpus),
            "input": _named(options.input),
            "format": list(formats),
            "setting": {**reading, "precision": options.precision, "batch_budget": options.batch_budget, "snippets": options.snippets},
        }
        thresholds = _thresholds(options, {"run": options.model, **model})
        if thresholds is not None:
            asked["threshold"] = [thresholds.default, dict(sorted(thresholds.by_type.items()))]
        works = partial(_works, {"run": options.model, **model}, options.device, options.workers, formats, options.snippets, thresholds)
        summary = extract(given, folder, asked, works, count=None if options.input == "-" else lambda: _count(notes()))
    _show(summary, remarks, folder, formats)
    return 1 if summary.failed else 0


def _parser() -> Parser:
    parser = Parser(
        prog="clinical-ie extract",
        example="clinical-ie extract --model=runs/n2c2 new_notes --output=found --format jsonl brat",
        description="Annotate raw notes with a trained model.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "input",
        help="a folder of .txt files, or one; CSV, TSV, JSON lines or Parquet; FHIR DocumentReference as NDJSON; - for standard input",
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="RUN",
        help="the folder of a run, of a pipeline of two or three, or of what `clinical-ie export` has made of a run",
    )
    parser.add_argument(
        "--relations", metavar="RUN", help="the folder of a run that links the mentions which --model finds, or says their attributes"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder, or one that the same command has begun")
    parser.add_argument("--format", nargs="+", action="extend", choices=list(OUTPUTS), metavar="NAME",
                        help=f"what to write, one or more of {', '.join(OUTPUTS)} (default: jsonl)")  # fmt: skip
    parser.add_argument("--threshold", nargs="+", action="extend", default=[], metavar="[TYPE=]P",
                        help="lowest confidence kept, of all or of a type: 0.8 Drug=0.9; the rest goes to DIR/review.jsonl")  # fmt: skip
    parser.add_argument("--max-false-discovery", type=float, metavar="SHARE",
                        help="choose thresholds so that of each type at most this share of what is kept is wrong, with probability 0.9; "
                             "needs --calibration")  # fmt: skip
    parser.add_argument("--calibration", metavar="DIR", help="annotated notes on which it is proven, BRAT or JSON lines")
    parser.add_argument("--corpus", metavar="NAME", help="of a run of several corpora, the one whose types are wanted")
    parser.add_argument("--backbone", metavar="NAME", help="where the pretrained model lies now, if not where it lay in training")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one for each GPU, or by the CPU's cores)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or one GPU such as cuda:1 (default: all GPUs, or the CPU)")
    parser.add_argument("--precision", choices=("auto", "bf16", "32"), default="auto", help="default: bf16 where device and model can")
    parser.add_argument("--batch_budget", type=int, metavar="N", help="most sub-words of a batch (default: 2048 on a CPU, 32768 on a GPU)")
    parser.add_argument("--text_column", metavar="NAME", help="of a table (default: text, note_text, transcription, ...)")
    parser.add_argument("--id_column", metavar="NAME", help="of a table (default: id, note_id, row_id, ...)")
    parser.add_argument("--snippets", action="store_true", help="write the text around each mention into OMOP rows")
    parser.add_argument("--encoding", metavar="NAME", help="of the notes (default: UTF-8, or what the bytes tell)")
    parser.add_argument(
        "--most_characters", type=int, default=MOST_CHARACTERS, metavar="N", help="longer notes fail (default: %(default)s)"
    )
    return parser


def _source(given: str) -> Path | str:
    return given if given == "-" else Path(given)


def _named(given: str) -> str:
    return given if given == "-" else os.path.realpath(given)


def _check_apart(given: str, folder: Path) -> None:
    """Make sure that what is written is not read.

    Raises:
        SettingError: The output lies in the folder of the notes.
    """
    if given != "-" and Path(given).is_dir() and folder.resolve().is_relative_to(Path(given).resolve()):
        raise SettingError(f"{folder} lies in {given}, among the notes that are read; give another folder with --output")


def _count(notes: Any) -> int:
    return sum(isinstance(note, Note | BadNote) for note in notes)


@dataclass(frozen=True)
class _Work:
    """The work of a process: see `clinical_ie.extraction.job.ModelWork`, which takes long to import."""

    model: dict[str, Any]
    formats: tuple[str, ...]
    began: datetime
    threads: int | None = None
    snippets: bool = False
    thresholds: Thresholds | None = None

    def begin(self) -> Callable[[Part, Path], PartResult]:
        """Load the model, without remarks of other libraries."""
        quieten()
        from clinical_ie.extraction.job import ModelWork

        return ModelWork(self.model, self.formats, self.began, self.threads, self.snippets, self.thresholds).begin()


def _thresholds(options: Any, model: dict[str, Any]) -> Thresholds | None:
    """What is asked of confidences; None where nothing is.

    Raises:
        SettingError: Thresholds that cannot be, a bound without annotated notes, or with notes that the model has learned from.
    """
    bound, notes = options.max_false_discovery, options.calibration
    if (bound is None) != (notes is None):
        missing, given = ("--calibration", "--max-false-discovery") if notes is None else ("--max-false-discovery", "--calibration")
        raise SettingError(f"{given} needs {missing}: a share such as 0.05, and annotated notes on which it is proven")
    if bound is None:
        return Thresholds.parse(options.threshold, _types(options)) if options.threshold else None
    if options.threshold:
        raise SettingError("--max-false-discovery chooses the thresholds; leave out --threshold")
    from clinical_ie.extraction.loading import load

    documents = calibration_notes(Path(notes))
    for run in _runs(options):
        refuse_learned(run, Path(notes), documents)
    device = options.device if options.device != "cuda" else "auto"
    chosen = chosen_by_bound(load(**model, device=device), documents, bound)
    share = _percent(bound)
    print(f"Thresholds chosen on {len(documents):,} annotated notes: of each type by itself at most {share} of what is kept is wrong,")
    print(f"with probability {CERTAINTY}, on notes of the same kind (docs/confidence.md)")
    for threshold in chosen:
        print(f"  {threshold}", flush=True)
    return as_thresholds(chosen)


def _percent(share: float) -> str:
    """A share as it was given: a bound must not be rounded."""
    return f"{share * 100:.12g} %"


def _runs(options: Any) -> list[TrainedRun]:
    """All runs that are asked, in their order."""
    return [run for one in (options.model, options.relations) if one is not None for run in stage_runs(one)]


def _types(options: Any) -> list[str]:
    """What the runs can find, by their checkpoints, without loading a model."""
    named = [Schema.from_dict(given) for run in _runs(options) for name, given in run.schemas.items() if options.corpus in (None, name)]
    return [name for schema in named for name in types_of(schema)]


def _works(
    model: dict[str, Any],
    device: str,
    workers: int | None,
    formats: tuple[str, ...],
    snippets: bool,
    thresholds: Thresholds | None,
    began: datetime,
) -> list[_Work]:
    """What each process does: on its own GPU, or with its share of the cores.

    Raises:
        SettingError: Fewer than one process.
    """
    import torch

    if workers is not None and workers < 1:
        raise SettingError(f"--workers is {workers}; expected 1 or more")
    make = partial(_Work, formats=formats, began=began, snippets=snippets, thresholds=thresholds)
    if device in ("auto", "cuda") and torch.cuda.is_available():
        gpus = torch.cuda.device_count()
        return [make({**model, "device": f"cuda:{rank % gpus}"}) for rank in range(workers or gpus)]
    if device not in ("auto", "cpu"):
        return [make({**model, "device": device}) for _ in range(workers or 1)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    number = workers or max(1, min(cores, 2 + cores // 8))
    threads = max(1, cores // number) if number > 1 else None  # this process computes itself, as torch is set up in it
    return [make({**model, "device": "cpu"}, threads=threads) for _ in range(number)]


def _show(summary: Summary, remarks: Counter[str], folder: Path, formats: Sequence[str]) -> None:
    links = f", {summary.links:,} links" if summary.links else ""
    before = "" if summary.new == summary.documents + summary.failed else f" ({summary.new:,} of them now)"
    print(f"{summary.documents + summary.failed:,} notes{before}: {summary.mentions:,} mentions{links}")
    for name, number in (*sorted(remarks.items()), *sorted(summary.outcomes.items())):
        print(f"  {name}: {number:,}")
    for name in formats:
        print(f"{name + ':':<8} {folder / name}/")
    if (review := folder / "review.jsonl").exists():
        print(f"review:  {review}")
    if summary.failed:
        print(f"{summary.failed:,} notes could not be annotated; {folder}/failed.jsonl says why", file=sys.stderr)
