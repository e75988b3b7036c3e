"""How often intervals hold the truth, and how often a test sees a difference that is not there, on small invented test sets.

Run: ``python benchmarks/intervals.py [--trials N]``. Rows of a Markdown table go to standard output. Systems are invented: notes have as
many mentions as UW's, a system finds each with a probability that differs from note to note, and invents others.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clinical_ie.scoring.clusters import Clustered
from clinical_ie.scoring.intervals import Interval, Method, interval
from clinical_ie.scoring.paired import approximate_randomisation, smallest_visible_difference

NOTES = (20, 37, 100)
FEW = (3, 5, 7)
METHODS: tuple[Method, ...] = ("percentile", "expanded percentile", "jackknife-t")
MENTIONS = {
    0: 26, 2: 11, 3: 30, 4: 9, 5: 18, 6: 17, 7: 30, 8: 19, 9: 22, 10: 28, 11: 20, 12: 12, 13: 10, 14: 14, 15: 16, 16: 13, 17: 8, 18: 10,
    19: 11, 20: 5, 21: 4, 22: 6, 23: 4, 24: 1, 25: 2, 26: 3, 27: 5, 29: 2, 30: 1, 31: 1, 37: 1, 38: 1, 46: 1,
}  # fmt: skip
"""Mentions -> how many of the 361 notes of the UW social history corpus (MTSamples) have so many."""
SIZES = np.repeat(list(MENTIONS), list(MENTIONS.values()))


@dataclass(frozen=True)
class ErrorModel:
    """How systems err.

    A note's recall is drawn from a beta distribution with mean ``recall`` and ``evenness`` pseudo-counts; mentions invented in a note are
    Poisson with a mean of ``invented`` times one more than its mentions. ``spread``: recall of a training seed is uniform within it.
    """

    recall: float = 0.9
    invented: float = 0.1
    evenness: float = 50
    spread: float = 0.0

    @property
    def f1(self) -> float:
        """Micro F1 over infinitely many notes, mean over infinitely many seeds: ``2 tp / (2 tp + fp + fn)`` of expected counts."""
        middles = self.recall + self.spread * (np.arange(2000) - 999.5) / 1000
        mentions = SIZES.mean()
        tp = middles * mentions
        return float((2 * tp / (tp + mentions + self.invented * (mentions + 1))).mean())

    def cells(self, generator: np.random.Generator, notes: int, systems: Sequence["ErrorModel"], seeds: int = 1) -> list[Clustered]:
        """Systems on the same notes, of this evenness: a note that is hard for one is as hard for the others."""
        sizes = generator.choice(SIZES, notes)
        hardness = generator.beta(self.evenness * self.recall, self.evenness * (1 - self.recall), notes) / self.recall
        names = tuple(map(str, range(notes)))
        found = []
        for system in systems:
            counts = np.empty((seeds, notes, 3), dtype=np.int64)
            for seed in range(seeds):
                recall = system.recall + generator.uniform(-system.spread, system.spread)
                tp = generator.binomial(sizes, np.minimum(1, recall * hardness))
                fp = generator.poisson(system.invented * (sizes + 1))
                counts[seed] = np.stack([tp, fp, sizes - tp], 1)
            found.append(Clustered(names, counts))
        return found


MODEL = ErrorModel()
WORSE = replace(MODEL, recall=0.87, invented=0.13)
SEEDS = replace(MODEL, spread=0.02)


def coverage(notes: int, trials: int, methods: Sequence[Method] = METHODS, model: ErrorModel = MODEL) -> dict[Method, float]:
    """The share of intervals of 95 % that hold the true F1."""
    held = dict.fromkeys(methods, 0)
    for trial in range(trials):
        (cell,) = model.cells(np.random.default_rng([notes, trial]), notes, [model])
        for method in methods:
            held[method] += holds(interval(cell, method=method, seed=trial), model.f1)
    return {method: number / trials for method, number in held.items()}


def difference_coverage(notes: int, trials: int) -> float:
    """The same of paired differences between two systems."""
    truth = MODEL.f1 - WORSE.f1
    pairs = (MODEL.cells(np.random.default_rng([notes, trial, 1]), notes, [MODEL, WORSE]) for trial in range(trials))
    return sum(holds(interval(one, two, seed=trial), truth) for trial, (one, two) in enumerate(pairs)) / trials


def seed_coverage(notes: int, trials: int, seeds: int = 3) -> float:
    """The same of means over training seeds, the truth being that over all seeds."""
    cells = (SEEDS.cells(np.random.default_rng([notes, trial, 2]), notes, [SEEDS], seeds)[0] for trial in range(trials))
    return sum(holds(interval(cell, seed=trial), SEEDS.f1) for trial, cell in enumerate(cells)) / trials


def few_coverage(notes: int, trials: int, method: Method | None = None) -> float:
    """The same of a handful of notes, with the interval that is taken for them."""
    cells = (MODEL.cells(np.random.default_rng([notes, trial, 5]), notes, [MODEL])[0] for trial in range(trials))
    return sum(holds(interval(cell, method=method, seed=trial), MODEL.f1) for trial, cell in enumerate(cells)) / trials


def draw_coverage(notes: int, trials: int, *, draws: int, seeds: int, together: bool = True) -> float:
    """The same of draws of shots with training seeds each, whose recall is off by up to 0.06 for a draw and 0.01 for a seed in it.

    Args:
        notes: Of a test set.
        trials: Test sets.
        draws: Of shots.
        seeds: Of each draw.
        together: Whether the runs of a draw are taken together, or each for itself.
    """
    middle, held = replace(MODEL, recall=0.75, spread=0.06), 0  # far from 1, where recall would be cut off
    for trial in range(trials):
        generator = np.random.default_rng([notes, trial, 6])
        moved = [replace(middle, recall=middle.recall + generator.uniform(-0.06, 0.06), spread=0.01) for _ in range(draws)]
        systems = [system for system in moved for _ in range(seeds)]
        cells = middle.cells(generator, notes, systems)
        units = tuple(np.repeat(range(draws), seeds).tolist()) if together else ()
        cell = Clustered(cells[0].names, np.concatenate([one.counts for one in cells]), units)
        held += holds(interval(cell, seed=trial), middle.f1)
    return held / trials


def false_positives(notes: int, trials: int, exchanges: int = 999) -> float:
    """How often approximate randomisation gives p <= 0.05 to two systems that err alike."""
    pairs = (MODEL.cells(np.random.default_rng([notes, trial, 3]), notes, [MODEL, MODEL]) for trial in range(trials))
    return (
        sum(approximate_randomisation(one, two, samples=exchanges, seed=trial) <= 0.05 for trial, (one, two) in enumerate(pairs)) / trials
    )


def visible(notes: int, trials: int = 300) -> float:
    """The mean smallest visible difference of such test sets, from one system's scores."""
    cells = (MODEL.cells(np.random.default_rng([notes, trial, 4]), notes, [MODEL])[0] for trial in range(trials))
    return sum(smallest_visible_difference(cell) or 0.0 for cell in cells) / trials


