"""Texts that are nearly the same: an exact join by Jaccard similarity, without a look at every pair.

The similarity of two texts is the Jaccard coefficient of their bags of shingles, runs of `shingle` words: what both hold, over what either
holds, a shingle that stands twice in both counting twice. Of words alone (`shingle` 1), a note with 10 % of its words changed shares
0.9 n of n words with the original, and both together hold 1.1 n: 0.9 / 1.1 = 0.818. With 30 % changed it is 0.7 / 1.3 = 0.538. A longer
shingle is lost with any of its words, so that changes that are spread over a note weigh more: 10 % changed leaves 0.9^2 = 0.81 of its pairs
of words and 0.81 / 1.19 = 0.681, which 0.8 does not find. Hence single words and 0.8 by default; where only moved and copied passages
matter, longer shingles and a lower threshold tell notes of one template better apart.

What is found is exact, unlike with MinHash: no two texts above the threshold are missed, and none below it is named.

References:
    Prefix filtering: Bayardo, Ma, Srikant, "Scaling up all pairs similarity search", WWW 2007; Xiao, Wang, Lin, Yu, "Efficient similarity
    joins for near duplicate detection" (PPJoin), WWW 2008. Prefixes that must share several words: Wang, Li, Feng, "Can we beat the prefix
    filtering?" (AdaptJoin), SIGMOD 2012.
"""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from clinical_ie.errors import SettingError

_SHARED = 8
"""Words that prefixes must share. With 1, notes of one clinic are nearly all candidates of each other; with more, prefixes get longer."""


class Pair(NamedTuple):
    """Two similar texts, by their places among the first and the second; `equal` where they differ in case and white space at most."""

    first: int
    second: int
    similarity: float
    equal: bool


def normalized(text: str) -> str:
    r"""The text without what doesn't make another note of it: Unicode compatibility forms, case, white space.

    Example:
        >>> normalized("Ｄenies\n chest\u00a0PAIN ")
        'denies chest pain'
    """
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def text_digest(text: str) -> bytes:
    """Eight bytes that stand for a text, the same for texts that are `normalized` alike."""
    return _digest(normalized(text))[:8]


def near_duplicates(first: Iterable[str], second: Iterable[str], *, threshold: float = 0.8, shingle: int = 1) -> list[Pair]:
    """Pairs of texts, one of each side, that are at least so similar; texts without words are like nothing.

    Args:
        first: Texts, best those of the smaller side; neither side is held, only numbers for the words of this one.
        second: Texts to compare them with.
        threshold: The least similarity, above 0 and at most 1.
        shingle: How many words a shingle has; shorter texts are one shingle.

    Returns:
        The pairs, in the order of both sides.

    Raises:
        SettingError: Another threshold, or shingles of no words.
    """
    if not 0 < threshold <= 1 or shingle < 1:
        raise SettingError(f"near duplicates: threshold {threshold}, shingle {shingle}; expected above 0 to 1, and 1 word or more")
    least = Fraction(str(threshold))  # 0.8 is a little more than 8/10 in binary, and 4 of 5 would not be enough
    bags = _Bags(shingle)
    ones = [bags.add(text) for text in first]
    bags.complete = True
    others = [bags.add(text) for text in second]
    bags.sort_by_rarity()
    index = _Index(others, bags, least)
    found = []
    for place, one in enumerate(ones):
        for other, similarity in index.similar(one):
            found.append(Pair(place, other, similarity, bags.keys[one] == bags.keys[others[other]]))
    return found


