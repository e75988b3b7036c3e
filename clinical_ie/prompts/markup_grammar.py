"""The grammar of markup: the text once more, to the letter, with tags of the question's types around its mentions.

A tag opens at the beginning of a word and closes behind at least one character, never behind a blank; of one type the last opened is
closed first, and none opens twice at one place. The answer ends where the text does; a tag that is still open then is withdrawn, and no
mention. So every completion comes to an end, and the place of every mention is that where its tags stand.
"""

from __future__ import annotations

from typing import Any

from clinical_ie.prompts.answers import Flat
from clinical_ie.prompts.grammar import BLANK, NEWLINE, WORD, Automaton, Context, Grammar, State, by_byte
from clinical_ie.prompts.responses.markup import escaped
from clinical_ie.prompts.tag_habits import Follower

_OPENS, _SLASH = 60, 47
_SEEN = 400
"""Bytes of the text that are looked at for a guess."""
_WITHDRAWN = -1
"""Stands for the type of a mention that is none, so that nothing may be linked to it."""


class MarkupAutomaton(Automaton):
    """The states of a grammar of markup; those of `Automaton`, for links, and two more.

    ``("mark", context, opened, at, fresh)``: `at` bytes of the text are repeated, the tags `opened` (type, place, and
    number of the mention) are still open, and
    `fresh` says that the last one opened here. ``("tag", context, opened, at, options, offset)``: inside of a tag.
    """

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar)
        flat = Flat.of(grammar.text).text
        places = [0]
        for character in flat:
            places.append(places[-1] + len(escaped(character).encode("utf-8", "surrogatepass")))
        self.bytes = escaped(flat).encode("utf-8", "surrogatepass")
        self.words = [places[word.start()] for word in WORD.finditer(flat)]
        self._word_places = set(self.words)
        self._whole_places = set(places)
        self._last = places[len(flat.rstrip())]
        self._opening = [(f"<{name}>".encode(), kind) for kind, name in enumerate(grammar.types)]
        self._closing = [(f"</{name}>".encode(), kind) for kind, name in enumerate(grammar.types)]

    def start(self) -> State:
        """Before anything is said."""
        if self.grammar.given is not None:
            return super().start()
        return "mark", Context(linking=True), (), 0, False

    def may_end(self, state: State) -> bool:
        """Whether a completion may end here."""
        if state[0] == "mark":
            return bool(state[3] >= self._last)
        return state[0] != "tag" and super().may_end(state)

    def turned(self, state: State, after: State) -> bool:
        """Whether a step took one of several ways: a tag, or the end of the text where links may follow."""
        if state[0] == "mark":
            return bool(after[0] != "mark" or after[2] != state[2])
        if state[0] == "tag":
            return len(state[4]) > 1
        return super().turned(state, after)

    def likely(self, state: State, follower: Follower | None = None) -> bytes:
        """The text and its tags as they are expected; nothing but the text where nobody follows the answer."""
        if state[0] not in {"mark", "tag"}:
            return super().likely(state)
        at = state[3]
        if follower is None or at not in self._whole_places:
            return self.bytes[at:] if state[0] == "mark" else b""
        opened, spelled, fresh = [self.grammar.types[kind] for kind, *_ in state[2]], "", state[-1]
        before, after = (part.decode("utf-8", "ignore") for part in (self.bytes[max(at - _SEEN, 0) : at], self.bytes[at : at + _SEEN]))
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
        return (spelled + follower.ahead(opened, before, after, fresh=fresh)).encode("utf-8", "ignore")

    def rest(self, state: State) -> bytes:
        """What is left of the text, which may always be said."""
        return self.bytes[state[3] :] if state[0] == "mark" else b""

    def successors(self, state: State) -> dict[int, State]:
        """Next byte -> next state."""
        if state[0] == "mark":
            return self._marking(state)
        if state[0] != "tag":
            return super().successors(state)
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

    def _marking(self, state: State) -> dict[int, State]:
        _, context, opened, at, _ = state
        found: dict[int, State] = {}
        if at < len(self.bytes):
            found[self.bytes[at]] = "mark", context, opened, at + 1, False
        if tags := self._tags(state):
            found[_OPENS] = "tag", context, opened, at, tags, 1
        if self.may_end(state) and self.grammar.labels:
            open_ones = {place for _, _, place in opened}
            said = tuple(_WITHDRAWN if place in open_ones else kind for place, kind in enumerate(context.said))
            context = Context(said, linking=True)
            if options := self._lines(context):
                found[NEWLINE] = "pick", context, options, 0, False
        return found

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


def automaton_of(grammar: Grammar) -> Automaton:
    """The automaton of a grammar."""
    return MarkupAutomaton(grammar) if grammar.response == "markup" else Automaton(grammar)
