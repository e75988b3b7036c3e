"""Whether the bound on false discoveries holds: annotated notes are split at random into calibration and test, a hundred times.

Thresholds by type are chosen on one half, and the share of wrong annotations among those kept of the other half is held against the
bound. Beside it the obvious way: the lowest threshold whose share on the calibration half is at most the bound.

    python benchmarks/false_discovery.py GOLD.jsonl PREDICTED.jsonl [BOUND]
"""

from __future__ import annotations

import random
import sys

from clinical_ie.document import Document
from clinical_ie.extraction.false_discovery import lowest_threshold
from clinical_ie.formats import jsonl
from clinical_ie.scoring.judged import judged

SPLITS = 100
Note = list[tuple[float, bool]]


def obvious(notes: list[Note], bound: float) -> float | None:
    """The lowest threshold at which no more than the bound is wrong on these notes."""
    found = None
    for step in range(100, -1, -1):
        kept = [right for note in notes for sure, right in note if sure >= step / 100]
        if kept and kept.count(False) <= bound * len(kept):
            found = step / 100
    return found


def main(gold: str, predicted: str, bound: float = 0.05) -> None:
    theirs = {document.id: document for document in jsonl.read(predicted)}
    everything = [judged(document, theirs.get(document.id, Document(document.id, document.text))) for document in jsonl.read(gold)]
    print(f"{len(everything)} notes, bound {bound:.0%}, {SPLITS} random halves; certainty 0.9 for each type")
    print("| type | predicted | wrong | ours: chosen in | broken | kept of the predicted | obvious way: broken | kept |")
    print("|---|---|---|---|---|---|---|---|")
    for name in sorted({one.type for note in everything for one in note}):
        notes = [[(one.confidence or 0.0, one.right) for one in note if one.type == name] for note in everything]
        every = [right for note in notes for _, right in note]
        cells = [name, f"{len(every)}", f"{every.count(False) / len(every):.1%}"]
        for number, choose in enumerate((lowest_threshold, obvious)):
            chosen = broken = kept_all = predicted_all = 0
            for seed in range(SPLITS):
                order = notes[:]
                random.Random(seed).shuffle(order)
                threshold = choose(order[: len(order) // 2], bound)
                test = [pair for note in order[len(order) // 2 :] for pair in note]
                kept = [] if threshold is None else [right for sure, right in test if sure >= threshold]
                chosen += threshold is not None
                broken += bool(kept) and kept.count(False) > bound * len(kept)
                kept_all += len(kept)
                predicted_all += len(test)
            cells += [f"{chosen}"] * (number == 0) + [f"{broken}", f"{kept_all / max(1, predicted_all):.0%}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(float(value) for value in sys.argv[3:]))
