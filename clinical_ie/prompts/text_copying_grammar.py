"""What the grammars of responses that copy their text share: the text, to the letter, and markup between its words.

A completion ends where the text does; a mention that is still open then is discarded.
"""

from __future__ import annotations

from abc import abstractmethod

from clinical_ie.prompts.answers import NormalizedText
from clinical_ie.prompts.draft_proposer import DraftProposer
from clinical_ie.prompts.grammar import NEWLINE, Automaton, Context, Grammar, State
from clinical_ie.prompts.word_pattern import WORD


class TextCopyingAutomaton(Automaton):
    """The states of `Automaton`, for links, and two more.

    ``("mark", context, opened, at, just_opened)``: `at` bytes of the text are copied, what was `opened` is not closed yet, and
    `just_opened` says that the last one opened here. ``("tag", context, opened, at, options, offset)``: inside markup.
    """

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar)
        flat = NormalizedText.of(grammar.text).text
        places = [0]
        for character in flat:
            places.append(places[-1] + len(self._escaped(character).encode("utf-8", "surrogatepass")))
        self.bytes = self._escaped(flat).encode("utf-8", "surrogatepass")
        self.words = [places[word.start()] for word in WORD.finditer(flat)]
        self._word_starts = set(self.words)
        self._character_starts = set(places)
        self._last = places[len(flat.rstrip())]

    @abstractmethod
    def _escaped(self, text: str) -> str:
        """A text with the characters of markup escaped."""

    @abstractmethod
    def _markup_successors(self, state: State) -> dict[int, State]:
        """Next byte -> next state for markup that may begin here."""

    @abstractmethod
    def _tag_successors(self, state: State) -> dict[int, State]:
        """Next byte -> next state inside markup."""

    @abstractmethod
    def _linkable_types(self, state: State) -> tuple[int, ...]:
        """Types of the mentions that can be linked, in the order of their numbers."""

    @abstractmethod
    def _proposed(self, state: State, proposer: DraftProposer) -> str:
        """The draft of a proposer."""

    def start(self) -> State:
        """The initial state."""
        if self.grammar.given is not None:
            return super().start()
        return "mark", Context(in_links=True), (), 0, False

    def may_end(self, state: State) -> bool:
        """Whether a state is accepting: a completion may end here."""
        if state[0] == "mark":
            return bool(state[3] >= self._last)
        return state[0] != "tag" and super().may_end(state)

    def is_branch(self, state: State, after: State) -> bool:
        """Whether a step chose one of several continuations: markup, or the end of the text where links may follow."""
        if state[0] == "mark":
            return bool(after[0] != "mark" or after[2] != state[2])
        if state[0] == "tag":
            return len(state[4]) > 1
        return super().is_branch(state, after)

    def spells(self, state: State, after: State) -> bool:
        """Whether a step opens, closes or copies a mention, or says something of a link."""
        return bool(state[0] != "mark" or state[2] or after[0] != "mark" or after[2] or after[1] is not state[1])

    def draft(self, state: State, proposer: DraftProposer | None = None) -> bytes:
        """A draft for speculative decoding: the text with proposed markup, or the text alone without a proposer."""
        if state[0] not in {"mark", "tag"}:
            return super().draft(state)
        if proposer is None or state[3] not in self._character_starts:
            return self.bytes[state[3] :] if state[0] == "mark" else b""
        return self._proposed(state, proposer).encode("utf-8", "ignore")

    def remaining_text(self, state: State) -> bytes:
        """The rest of the text, which is always accepted."""
        return self.bytes[state[3] :] if state[0] == "mark" else b""

    def successors(self, state: State) -> dict[int, State]:
        """Next byte -> next state."""
        if state[0] == "tag":
            return self._tag_successors(state)
        if state[0] != "mark":
            return super().successors(state)
        _, context, opened, at, _ = state
        found = self._markup_successors(state)
        if at < len(self.bytes):
            found[self.bytes[at]] = "mark", context, opened, at + 1, False
        if self.grammar.labels and self.may_end(state):
            context = Context(self._linkable_types(state), in_links=True)
            if options := self._lines(context):
                found[NEWLINE] = "pick", context, options, 0, False
        return found

    def _text(self, start: int, end: int) -> str:
        """The copied (escaped) text between two places."""
        return self.bytes[max(start, 0) : end].decode("utf-8", "ignore")
