"""BIO tags, one word and its tag on each line, for comparison with published code: ``aspirin<TAB>B-Drug``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from clinical_ie.document import Fragment
from clinical_ie.prompts.answers import Answer, LabelNames, Mention, ParsedCompletion
from clinical_ie.prompts.responses.annotated_text import AnnotatedText, at
from clinical_ie.prompts.responses.response_format import UNKNOWN_TYPE, UNPARSED
from clinical_ie.prompts.word_pattern import GRAPHEME_WORD


class Bio(AnnotatedText):
    """Flat mentions of whole words, and no links."""

    name: ClassVar[str] = "bio"
    separators: ClassVar[str] = "\n"
    supports_links: ClassVar[bool] = False

    def obstacles(self, mentions: Sequence[Mention], text: str) -> dict[int, str]:
        """Discontinuous mentions, and parts of words."""
        found = super().obstacles(mentions, text)
        edges = {edge for word in GRAPHEME_WORD.finditer(text) for edge in word.span()}
        parts = {place: "a part of a word" for place, mention in enumerate(mentions) if not edges.issuperset(at(mention))}
        return parts | found

    def conflict(self, one: Mention, other: Mention) -> str | None:
        """A word has one tag."""
        (a, b), (c, d) = at(one), at(other)
        return "overlaps another" if a < d and c < b else None

    def render(self, answer: Answer, text: str, label_names: LabelNames) -> str:
        """The response that renders an answer."""
        lines = []
        spans = [(mention.at or (0, 0), mention.type) for mention in answer.mentions]
        for word in GRAPHEME_WORD.finditer(text):
            tag = "O"
            for (start, end), kind in spans:
                if word.start() < end and start < word.end():
                    tag = f"{'I' if _begun(text, start, word.start()) else 'B'}-{kind}"
            lines.append(f"{word[0]}\t{tag}")
        return "\n".join(lines)

    def parse(self, completion: str, label_names: LabelNames) -> ParsedCompletion:
        """The content of a completion."""
        parsed = ParsedCompletion()
        open_: tuple[str, int, list[str]] | None = None
        copied = ""
        rows = [line.rpartition("\t") for line in completion.split("\n") if line.strip()]
        for word, tab, tag in [*rows, ("", "\t", "O")]:
            prefix, _, kind = tag.strip().partition("-")
            if not tab or prefix not in ("B", "I", "O") or (prefix != "O" and not word.strip()):
                parsed.problems[UNPARSED] += 1
                prefix, kind = "O", ""
            if prefix != "O" and kind not in label_names.types:
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
