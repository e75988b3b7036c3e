"""The grammar of markup: the text once more, to the letter, with tags of the question's types around its mentions.

A tag opens at the beginning of a word and closes behind at least one character, never behind a blank; of one type the last opened is
closed first, and none opens twice at one place. A tag that is still open where the text ends is withdrawn, and no
mention. So every completion comes to an end, and the place of every mention is that where its tags stand.
"""

from __future__ import annotations

from typing import Any

from clinical_ie.prompts.grammar import BLANK, Context, Grammar, State, by_byte
from clinical_ie.prompts.repeating_grammar import RepeatingAutomaton
from clinical_ie.prompts.responses.markup import escaped
from clinical_ie.prompts.tag_habits import Follower, MarkupFollower

_OPENS, _SLASH = 60, 47
_SEEN = 400
"""Bytes of the text that are looked at for a guess."""
_WITHDRAWN = -1
"""Stands for the type of a mention that is none, so that nothing may be linked to it."""


class MarkupAutomaton(RepeatingAutomaton):
    """The states of a grammar of markup. `opened` are tags: type, place, and number of the mention."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar)
        self._opening = [(f"<{name}>".encode(), kind) for kind, name in enumerate(grammar.types)]
        self._closing = [(f"</{name}>".encode(), kind) for kind, name in enumerate(grammar.types)]

    def _escaped(self, text: str) -> str:
        return escaped(text)

    def _expected(self, state: State, follower: Follower) -> str:
        assert isinstance(follower, MarkupFollower)
        at = state[3]
        opened, spelled, fresh = [self.grammar.types[kind] for kind, *_ in state[2]], "", state[-1]
        before, after = self._text(at - _SEEN, at), self._text(at, at + _SEEN)
        if state[0] == "tag":
            _, _, _, _, options, offset = state
            tag = follower.tag([spelled.decode() for spelled, _ in options], before, after)
            spelled, name, fresh = tag[offset:], tag.strip("</>"), tag[1] != "/"
            if fresh:
                opened.append(name)
            else:
                opened.reverse()
                opened.remove(name)
                opened.reverse()
        return spelled + follower.ahead(opened, before, after, fresh=fresh)

    def _beside(self, state: State) -> dict[int, State]:
        _, context, opened, at, _ = state
        tags = self._tags(state)
        return {_OPENS: ("tag", context, opened, at, tags, 1)} if tags else {}

    def _tagging(self, state: State) -> dict[int, State]:
        _, context, opened, at, options, offset = state
        found: dict[int, State] = {}
        for byte, some in by_byte(options, offset).items():
            if offset + 1 < len(some[0][0]):
                found[byte] = "tag", context, opened, at, some, offset + 1
            elif some[0][0][1] == _SLASH:
                last = max(place for place, (kind, *_) in enumerate(opened) if kind == some[0][1])
                found[byte] = "mark", context, opened[:last] + opened[last + 1 :], at, False
            else:
                after = Context((*context.said, some[0][1]), linking=True)
                found[byte] = "mark", after, (*opened, (some[0][1], at, len(context.said))), at, True
        return found

    def _said(self, state: State) -> tuple[int, ...]:
        _, context, opened, _, _ = state
        open_ones = {place for _, _, place in opened}
        return tuple(_WITHDRAWN if place in open_ones else kind for place, kind in enumerate(context.said))

    def _tags(self, state: State) -> tuple[tuple[bytes, Any], ...]:
        """The tags that may stand here."""
        _, _, opened, at, fresh = state
        found: list[tuple[bytes, int]] = []
        if opened and not fresh and at in self._whole_places and self.bytes[at - 1] != BLANK:
            found += [self._closing[kind] for kind in dict.fromkeys(kind for kind, *_ in opened)]
        if at in self._word_places:
            here = {kind for kind, place, _ in opened if place == at}
            found += [tag for tag in self._opening if tag[1] not in here]
        return tuple(found)
