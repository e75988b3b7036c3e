"""An inverted index of a text's words: exact, case-insensitive and approximate string matching of mentions.

Approximate matches are found by corrections of single words (symmetric deletes) or by trigrams, and ranked by edit distance. Offsets are
those of the flat text (see `NormalizedText`).

References: Garbe, SymSpell (2012), for deletion neighbourhoods; Hyyrö (2003) for the bit-parallel edit distance.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

from clinical_ie.document import Fragment
from clinical_ie.prompts.word_pattern import WORD

_SLACK = 3
"""Characters by which the ends of a match may differ from the position that a matching word implies."""
_MAX_LENGTH = 300
"""Longest mention that is matched approximately, in characters."""
_MAX_LENGTH_NEAR = 60
"""The same where every run of words between two neighbours is compared."""
_MAX_POSTINGS = 200
"""Most occurrences of a word or trigram that are tried for a misspelt mention."""


class TextIndex:
    """The words of a flat text with their positions (postings).

    Args:
        text: Flat: no white space but single blanks.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.lower = _lower(text)
        self._exact: dict[tuple[str, bool], list[Fragment]] = {}
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.places: defaultdict[str, list[int]] = defaultdict(list)
        for word in WORD.finditer(self.lower):
            self.places[word[0]].append(word.start())
            self.starts.append(word.start())
            self.ends.append(word.end())
        self._start_set, self._end_set = set(self.starts), set(self.ends)

    def exact(self, words: str, *, inside_words: bool = True) -> list[Fragment]:
        """Exact matches by the best criterion that has any: whole words, ignoring case, ignoring white space, inside words."""
        key = words, inside_words
        if key not in self._exact:
            self._exact[key] = self._find(words, inside_words) if words else []
        return self._exact[key]

    def _find(self, words: str, inside_words: bool) -> list[Fragment]:
        low = _lower(words)
        found = self._whole(words, low)
        same = [span for span in found if self.text.startswith(words, span[0])]
        found = same or found or self._dense(low)
        if found or not inside_words:
            return found
        return _all(self.text, words) or _all(self.lower, low)

    def weaker(self, words: str) -> list[Fragment]:
        """Case-insensitive matches, inside words too."""
        return _all(self.lower, _lower(words)) if words else []

    def literal(self, words: str) -> list[Fragment]:
        """Verbatim matches: whole words first, then those from the beginning of a word, then any."""
        found = _all(self.text, words) if words else []
        return sorted(found, key=lambda span: (span[0] not in self._start_set, span[1] not in self._end_set))

    def _whole(self, words: str, low: str) -> list[Fragment]:
        """Case-insensitive matches of whole words."""
        parts = [(word[0], word.start()) for word in WORD.finditer(low)]
        if not parts or any(part not in self.places for part, _ in parts):
            return []
        rarest, offset = min(parts, key=lambda part: len(self.places[part[0]]))
        length = len(low)
        return [
            (place - offset, place - offset + length)
            for place in self.places[rarest]
            if self.lower.startswith(low, place - offset)
            and place >= offset
            and place - offset in self._start_set
            and place - offset + length in self._end_set
        ]

    @cached_property
    def _squeezed(self) -> tuple[str, list[int]]:
        places = [place for place, character in enumerate(self.lower) if character != " "]
        return "".join(self.lower[place] for place in places), places

    def _dense(self, low: str) -> list[Fragment]:
        dense, places = self._squeezed
        wanted = low.replace(" ", "")
        found = [(places[a], places[b - 1] + 1) for a, b in _all(dense, wanted)] if wanted else []
        return [span for span in found if span[0] in self._start_set and span[1] in self._end_set]

    def similar(self, words: str) -> list[Fragment]:
        """The runs of whole words with the least edit distance, at most a fifth of the characters and at least one."""
        low = _lower(words)
        if len(low) > _MAX_LENGTH:
            return []
        candidates = {place - offset for place, offset in self._hints(low)}
        return self._closest(low, self._windows(candidates, len(low)), max(1, len(low) // 5))

    def similar_within(self, words: str, first: int, last: int) -> list[Fragment]:
        """The same in a short range of the text, where more errors are allowed (a third of the characters)."""
        low = _lower(words)
        max_distance = max(1, len(low) // 3)
        if len(low) > _MAX_LENGTH_NEAR:
            return []
        left, right = bisect_left(self.starts, first), bisect_right(self.starts, last)
        spans = [
            (start, self.ends[place])
            for rank, start in enumerate(self.starts[left:right], left)
            for place in range(
                max(rank, bisect_left(self.ends, start + len(low) - max_distance)), bisect_right(self.ends, start + len(low) + max_distance)
            )
        ]
        return self._closest(low, spans, max_distance)

    def _windows(self, candidates: Iterable[int], length: int) -> Iterator[Fragment]:
        """Runs of whole words that begin near candidate positions."""
        for place in candidates:
            left = bisect_left(self.starts, place - _SLACK)
            right = bisect_right(self.starts, place + _SLACK)
            low, high = bisect_left(self.ends, place + length - _SLACK), bisect_right(self.ends, place + length + _SLACK)
            for start in self.starts[left:right]:
                for end in self.ends[low:high]:
                    if start < end:
                        yield start, end

    def _closest(self, low: str, spans: Iterable[Fragment], max_distance: int) -> list[Fragment]:
        best, found = max_distance, set[Fragment]()
        known: dict[str, int] = {}
        for span in spans:
            other = self.lower[span[0] : span[1]]
            if other not in known:
                known[other] = distance(low, other)
            if known[other] < best:
                best, found = known[other], set()
            if known[other] == best and best < len(low):
                found.add(span)
        return sorted(found)

    def _hints(self, low: str) -> Iterator[tuple[int, int]]:
        """Positions of intact or corrected words of a mention, with their offsets in the mention."""
        parts = [(word[0], word.start()) for word in WORD.finditer(low)]
        known = sorted((part for part in parts if part[0] in self.places and part[0].isalnum()), key=lambda p: len(self.places[p[0]]))
        found = False
        for word, offset in known[:2]:
            if len(self.places[word]) <= _MAX_POSTINGS or len(parts) == 1:
                found = True
                yield from ((place, offset) for place in self.places[word][:_MAX_POSTINGS])
        for word, offset in parts:
            if word not in self.places or len(parts) == 1:
                for other in self._corrections(word):
                    found = True
                    yield from ((place, offset) for place in self.places[other][:_MAX_POSTINGS])
        if not found:
            yield from self._by_trigrams(low)

    @cached_property
    def _shortened(self) -> dict[str, list[str]]:
        """Words of the text by their deletion neighbourhood (one character removed)."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for word in self.places:
            for short in _deletions(word):
                found[short].append(word)
        return found

    def _corrections(self, word: str) -> set[str]:
        """Words of the text within one edit."""
        return {other for short in _deletions(word) for other in self._shortened.get(short, ()) if other != word}

    @cached_property
    def _trigrams(self) -> dict[str, list[int]]:
        found: defaultdict[str, list[int]] = defaultdict(list)
        for place in range(len(self.lower) - 2):
            found[self.lower[place : place + 3]].append(place)
        return found

    def _by_trigrams(self, low: str) -> list[tuple[int, int]]:
        votes: Counter[int] = Counter()
        for offset in range(len(low) - 2):
            places = self._trigrams.get(low[offset : offset + 3], [])
            if len(places) <= _MAX_POSTINGS:
                votes.update((place - offset) // _SLACK for place in places)
        return [(rough * _SLACK, 0) for rough, _ in votes.most_common(8)]


def _lower(text: str) -> str:
    """Lower case, each character by itself and for one."""
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)


def _all(text: str, words: str) -> list[Fragment]:
    found = []
    place = text.find(words)
    while place >= 0:
        found.append((place, place + len(words)))
        place = text.find(words, place + 1)
    return found


def _deletions(word: str) -> list[str]:
    return [word, *(word[:place] + word[place + 1 :] for place in range(len(word)))] if len(word) > 2 else [word]


def distance(one: str, other: str) -> int:
    """Levenshtein (edit) distance of two strings.

    Reference: Hyyrö, A bit-vector algorithm for computing Levenshtein and Damerau edit distances (2003), one column in one integer.

    Example:
        >>> distance("sitting", "kitten")
        3
    """
    if not one or not other:
        return max(len(one), len(other))
    same: dict[str, int] = {}
    for place, character in enumerate(one):
        same[character] = same.get(character, 0) | 1 << place
    full = (1 << len(one)) - 1
    top = 1 << (len(one) - 1)
    plus, minus, score = full, 0, len(one)
    for character in other:
        equal = same.get(character, 0)
        diagonal = (((equal & plus) + plus) ^ plus) | equal | minus
        across_plus = minus | ~(diagonal | plus)
        across_minus = diagonal & plus
        score += bool(across_plus & top) - bool(across_minus & top)
        across_plus = (across_plus << 1) | 1
        across_minus <<= 1
        plus = (across_minus | ~(diagonal | across_plus)) & full
        minus = across_plus & diagonal & full
    return score