class _Bags:
    """Bags of shingles, as arrays of numbers: one for each shingle and occurrence, so that a bag is a set.

    Once `complete`, shingles that were never seen before have no numbers: they count for the size of a bag, and nothing shares them.
    """

    def __init__(self, shingle: int) -> None:
        self.shingle = shingle
        self.complete = False
        self.tokens: list[array[int]] = []
        self.sizes: list[int] = []
        self.keys: list[int] = []
        """A number for each text; equal texts have the same."""
        self._numbers: dict[tuple[str, int], int] = {}
        self._texts: dict[bytes, int] = {}
        self._texts_with: array[int] = array("I")

    def add(self, text: str) -> int:
        """The place of a text's bag."""
        clean = normalized(text)
        shingles = self._shingles(clean.split(" ") if clean else [])
        self.tokens.append(array("I", self._numbered(shingles)))
        self.sizes.append(len(shingles))
        for token in self.tokens[-1]:
            self._texts_with[token] += 1
        self.keys.append(self._texts.setdefault(_digest(clean), len(self._texts)))
        return len(self.tokens) - 1

    def _shingles(self, words: list[str]) -> list[str]:
        if self.shingle == 1 or not words:
            return words
        return [" ".join(words[at : at + self.shingle]) for at in range(max(1, len(words) - self.shingle + 1))]

    def _numbered(self, shingles: list[str]) -> Iterator[int]:
        seen, numbers = Counter[str](), self._numbers
        for shingle in shingles:
            seen[shingle] += 1
            number = numbers.get((shingle, seen[shingle]))
            if number is None and not self.complete:
                number = numbers[shingle, seen[shingle]] = len(numbers)
                self._texts_with.append(0)
            if number is not None:
                yield number

    def sort_by_rarity(self) -> None:
        """Number all shingles anew, the rarest first, and sort the bags so; those without a number stand before them."""
        ranks = array("I", bytes(4 * len(self._texts_with)))
        for rank, token in enumerate(sorted(range(len(ranks)), key=self._texts_with.__getitem__)):
            ranks[token] = rank
        self._numbers.clear()
        for place, tokens in enumerate(self.tokens):
            self.tokens[place] = array("I", sorted(map(ranks.__getitem__, tokens)))


class _Index:
    """Bags by the rare shingles at their beginning.

    Two bags of similarity t share at least t times the size n of the larger. So the first s of what they share lie among the first
    n - ceil(t n) + s of each, in any order that both are sorted by; the rarest first makes lists short.
    """

    def __init__(self, places: list[int], bags: _Bags, least: Fraction) -> None:
        self._least, self._bags = least, bags
        self._by_size = sorted((bags.sizes[place], number, place) for number, place in enumerate(places))
        self._sizes = [size for size, _, _ in self._by_size]
        self._lists: dict[int, array[int]] = {}
        for rank, (size, _, place) in enumerate(self._by_size):
            tokens = bags.tokens[place]
            for token in tokens[: max(0, self._prefix(size) - (size - len(tokens)))]:
                self._lists.setdefault(token, array("I")).append(rank)

    def _least_shared(self, size: int) -> int:
        """The least number of shingles that something similar to a bag of this size shares with it."""
        return -(-self._least.numerator * size // self._least.denominator)

    def _prefix(self, size: int) -> int:
        return min(size, size - self._least_shared(size) + _SHARED)

    def similar(self, place: int) -> list[tuple[int, float]]:
        """Numbers of the indexed bags that are similar to one, with their similarity."""
        tokens = self._bags.tokens[place]
        size, needed = len(tokens), min(_SHARED, self._least_shared(len(tokens)))
        if not size:
            return []
        smallest = bisect_left(self._sizes, self._least_shared(size))
        largest = bisect_right(self._sizes, int(size / self._least))
        shared: Counter[int] = Counter()
        for token in tokens[: self._prefix(size)]:
            if ranks := self._lists.get(token):
                shared.update(ranks[bisect_left(ranks, smallest) : bisect_left(ranks, largest)])
        mine, found = frozenset(tokens), []
        for rank, count in shared.items():
            if count >= needed:
                other_size, number, other = self._by_size[rank]
                both = len(mine.intersection(self._bags.tokens[other]))
                either = size + other_size - both
                if both * self._least.denominator >= self._least.numerator * either:
                    found.append((number, both / either))
        return sorted(found)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
