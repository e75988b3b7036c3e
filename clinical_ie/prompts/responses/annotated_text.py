"""Response formats that copy the text with its mentions marked in it (inline markup)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from clinical_ie.document import Fragment
from clinical_ie.prompts.answers import Mention
from clinical_ie.prompts.responses.response_format import ResponseFormat


class AnnotatedText(ResponseFormat):
    """Marks stand where mentions begin and end, so mentions are contiguous, and some exclude each other."""

    def obstacles(self, mentions: Sequence[Mention], text: str) -> dict[int, str]:
        """Place -> reason for the mentions that cannot be marked at all."""
        return {place: "discontinuous" for place, mention in enumerate(mentions) if mention.text != text[slice(*at(mention))].strip()}

    @abstractmethod
    def conflict(self, one: Mention, other: Mention) -> str | None:
        """Why two mentions cannot be marked together; None where they can."""

    def inexpressible(self, mentions: Sequence[Mention], text: str) -> dict[int, str]:
        """Mentions that cannot be marked, and those that cannot stand beside one before them that can."""
        found = self.obstacles(mentions, text)
        kept: list[Mention] = []
        for place, mention in enumerate(mentions):
            if place in found:
                continue
            reason = next((reason for other in kept if (reason := self.conflict(other, mention))), None)
            if reason is None:
                kept.append(mention)
            else:
                found[place] = reason
        return found

    def most_expressible(self, mentions: Sequence[Mention], text: str) -> int:
        """Those that can be marked, less one for each of as many pairs as exclude each other (a maximal matching of conflicts)."""
        obstacles = self.obstacles(mentions, text)
        free = [mention for place, mention in enumerate(mentions) if place not in obstacles]
        count = len(free)
        while free:
            mention = free.pop()
            rival = next((place for place, other in enumerate(free) if self.conflict(other, mention)), None)
            if rival is not None:
                free.pop(rival)
                count -= 1
        return count


def at(mention: Mention) -> Fragment:
    """Where a gold mention stands in the flat text."""
    assert mention.at is not None
    return mention.at


def spell(spelled: list[Fragment], start: int, end: int) -> None:
    """Add where more of the copy stands in the completion, to the last fragment where it goes on from that."""
    if spelled and spelled[-1][1] == start:
        spelled[-1] = spelled[-1][0], end
    elif start < end:
        spelled.append((start, end))


def crossing(one: Fragment, other: Fragment) -> bool:
    """Whether two ranges overlap and neither holds the other."""
    return one[0] < other[0] < one[1] < other[1] or other[0] < one[0] < other[1] < one[1]
