"""One word and its tag on each line, for comparison with published code: ``aspirin<TAB>B-Drug``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from clinical_ie.document import Fragment
from clinical_ie.prompts.answers import GAP, Answer, Mention, Parsed, Vocabulary
from clinical_ie.prompts.responses.response_format import UNKNOWN_TYPE, UNPARSED, ResponseFormat

_WORD = re.compile(r"[^\W\d_]+|\d+|\S")


class Bio(ResponseFormat):
    """Flat mentions of whole words, and no links."""

    name: ClassVar[str] = "bio"
    separators: ClassVar[str] = "\n"
    says_links: ClassVar[bool] = False

    def unsayable(self, mentions: Sequence[Mention], text: str) -> dict[int, str]:
        """Discontinuous mentions, parts of words, and all that share characters with one before them."""
        found: dict[int, str] = {}
        edges = {edge for word in _WORD.finditer(text) for edge in word.span()}
        reach = 0
        for place, mention in enumerate(mentions):
            assert mention.at is not None
            if GAP in mention.text:
                found[place] = "discontinuous"
            elif not edges.issuperset(mention.at):
                found[place] = "a part of a word"
            elif mention.at[0] < reach:
                found[place] = "overlaps another"
            else:
                reach = mention.at[1]
        return found

    def render(self, answer: Answer, text: str, vocabulary: Vocabulary) -> str:
        """The response that says an answer."""
        lines = []
        spans = [(mention.at or (0, 0), mention.type) for mention in answer.mentions]
        for word in _WORD.finditer(text):
            tag = "O"
            for (start, end), kind in spans:
                if word.start() < end and start < word.end():
                    tag = f"{'I' if _begun(text, start, word.start()) else 'B'}-{kind}"
            lines.append(f"{word[0]}\t{tag}")
        return "\n".join(lines)

    def parse(self, completion: str, vocabulary: Vocabulary) -> Parsed:
        """What a completion says."""
        parsed = Parsed()
        open_: tuple[str, int, list[str]] | None = None
        copied = ""
        rows = [line.rpartition("\t") for line in completion.split("\n") if line.strip()]
        for word, tab, tag in [*rows, ("", "\t", "O")]:
            prefix, _, kind = tag.strip().partition("-")
            if not tab or prefix not in ("B", "I", "O") or (prefix != "O" and not word.strip()):
                parsed.problems[UNPARSED] += 1
                prefix, kind = "O", ""
            if prefix != "O" and kind not in vocabulary.types:
                parsed.problems[UNKNOWN_TYPE] += 1
                prefix = "O"
            if open_ is not None and (prefix != "I" or kind != open_[0]):
                parsed.mentions.append(_mention(open_, len(copied)))
                open_ = None
            if prefix != "O":
                open_ = open_ or (kind, len(copied), [])
                open_[2].extend(word.split())
            copied += "".join(word.split())
        parsed.copied = copied
        return parsed


def _begun(text: str, start: int, word: int) -> bool:
    """Whether a mention has a word before this one."""
    return bool(text[start:word].strip()) if word > start else False


def _mention(open_: tuple[str, int, list[str]], end: int) -> Mention:
    kind, start, words = open_
    place: Fragment = (start, end)
    return Mention(kind, " ".join(words), place)
