"""BIO tags over a row of units, there and back.

Reference: Ramshaw & Marcus, Text chunking using transformation-based learning (1995); every mention
begins with B (IOB2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

OUTSIDE = "O"

Mention = tuple[str, int, int]
"""Type, first unit, one past the last unit."""


def labels(types: Sequence[str]) -> list[str]:
    """All tags of these types, outside first.

    Example:
        >>> labels(["Drug"])
        ['O', 'B-Drug', 'I-Drug']
    """
    return [OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in "BI")]


def legal(before: str, after: str) -> bool:
    """Whether a tag may follow another: inside a mention only behind the same type."""
    return not after.startswith("I-") or before[2:] == after[2:]


def encode(mentions: Iterable[Mention], length: int) -> list[str]:
    """Tags of mentions that do not overlap; a mention that began before the row has a negative first unit.

    Raises:
        ValueError: Two mentions share a unit.
    """
    tags = [OUTSIDE] * length
    for name, first, last in mentions:
        for place in range(max(first, 0), min(last, length)):
            if tags[place] != OUTSIDE:
                raise ValueError(f"two mentions share unit {place}")
            tags[place] = f"{'B' if place == first else 'I'}-{name}"
    return tags


def decode(tags: Sequence[str]) -> list[Mention]:
    """Mentions of a row of tags; an I behind another type begins a new mention.

    Example:
        >>> decode(["B-Drug", "I-Drug", "O", "B-Drug"])
        [('Drug', 0, 2), ('Drug', 3, 4)]
    """
    found: list[Mention] = []
    begun: tuple[str, int] | None = None
    for place, tag in enumerate(tags):
        name = tag[2:]
        if begun and (tag[0] != "I" or name != begun[0]):
            found.append((*begun, place))
            begun = None
        if tag != OUTSIDE and begun is None:
            begun = (name, place)
    if begun:
        found.append((*begun, len(tags)))
    return found
