"""What the grammars of answers that repeat their text have in common: the text, to the letter, and something between its words.

An answer ends where the text does; what is still open then is withdrawn.
"""

from __future__ import annotations

from abc import abstractmethod

from clinical_ie.prompts.answers import Flat
from clinical_ie.prompts.grammar import NEWLINE, WORD, Automaton, Context, Grammar, State
from clinical_ie.prompts.tag_habits import Follower


class RepeatingAutomaton(Automaton):
    """The states of `Automaton`, for links, and two more.

    ``("mark", context, opened, at, fresh)``: `at` bytes of the text are repeated, what was `opened` is not closed yet, and `fresh` says
    that the last one opened here. ``("tag", context, opened, at, options, offset)``: inside of what stands between words.
    """

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar)
        flat = Flat.of(grammar.text).text
        places = [0]
        for character in flat:
            places.append(places[-1] + len(self._escaped(character).encode("utf-8", "surrogatepass")))
        self.bytes = self._escaped(flat).encode("utf-8", "surrogatepass")
        self.words = [places[word.start()] for word in WORD.finditer(flat)]
        self._word_places = set(self.words)
        self._whole_places = set(places)
        self._last = places[len(flat.rstrip())]

    @abstractmethod
    def _escaped(self, text: str) -> str:
        """A text as it stands among what is between its words."""

    @abstractmethod
    def _beside(self, state: State) -> dict[int, State]:
        """Next byte -> next state for what may stand here beside the text."""

    @abstractmethod
    def _tagging(self, state: State) -> dict[int, State]:
        """Next byte -> next state inside of what stands between words."""

    @abstractmethod
    def _said(self, state: State) -> tuple[int, ...]:
        """Types of the mentions that may be linked, in the order of their numbers."""

    @abstractmethod
    def _expected(self, state: State, follower: Follower) -> str:
        """How an answer goes on as far as can be guessed."""

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
        """The text and what stands in it as they are expected; nothing but the text where nobody follows the answer."""
        if state[0] not in {"mark", "tag"}:
            return super().likely(state)
        if follower is None or state[3] not in self._whole_places:
            return self.bytes[state[3] :] if state[0] == "mark" else b""
        return self._expected(state, follower).encode("utf-8", "ignore")

    def rest(self, state: State) -> bytes:
        """What is left of the text, which may always be said."""
        return self.bytes[state[3] :] if state[0] == "mark" else b""

    def successors(self, state: State) -> dict[int, State]:
        """Next byte -> next state."""
        if state[0] == "tag":
            return self._tagging(state)
        if state[0] != "mark":
            return super().successors(state)
        _, context, opened, at, _ = state
        found = self._beside(state)
        if at < len(self.bytes):
            found[self.bytes[at]] = "mark", context, opened, at + 1, False
        if self.grammar.labels and self.may_end(state):
            context = Context(self._said(state), linking=True)
            if options := self._lines(context):
                found[NEWLINE] = "pick", context, options, 0, False
        return found

    def _text(self, start: int, end: int) -> str:
        """The text, as it is repeated, between two places."""
        return self.bytes[max(start, 0) : end].decode("utf-8", "ignore")
