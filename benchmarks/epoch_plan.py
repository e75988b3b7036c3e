"""Processor seconds to make the plan of an epoch and go through it: every batch with what its optimizer step teaches.

Beside the way it was done before: the targets of each step were summed for every batch, out of a copy of what was left of the plan.

On 2026-11-26, 2 busy cores: 160,000 examples in 111,497 batches take 1.7 s, with copies 20 s (40,000: 0.25 and 1.0).

    python benchmarks/epoch_plan.py 20000 40000 80000 160000
"""

from __future__ import annotations

import argparse
import random
import time

from clinical_ie.data.plan import Plan, SharedPrefixes
from clinical_ie.data.sampler import PlanSampler
from clinical_ie.tasks.task import SourceName


def plan_of(count: int) -> Plan:
    """Instructions of 300 to 1,500 tokens behind a prefix of 600, in rows of 2,100."""
    dice = random.Random(0)
    own = [dice.randint(300, 1500) for _ in range(count)]
    prefixes = SharedPrefixes([0] * count, [600])
    return Plan([600 + length for length in own], own, [SourceName("c", "t")] * count, 2100, shuffle=True, prefixes=prefixes)


def sampled(plan: Plan) -> list[tuple[list[int], int]]:
    """Batches and the targets of their steps."""
    sampler = PlanSampler(plan, accumulated=lambda: 8)
    return [(batch.examples, batch.step_targets) for batch in sampler]


def copied(plan: Plan) -> list[tuple[list[int], int]]:
    """The same, as it was."""
    batches, found = plan.epoch(0), []
    for number, batch in enumerate(batches):
        step = batches[number // 8 * 8 :][:8]
        found.append((batch, sum(plan.targets[index] for other in step for index in other)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=int, nargs="+")
    print("| examples | batches | sampler, s | a copy for every batch, s |\n|---|---|---|---|")
    for count in parser.parse_args().counts:
        plan = plan_of(count)
        found, seconds = [], []
        for way in (sampled, copied):
            begun = time.process_time()
            found.append(way(plan))
            seconds.append(time.process_time() - begun)
        assert found[0] == found[1]
        print(f"| {count:,} | {len(plan):,} | {seconds[0]:.2f} | {seconds[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
