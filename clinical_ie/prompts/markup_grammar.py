"""The grammar of markup: a copy of the text with tags of the prompt's types around its mentions.

A tag opens at the beginning of a word and closes behind at least one character, never behind a blank; of one type the last opened is
closed first, and none opens twice at one place. A tag that is still open where the text ends is discarded, and no
mention. So every completion comes to an end, and the span of every mention is that between its tags.
"""

from __future__ import annotations

from typing import Any

from clinical_ie.prompts.draft_proposer import DraftProposer
from clinical_ie.prompts.grammar import BLANK, Context, Grammar, State, by_byte
from clinical_ie.prompts.markup_proposer import MarkupDraftProposer
from clinical_ie.prompts.responses.markup import escaped
from clinical_ie.prompts.text_copying_grammar import TextCopyingAutomaton

_OPENS, _SLASH = 60, 47
_CONTEXT_BYTES = 400
"""Bytes of the text before and behind that a proposer is given."""
_DISCARDED = -1
"""Stands for the type of a mention that is discarded, so that nothing can be linked to it."""


class MarkupAutomaton(TextCopyingAutomaton):
    """The states and transitions of a grammar of markup. `opened` are tags: type, place, and number of the mention."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar)
        self._opening = [(f"<{name}>".encode(), kind) for kind, name in enumerate(grammar.types)]
        self._closing = [(f"</{name}>".encode(), kind) for kind, name in enumerate(grammar.types)]

    def _escaped(self, text: str) -> str:
        return escaped(text)

    def _proposed(self, state: State, proposer: DraftProposer) -> str:
        assert isinstance(proposer, MarkupDraftProposer)
        at = state[3]
        opened, draft, after_tag = [self.grammar.types[kind] for kind, *_ in state[2]], "", state[-1]
        before, after = self._text(at - _CONTEXT_BYTES, at), self._text(at, at + _CONTEXT_BYTES)
        if state[0] == "tag":
            _, _, _, _, options, offset = state
            tag = proposer.propose_tag([option.decode() for option, _ in options], before, after)
            draft, name, after_tag = tag[offset:], tag.strip("</>"), tag[1] != "/"
            if after_tag:
                opened.append(name)
            else:
                opened.reverse()
                opened.remove(name)
                opened.reverse()
        return draft + proposer.propose_text(opened, before, after, after_tag=after_tag)

    def _markup_successors(self, state: State) -> dict[int, State]:
        _, context, opened, at, _ = state
        tags = self._tags(state)
        return {_OPENS: ("tag", context, opened, at, tags, 1)} if tags else {}

    def _tag_successors(self, state: State) -> dict[int, State]:
        _, context, opened, at, options, offset = state
        found: dict[int, State] = {}
        for byte, matching in by_byte(options, offset).items():
            if offset + 1 < len(matching[0][0]):
                found[byte] = "tag", context, opened, at, matching, offset + 1
            elif matching[0][0][1] == _SLASH:
                last = max(place for place, (kind, *_) in enumerate(opened) if kind == matching[0][1])
                found[byte] = "mark", context, opened[:last] + opened[last + 1 :], at, False
            else:
                after = Context((*context.mention_types, matching[0][1]), in_links=True)
                found[byte] = "mark", after, (*opened, (matching[0][1], at, len(context.mention_types))), at, True
        return found

    def _linkable_types(self, state: State) -> tuple[int, ...]:
        _, context, opened, _, _ = state
        still_open = {number for _, _, number in opened}
        return tuple(_DISCARDED if number in still_open else kind for number, kind in enumerate(context.mention_types))

    def _tags(self, state: State) -> tuple[tuple[bytes, Any], ...]:
        """The tags that are allowed here."""
        _, _, opened, at, just_opened = state
        found: list[tuple[bytes, int]] = []
        if opened and not just_opened and at in self._character_starts and self.bytes[at - 1] != BLANK:
            found += [self._closing[kind] for kind in dict.fromkeys(kind for kind, *_ in opened)]
        if at in self._word_starts:
            here = {kind for kind, place, _ in opened if place == at}
            found += [tag for tag in self._opening if tag[1] not in here]
        return tuple(found)