def holds(found: Interval, truth: float) -> bool:
    return found.low <= truth <= found.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4000)
    trials = parser.parse_args().trials
    print(f"| notes | {' | '.join(METHODS)} | difference | three seeds | uneven notes | false positives | smallest visible |")
    print("|---" * (len(METHODS) + 6) + "|")
    for notes in NOTES:
        shares = [*coverage(notes, trials).values(), difference_coverage(notes, trials), seed_coverage(notes, trials)]
        shares += [coverage(notes, trials, ["expanded percentile"], replace(MODEL, evenness=6))["expanded percentile"]]
        shares += [false_positives(notes, trials)]
        print(f"| {notes} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} | {100 * visible(notes):.1f} |", flush=True)
    print(f"\n| notes | interval that is taken | expanded percentile | smallest visible |\n{'|---' * 4}|")
    for notes in FEW:
        shares = [few_coverage(notes, trials), few_coverage(notes, trials, "expanded percentile")]
        print(f"| {notes} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} | {100 * visible(notes):.1f} |", flush=True)
    print(f"\n| draws x seeds, 37 notes | a draw's runs together | each for itself |\n{'|---' * 3}|")
    for draws, seeds in ((5, 1), (5, 3), (3, 3)):
        shares = [draw_coverage(37, trials, draws=draws, seeds=seeds, together=together) for together in (True, False)]
        print(f"| {draws} x {seeds} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main()
