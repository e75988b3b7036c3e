"""Which decoders of transformers can be trained and asked here: a tiny random model of each class, every way of tuning, three precisions.

A cell trains two steps and answers, or is refused before training; prints the table of docs/backbones.md as Markdown. Every family has
every way of tuning in every precision, and in these the tasks (mentions, links, both) take turns: the three precisions of a way of
tuning are three tasks. With --all all tasks are run in all precisions.

    python benchmarks/decoder_matrix.py [--families Llama "GPT-2"] [--all]
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from itertools import product
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))
from clinical_ie.errors import ClinicalIEError
from clinical_ie.models.decoder import Decoder
from tests.models.decoder_families import FAMILIES, save_family
from tests.models.tiny_decoders import save_tokenizer
from tests.modules.decoder_cells import KINDS, PRECISIONS, TUNINGS, outcome, save_notes


def main() -> None:
    """Run the cells and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--all", action="store_true")
    settings = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    refused: dict[str, str] = {}
    print(f"| Decoder | packing | {' | '.join(TUNINGS)} |", "|---" * (2 + len(TUNINGS)) + "|", sep="\n", flush=True)
    for family in settings.families:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            notes = save_notes(place / "notes")
            name = save_family(family, place / "model", save_tokenizer(place / "model"))
            try:
                packing = Decoder(name).packing_problem is None
            except ClinicalIEError as error:
                refused[family] = str(error).replace(name, "").strip()
                continue
            row = []
            for number, tuning in enumerate(TUNINGS):
                cells = [
                    (task, precision)
                    for (place_of_task, task), (place_of_precision, precision) in product(enumerate(KINDS), enumerate(PRECISIONS))
                    if settings.all or (place_of_task + place_of_precision + number) % len(KINDS) == 0
                ]
                found = {
                    f"{task} {precision}": outcome(name, notes, task, tuning, precision, packing=packing, root=place)
                    for task, precision in cells
                }
                row.append(_summary(found))
            print(f"| {family} | {'yes' if packing else 'no'} | {' | '.join(row)} |", flush=True)
    if refused:
        print("\n| Refused when loaded | why |", "|---|---|", *(f"| {family} | {why} |" for family, why in refused.items()), sep="\n")


def _summary(found: dict[str, str]) -> str:
    """One word where all cells agree, else what each of the others is."""
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return "; ".join(f"{cell}: {what}" for cell, what in found.items() if what != "yes")


if __name__ == "__main__":
    main()
