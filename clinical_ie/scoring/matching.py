"""Who matches whom: overlaps by a sweep, and one-to-one matchings that are as large as can be.

Near-linear in the number of distinct mentions, as long as few of them overlap any one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from clinical_ie.document import Span

Interval = tuple[int, int]
MentionKey = tuple[str, tuple[Interval, ...]]
"""Type and fragments of a mention."""
LinkKey = tuple[str, MentionKey, MentionKey]
"""Type, head and tail of a relation or of an event's argument."""


def overlapping(left: Sequence[Interval], right: Sequence[Interval]) -> list[list[int]]:
    """For every interval on the left, the indices of those on the right that share a character, ascending."""
    order = sorted(range(len(right)), key=lambda index: right[index][0])
    found: list[list[int]] = [[] for _ in left]
    active: list[int] = []
    at = 0
    for index in sorted(range(len(left)), key=lambda index: left[index][0]):
        start, end = left[index]
        while at < len(order) and right[order[at]][0] < end:
            active.append(order[at])
            at += 1
        active = [other for other in active if right[other][1] > start]
        if active:
            found[index] = sorted([other for other in active if right[other][0] < end])
    return found


def overlap_matching_size(left: Sequence[Interval], right: Sequence[Interval]) -> int:
    """How many pairs of overlapping intervals can be formed at most, each interval used once.

    Takes intervals by ascending end and gives each the free partner that ends first. An exchange argument
    shows that this is optimal: all partners of the interval that ends first share its last
    character, so the one among them that ends first can be swapped into any optimal matching.
    """
    sides = (left, right)
    turns = sorted([(end, start, 0, index) for index, (start, end) in enumerate(left)]
                   + [(end, start, 1, index) for index, (start, end) in enumerate(right)])  # fmt: skip
    starts = [sorted(range(len(side)), key=lambda index, side=side: side[index][0]) for side in sides]  # type: ignore[misc]
    begun: list[list[Interval]] = [[], []]  # per side, a heap of (end, index) of those that have begun
    at = [0, 0]
    done = [[False] * len(left), [False] * len(right)]  # matched, or their turn is over
    size = 0
    for end, _, side, index in turns:
        if done[side][index]:
            continue
        done[side][index] = True
        other = 1 - side
        order, heap = starts[other], begun[other]
        while at[other] < len(order) and sides[other][order[at[other]]][0] < end:
            heapq.heappush(heap, (sides[other][order[at[other]]][1], order[at[other]]))
            at[other] += 1
        while heap and done[other][heap[0][1]]:
            heapq.heappop(heap)
        if heap:  # it began before our end and ends behind it, so it overlaps
            done[other][heapq.heappop(heap)[1]] = True
            size += 1
    return size


def lenient_matching_size(left: Sequence[Span], right: Sequence[Span]) -> int:
    """As `overlap_matching_size`, for spans with several fragments too (any shared character counts)."""
    if not any(len(span.fragments) > 1 for span in left) and not any(len(span.fragments) > 1 for span in right):
        return overlap_matching_size([span.fragments[0] for span in left], [span.fragments[0] for span in right])
    hulls = overlapping([(span.start, span.end) for span in left], [(span.start, span.end) for span in right])
    return matching_size([[other for other in found if span.overlaps(right[other])] for span, found in zip(left, hulls, strict=True)])


def matching_size(partners: Sequence[Sequence[int]]) -> int:
    """The size of a largest one-to-one matching, given the possible partners of everyone on the left."""
    return len(matching(partners))


def matching(partners: Sequence[Sequence[int]]) -> dict[int, int]:
    """A largest one-to-one matching, left -> right, given the possible partners of everyone on the left, preferred ones first.

    Reference: augmenting paths (Kuhn 1955), without recursion; linear where partners are few.
    """
    owner: dict[int, int] = {}  # right -> left
    held: dict[int, int] = {}  # left -> right
    for root, options in enumerate(partners):
        free = next((option for option in options if option not in owner), None)
        if free is not None:
            owner[free], held[root] = root, free
        elif options:
            _augment(root, partners, owner, held)
    return held


def _augment(root: int, partners: Sequence[Sequence[int]], owner: dict[int, int], held: dict[int, int]) -> None:
    """Find a path from `root` to somebody free along which all can change partners, and change them."""
    reached_by: dict[int, int] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        for option in partners[node]:
            if option in reached_by:
                continue
            reached_by[option] = node
            if option in owner:
                stack.append(owner[option])
                continue
            while True:
                node = reached_by[option]
                previous = held.get(node)
                owner[option], held[node] = node, option
                if node == root or previous is None:
                    return
                option = previous


def overlapping_keys(left: Iterable[MentionKey], right: Iterable[MentionKey]) -> dict[MentionKey, list[MentionKey]]:
    """For every distinct mention on the left, the distinct ones on the right of its type that share a character.

    Works on distinct keys, so that a note with the same mention a thousand times costs no more than with one.
    """
    groups: dict[str, tuple[list[MentionKey], list[MentionKey]]] = {}
    for key in dict.fromkeys(left):
        groups.setdefault(key[0], ([], []))[0].append(key)
    for key in dict.fromkeys(right):
        if key[0] in groups:
            groups[key[0]][1].append(key)
    found: dict[MentionKey, list[MentionKey]] = {}
    for mine, theirs in groups.values():
        rows = overlapping([(key[1][0][0], key[1][-1][1]) for key in mine], [(key[1][0][0], key[1][-1][1]) for key in theirs])
        for key, row in zip(mine, rows, strict=True):
            options = [theirs[place] for place in row]
            if len(key[1]) > 1 or any(len(option[1]) > 1 for option in options):
                options = [option for option in options if any(a < d and c < b for a, b in key[1] for c, d in option[1])]
            found[key] = options
    return found


def link_partners(
    overlaps: Mapping[MentionKey, Sequence[MentionKey]], gold: Sequence[LinkKey], predicted: Sequence[LinkKey]
) -> dict[LinkKey, list[LinkKey]]:
    """For every distinct predicted link, the gold links of its type whose both ends overlap its own."""
    known = set(gold)
    found: dict[LinkKey, list[LinkKey]] = {}
    for link in predicted:
        if link not in found:
            name, head, tail = link
            found[link] = [option for first in overlaps[head] for second in overlaps[tail] if (option := (name, first, second)) in known]
    return found
