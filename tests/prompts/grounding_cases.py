"""What the tests of grounding share."""

from __future__ import annotations

from collections.abc import Sequence

from clinical_ie.prompts.grounding import ground

Said = tuple[str, str]


def places(text: str, mentions: Sequence[Said], literal: bool = False) -> list[tuple[int, int] | None]:
    """Start and end of each mention."""
    return [(one.span.start, one.span.end) if one.span else None for one in ground(text, mentions, literal=literal)]


def statuses(text: str, mentions: Sequence[Said], literal: bool = False) -> list[str]:
    return [one.status for one in ground(text, mentions, literal=literal)]


def drugs(*words: str) -> list[Said]:
    return [("Drug", word) for word in words]


def flat(text: str) -> str:
    return " ".join(text.split())
