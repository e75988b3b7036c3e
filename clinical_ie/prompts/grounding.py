"""Words that a model said -> the characters of the text that they mean.

A mention that stands once in the text is where it stands. Of several places, order decides: what a model says follows the text, so
places that are certain hold those between them. Repeated mentions of a type take successive places. Where a list is in no
order at all (which is found out, not told), mentions take the first places that are left. Words that stand nowhere are
compared with words of the text, and at last with the few between their neighbours.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clinical_ie.document import Fragment, Span
from clinical_ie.prompts.answers import GAP, Flat
from clinical_ie.prompts.occurrences import TextIndex

Status = Literal["constrained", "exact", "ordered", "fuzzy", "none"]
"""How a place was found: by decoding itself; it is the only one; by order among several; despite typing errors; not at all."""

_IN_ORDER = 0.7
"""Share of certain places that must follow each other for a list to count as ordered."""
_GAP_SEARCH = 400
"""Widest range between two neighbours that is searched for a misspelt mention, in characters."""


@dataclass(frozen=True, slots=True)
class Grounded:
    """The place of a mention in the original text, and how it was found."""

    span: Span | None
    status: Status


@dataclass(slots=True)
class _Item:
    """A mention on its way: its places, the one it has, and whether that is certain."""

    places: list[Fragment]
    key: tuple[str, str]
    fuzzy: bool
    at: Fragment | None = None
    certain: bool = False


def ground(text: str, mentions: Sequence[tuple[str, str]], *, literal: bool = False) -> list[Grounded]:
    """The place of each mention, near-linear in their number.

    Args:
        text: The text that was to be read.
        mentions: Type and words, in the order in which they were said.
        literal: The words are known to stand in the text to the letter, perhaps inside other words.
    """
    flat = Flat.of(text)
    index = TextIndex(flat.text)
    known: dict[str, tuple[list[Fragment], bool]] = {}
    items: list[_Item] = []
    said_by_type = Counter((kind, " ".join(words.split())) for kind, words in mentions)
    most: Counter[str] = Counter()
    for (_, words), number in said_by_type.items():
        most[words] = max(most[words], number)
    for kind, words in mentions:
        words = " ".join(words.split())
        if words not in known:
            known[words] = _places(index, words, most[words], literal)
        places, fuzzy = known[words]
        # what is misspelt counts as what it is taken for, so that it and its right spelling do not take one place twice
        said = index.text[places[0][0] : places[0][1]] if fuzzy and places else words
        items.append(_Item(places, (kind, said), fuzzy and bool(places)))
    _place(items)
    chains: dict[tuple[str, str], list[tuple[Fragment, ...]]] = {}
    found = []
    for rank, item in enumerate(items):
        if item.at is not None:
            status: Status = "fuzzy" if item.fuzzy else "exact" if item.certain else "ordered"
            found.append(Grounded(Span.of(*flat.back(*item.at)), status))
        else:
            found.append(_last_resort(flat, index, items, rank, mentions[rank][1], chains))
    return found


def _places(index: TextIndex, words: str, most: int, literal: bool) -> tuple[list[Fragment], bool]:
    """Where words that are said so often may stand, best first, and whether that is a guess."""
    if literal:
        return index.literal(words) or index.exact(words), False
    whole = index.exact(words, inside_words=False)
    if whole or GAP in words:
        if 0 < len(whole) < most:
            known = set(whole)
            whole = [*whole, *(span for span in index.weaker(words) if span not in known)]
        return whole, False
    # A letter that is missing at either end leaves what stands inside a word: "eft arm" is not meant so.
    similar = index.similar(words) if len(words) > 2 else []
    return (similar, True) if similar else (index.exact(words), False)


def _place(items: list[_Item]) -> None:
    """Give every item with places one that no item of its type has, as far as there are enough."""
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    kinds: defaultdict[str, list[int]] = defaultdict(list)
    for rank, item in enumerate(items):
        if item.places:
            groups[item.key].append(rank)
            kinds[item.key[0]].append(rank)
    taken: dict[str, set[Fragment]] = {kind: set() for kind in kinds}
    owner: dict[int, Fragment] = {}
    # longest first, and what is said to the letter before what is not
    by_length = sorted(groups.items(), key=lambda group: _length_and_difference(items[group[1][0]]))
    for (kind, _), ranks in by_length:
        places = items[ranks[0]].places
        if len(ranks) < len(places):
            continue
        free = sorted(place for place in places if place not in taken[kind])
        for rank, place in zip(ranks, free, strict=False):
            items[rank].at, items[rank].certain = place, True
            taken[kind].add(place)
            for character in range(*place):
                owner.setdefault(character, place)
    for ranks in groups.values():
        first = items[ranks[0]]
        if first.at is None:
            # "pain" inside "chest pain" is most likely not what a mention "pain" means
            places = sorted(first.places, key=lambda place: _inside(place, owner))
            for rank in ranks:
                items[rank].places = places
    everything = [rank for rank, item in enumerate(items) if item.places]
    for some in [everything] if _ordered(items, everything) else kinds.values():
        if _ordered(items, some):
            _between_anchors(items, some, taken)
    left = {key: iter(items[ranks[0]].places) for key, ranks in groups.items()}
    for rank in everything:  # out of order, or nothing was left between the neighbours
        item = items[rank]
        if item.at is None:
            item.at = next((place for place in left[item.key] if place not in taken[item.key[0]]), None)
            if item.at is not None:
                taken[item.key[0]].add(item.at)


def _length_and_difference(item: _Item) -> tuple[int, int]:
    start, end = item.places[0]
    return start - end, abs(len(item.key[1]) - (end - start))


def _runs(places: Sequence[Fragment]) -> list[deque[Fragment]]:
    """Places in order of preference as runs that follow the text."""
    found: list[deque[Fragment]] = []
    for place in places:
        if not found or place <= found[-1][-1]:
            found.append(deque())
        found[-1].append(place)
    return found


def _inside(place: Fragment, owner: dict[int, Fragment]) -> bool:
    """Whether a longer mention covers a place."""
    one = owner.get(place[0])
    return one is not None and one[0] <= place[0] and place[1] <= one[1] and one[1] - one[0] > place[1] - place[0]


def _anchors(items: list[_Item], ranks: Sequence[int]) -> list[int]:
    """The longest run of certain items whose places follow each other."""
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
    certain = sum(items[rank].at is not None for rank in ranks)
    return len(_anchors(items, ranks)) >= _IN_ORDER * certain


def _between_anchors(items: list[_Item], ranks: Sequence[int], taken: dict[str, set[Fragment]]) -> None:
    """Give items of several places the first one between the certain places about them."""
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
                left[item.key] = _runs(item.places)
            for run in left[item.key]:
                while run and (run[0][0] < cursor or run[0] in taken[item.key[0]]):
                    run.popleft()  # the cursor never goes back
                if run and (last is None or run[0][0] <= last):
                    item.at = run.popleft()
                    taken[item.key[0]].add(item.at)
                    cursor = item.at[0]
                    break


def _start(item: _Item) -> int:
    assert item.at is not None
    return item.at[0]


def _in_fragments(
    flat: Flat,
    index: TextIndex,
    item: _Item,
    words: str,
    before: Fragment | None,
    chains: dict[tuple[str, str], list[tuple[Fragment, ...]]],
) -> Grounded:
    """Fragments one behind the other, as close together as they stand, behind the mention before where that is possible."""
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
    return Grounded(Span(tuple(flat.back(*fragment) for fragment in chosen)), "exact")


def _last_resort(
    flat: Flat,
    index: TextIndex,
    items: list[_Item],
    rank: int,
    words: str,
    chains: dict[tuple[str, str], list[tuple[Fragment, ...]]],
) -> Grounded:
    """Fragments one behind the other, or what resembles the words most between their neighbours."""
    words = " ".join(words.split())
    if items[rank].places or not words:
        return Grounded(None, "none")  # said more often than it stands there
    before = next((item.at for item in reversed(items[max(0, rank - 3) : rank]) if item.at is not None), None)
    after = next((item.at for item in items[rank + 1 : rank + 4] if item.at is not None), None)
    if GAP in words:
        return _in_fragments(flat, index, items[rank], words, before, chains)
    if before is None and after is None:
        return Grounded(None, "none")
    first = before[0] if before is not None else max(0, after[0] - _GAP_SEARCH // 2) if after is not None else 0
    last = after[0] if after is not None else first + _GAP_SEARCH // 2
    near = {(item.key[0], item.at) for item in items[max(0, rank - 8) : rank + 8]}
    spans = index.similar_within(words, first, last) if last - first <= _GAP_SEARCH else []
    found = next((span for span in spans if (items[rank].key[0], span) not in near), None)
    if found is None:
        return Grounded(None, "none")
    items[rank].at = found
    return Grounded(Span.of(*flat.back(*found)), "fuzzy")


def counted(found: Sequence[Grounded]) -> Counter[str]:
    """Mentions by status."""
    return Counter(f"mentions, {item.status}" for item in found)
