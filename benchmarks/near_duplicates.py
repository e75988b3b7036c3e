"""Near-duplicates of 10,000 notes among 10,000 others, exact, beside brute force on a sample: ``python benchmarks/near_duplicates.py``.

Notes are invented: about 1 KB of words by Zipf's law, half of them out of stock sentences that many notes share, as in templates; one
note in a hundred is one of the other side with 10 % of its words changed. Prints seconds and pairs; brute force must find the same.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter

from clinical_ie.corpora.near_duplicates import near_duplicates, normalized


def notes(count: int, draw: random.Random, words: list[str], weights: list[float], stock: list[list[str]]) -> list[list[str]]:
    """Invented notes of about 160 words."""
    found = []
    for _ in range(count):
        own = draw.choices(words, weights, k=draw.randint(60, 100))
        found.append(own + [word for sentence in draw.sample(stock, 8) for word in sentence])
    return found


def brute_force(first: list[str], second: list[str]) -> set[tuple[int, int]]:
    """Every pair, bag against bag."""
    bags = [[Counter(normalized(text).split()) for text in texts] for texts in (first, second)]
    return {
        (one, other)
        for one, mine in enumerate(bags[0])
        for other, theirs in enumerate(bags[1])
        if 5 * (mine & theirs).total() >= 4 * (mine | theirs).total()
    }


def main(count: int = 10_000, sample: int = 400) -> None:
    """Print a line for each."""
    draw = random.Random(0)
    words = [f"word{number}" for number in range(20_000)]
    weights = [1 / (number + 2) for number in range(len(words))]
    stock = [draw.choices(words[:2000], weights[:2000], k=10) for _ in range(300)]
    first, second = (notes(count, draw, words, weights, stock) for _ in range(2))
    for place in range(0, count, 100):
        copy = list(first[place])
        for at in draw.sample(range(len(copy)), len(copy) // 10):
            copy[at] = f"changed{at}"
        second[place] = copy
    ones, others = ([" ".join(note) for note in side] for side in (first, second))
    print(f"{count:,} x {count:,} notes of {sum(map(len, ones)) // count:,} characters")
    begun = time.perf_counter()
    pairs = near_duplicates(ones, others)
    print(f"prefix filtering  {time.perf_counter() - begun:8.1f} s  {len(pairs):,} pairs")
    begun = time.perf_counter()
    slow = brute_force(ones[:sample], others[:sample])
    seconds = time.perf_counter() - begun
    assert slow == {(pair.first, pair.second) for pair in near_duplicates(ones[:sample], others[:sample])}
    print(f"brute force       {seconds * (count / sample) ** 2:8.0f} s  estimated from {sample} x {sample}: {seconds:.1f} s, same pairs")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
