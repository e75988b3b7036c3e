"""Grounding (span alignment): generated mentions -> their character offsets in the text.

A mention that occurs once is grounded there (exact match). Of several occurrences, order decides: completions follow the text, so unique
mentions are anchors for those between them (longest increasing subsequence). Repeated mentions of a type take successive
occurrences. Where a list is in no order at all, which is detected, mentions take the first occurrences that are left. Words that
do not occur are matched approximately (by edit distance) with words of the text, and at last with the few between their neighbours.

References: Schensted, Longest increasing and decreasing subsequences (1961); edit distance as in `text_index`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clinical_ie.document import Fragment, Span
from clinical_ie.prompts.answers import GAP, NormalizedText
from clinical_ie.prompts.text_index import TextIndex

Status = Literal["constrained", "exact", "ordered", "fuzzy", "none"]
"""How a mention was grounded: by constrained decoding; the only occurrence; by order among several; approximately; not at all."""

_MIN_ORDERED_SHARE = 0.7
"""Share of anchors that must be in text order for a list to count as ordered."""
_MAX_GAP = 400
"""Widest range between two neighbours that is searched for a misspelt mention, in characters."""


@dataclass(frozen=True, slots=True)
class Grounded:
    """The span of a mention in the original text, and how it was found."""

    span: Span | None
    status: Status


@dataclass(slots=True)
class _Item:
    """A mention that is being grounded: its candidate spans, the chosen one, and whether that is an anchor."""

    candidates: list[Fragment]
    key: tuple[str, str]
    fuzzy: bool
    at: Fragment | None = None
    is_anchor: bool = False


def ground(text: str, mentions: Sequence[tuple[str, str]], *, literal: bool = False) -> list[Grounded]:
    """The span of each mention, near-linear in their number.

    Args:
        text: The text that mentions are from.
        mentions: Type and words, in the order of the completion.
        literal: The words are known to occur verbatim, perhaps inside other words.
    """
    flat = NormalizedText.of(text)
    index = TextIndex(flat.text)
    known: dict[str, tuple[list[Fragment], bool]] = {}
    items: list[_Item] = []
    count_by_type = Counter((kind, " ".join(words.split())) for kind, words in mentions)
    max_count: Counter[str] = Counter()
    for (_, words), number in count_by_type.items():
        max_count[words] = max(max_count[words], number)
    for kind, words in mentions:
        words = " ".join(words.split())
        if words not in known:
            known[words] = _candidates(index, words, max_count[words], literal)
        candidates, fuzzy = known[words]
        # a misspelt mention has the key of its correction, so that the two do not take one span twice
        matched = index.text[candidates[0][0] : candidates[0][1]] if fuzzy and candidates else words
        items.append(_Item(candidates, (kind, matched), fuzzy and bool(candidates)))
    _place(items)
    chains: dict[tuple[str, str], list[tuple[Fragment, ...]]] = {}
    found = []
    for rank, item in enumerate(items):
        if item.at is not None:
            status: Status = "fuzzy" if item.fuzzy else "exact" if item.is_anchor else "ordered"
            found.append(Grounded(Span.of(*flat.to_original(*item.at)), status))
        else:
            found.append(_last_resort(flat, index, items, rank, mentions[rank][1], chains))
    return found


def _candidates(index: TextIndex, words: str, max_count: int, literal: bool) -> tuple[list[Fragment], bool]:
    """Candidate spans of words that are generated so often, best first, and whether they are approximate matches."""
    if literal:
        return index.literal(words) or index.exact(words), False
    whole = index.exact(words, inside_words=False)
    if whole or GAP in words:
        if 0 < len(whole) < max_count:
            known = set(whole)
            whole = [*whole, *(span for span in index.weaker(words) if span not in known)]
        return whole, False
    # A letter missing at either end would match inside a word: "eft arm" in "left arm" is a misspelling.
    similar = index.similar(words) if len(words) > 2 else []
    return (similar, True) if similar else (index.exact(words), False)


def _place(items: list[_Item]) -> None:
    """Give every item with candidates one that no item of its type has, as far as there are enough."""
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    kinds: defaultdict[str, list[int]] = defaultdict(list)
    for rank, item in enumerate(items):
        if item.candidates:
            groups[item.key].append(rank)
            kinds[item.key[0]].append(rank)
    taken: dict[str, set[Fragment]] = {kind: set() for kind in kinds}
    owner: dict[int, Fragment] = {}
    # longest first, and exact matches before approximate ones
    by_length = sorted(groups.items(), key=lambda group: _length_and_difference(items[group[1][0]]))
    for (kind, _), ranks in by_length:
        places = items[ranks[0]].candidates
        if len(ranks) < len(places):
            continue
        free = sorted(place for place in places if place not in taken[kind])
        for rank, place in zip(ranks, free, strict=False):
            items[rank].at, items[rank].is_anchor = place, True
            taken[kind].add(place)
            for character in range(*place):
                owner.setdefault(character, place)
    for ranks in groups.values():
        first = items[ranks[0]]
        if first.at is None:
            # "pain" inside "chest pain" is the least likely candidate of a mention "pain"
            places = sorted(first.candidates, key=lambda place: _inside(place, owner))
            for rank in ranks:
                items[rank].candidates = places
    everything = [rank for rank, item in enumerate(items) if item.candidates]
    for group in [everything] if _ordered(items, everything) else kinds.values():
        if _ordered(items, group):
            _between_anchors(items, group, taken)
    left = {key: iter(items[ranks[0]].candidates) for key, ranks in groups.items()}
    for rank in everything:  # out of order, or nothing was left between the neighbours
        item = items[rank]
        if item.at is None:
            item.at = next((place for place in left[item.key] if place not in taken[item.key[0]]), None)
            if item.at is not None:
                taken[item.key[0]].add(item.at)


def _length_and_difference(item: _Item) -> tuple[int, int]:
    start, end = item.candidates[0]
    return start - end, abs(len(item.key[1]) - (end - start))


def _runs(places: Sequence[Fragment]) -> list[deque[Fragment]]:
    """Candidates in order of preference, as runs in text order."""
    found: list[deque[Fragment]] = []
    for place in places:
        if not found or place <= found[-1][-1]:
            found.append(deque())
        found[-1].append(place)
    return found


def _inside(place: Fragment, owner: dict[int, Fragment]) -> bool:
    """Whether a longer mention covers a span."""
    one = owner.get(place[0])
    return one is not None and one[0] <= place[0] and place[1] <= one[1] and one[1] - one[0] > place[1] - place[0]


def _anchors(items: list[_Item], ranks: Sequence[int]) -> list[int]:
    """The longest increasing subsequence of anchors."""
    tails: list[int] = []
    ends: list[int] = []
    before: dict[int, int | None] = {}
    for rank in ranks:
        at = items[rank].at
        if at is None:
            continue
        place = bisect_right(tails, at[0])
        before[rank] = ends[place - 1] if place else None
        tails[place : place + 1] = [at[0]]
        ends[place : place + 1] = [rank]
    found: list[int] = []
    rank_: int | None = ends[-1] if ends else None
    while rank_ is not None:
        found.append(rank_)
        rank_ = before[rank_]
    return found[::-1]


def _ordered(items: list[_Item], ranks: Sequence[int]) -> bool:
    count = sum(items[rank].at is not None for rank in ranks)
    return len(_anchors(items, ranks)) >= _MIN_ORDERED_SHARE * count


def _between_anchors(items: list[_Item], ranks: Sequence[int], taken: dict[str, set[Fragment]]) -> None:
    """Give items with several candidates the first one between the anchors around them."""
    anchors = _anchors(items, ranks)
    following = cursor = 0
    left: dict[tuple[str, str], list[deque[Fragment]]] = {}
    for rank in ranks:
        item = items[rank]
        if following < len(anchors) and anchors[following] == rank:
            cursor = max(cursor, _start(item))
            following += 1
        elif item.at is None:
            last = _start(items[anchors[following]]) if following < len(anchors) else None
            if item.key not in left:
                left[item.key] = _runs(item.candidates)
            for run in left[item.key]:
                while run and (run[0][0] < cursor or run[0] in taken[item.key[0]]):
                    run.popleft()  # the cursor only moves forward
                if run and (last is None or run[0][0] <= last):
                    item.at = run.popleft()
                    taken[item.key[0]].add(item.at)
                    cursor = item.at[0]
                    break


def _start(item: _Item) -> int:
    assert item.at is not None
    return item.at[0]


def _in_fragments(
    flat: NormalizedText,
    index: TextIndex,
    item: _Item,
    words: str,
    before: Fragment | None,
    chains: dict[tuple[str, str], list[tuple[Fragment, ...]]],
) -> Grounded:
    """Fragments of a discontinuous mention in text order, as close together as possible, behind the mention before if there are such."""
    if item.key not in chains:
        parts = [index.exact(part.strip()) for part in words.split(GAP)]
        found = []
        for first in parts[0]:
            chain = [first]
            for places in parts[1:]:
                following = bisect_left(places, (chain[-1][1], 0))
                if following == len(places):
                    break
                chain.append(places[following])
            if len(chain) == len(parts):
                found.append(tuple(chain))
        # of chains that end in one place the last one is the tightest
        chains[item.key] = sorted({chain[-1]: chain for chain in found}.values())
    left = chains[item.key]
    place = next((number for number, chain in enumerate(left) if before is None or chain[0][0] >= before[0]), 0)
    if not left:
        return Grounded(None, "none")
    chosen = left.pop(place)
    item.at = chosen[0]
    return Grounded(Span(tuple(flat.to_original(*fragment) for fragment in chosen)), "exact")


def _last_resort(
    flat: NormalizedText,
    index: TextIndex,
    items: list[_Item],
    rank: int,
    words: str,
    chains: dict[tuple[str, str], list[tuple[Fragment, ...]]],
) -> Grounded:
    """A discontinuous mention, or the best approximate match between the neighbours of a mention."""
    words = " ".join(words.split())
    if items[rank].candidates or not words:
        return Grounded(None, "none")  # generated more often than it occurs
    before = next((item.at for item in reversed(items[max(0, rank - 3) : rank]) if item.at is not None), None)
    after = next((item.at for item in items[rank + 1 : rank + 4] if item.at is not None), None)
    if GAP in words:
        return _in_fragments(flat, index, items[rank], words, before, chains)
    if before is None and after is None:
        return Grounded(None, "none")
    first = before[0] if before is not None else max(0, after[0] - _MAX_GAP // 2) if after is not None else 0
    last = after[0] if after is not None else first + _MAX_GAP // 2
    near = {(item.key[0], item.at) for item in items[max(0, rank - 8) : rank + 8]}
    spans = index.similar_within(words, first, last) if last - first <= _MAX_GAP else []
    found = next((span for span in spans if (items[rank].key[0], span) not in near), None)
    if found is None:
        return Grounded(None, "none")
    items[rank].at = found
    return Grounded(Span.of(*flat.to_original(*found)), "fuzzy")


def counted(found: Sequence[Grounded]) -> Counter[str]:
    """Mentions by status."""
    return Counter(f"mentions, {item.status}" for item in found)
