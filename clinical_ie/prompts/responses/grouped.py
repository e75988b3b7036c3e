"""One line for each type that is there, its mentions in text order behind it, apart by tabs; then links by number."""

from __future__ import annotations

from typing import ClassVar

from clinical_ie.prompts.answers import Answer, LabelNames, Link, Mention, ParsedCompletion, in_order
from clinical_ie.prompts.responses.response_format import (
    LINK,
    UNKNOWN_TYPE,
    UNPARSED,
    ResponseFormat,
    cells,
    link_lines,
    read_links,
    renumbered,
)


class Grouped(ResponseFormat):
    """``Drug<TAB> aspirin<TAB> heparin``; mentions count in the order of the response: the first type's, then the next one's.

    The blank behind a tab makes a mention the same tokens as inside a sentence, where most tokenizers put the blank into the word.
    """

    name: ClassVar[str] = "grouped"
    grammar = "grouped"
    separators: ClassVar[str] = "\t\n"

    def render(self, answer: Answer, text: str, label_names: LabelNames) -> str:
        """The response that renders an answer."""
        rank = {name: place for place, name in enumerate(label_names.types)}
        order = sorted(range(len(answer.mentions)), key=lambda place: rank[answer.mentions[place].type])
        mentions, moved = in_order(answer.mentions, order)
        words: dict[str, list[str]] = {}
        for mention in mentions:
            words.setdefault(mention.type, []).append(mention.text)
        links = [Link(link.label, moved[link.head], moved[link.tail]) for link in answer.links]
        return "\n".join(["\t ".join([name, *texts]) for name, texts in words.items()] + link_lines(links, label_names))

    def parse(self, completion: str, label_names: LabelNames) -> ParsedCompletion:
        """The content of a completion."""
        parsed = ParsedCompletion()
        numbers: dict[int, int] = {}
        after = 0
        for line in completion.split("\n"):
            at, after = after, after + len(line) + 1
            if not line.strip():
                continue
            if line.lstrip().startswith(LINK):
                read_links(line, label_names, parsed, at)
                continue
            kind, *texts = (" ".join(part.split()) for part in line.split("\t"))
            if not texts or not kind:
                parsed.problems[UNPARSED] += 1
            for words, spelled in zip(texts, cells(line, at), strict=False):  # a line without tabs has a cell and no texts
                number = len(numbers)
                numbers[number] = -1
                if not words:
                    parsed.problems[UNPARSED] += 1
                elif kind not in label_names.types:
                    parsed.problems[UNKNOWN_TYPE] += 1
                else:
                    numbers[number] = len(parsed.mentions)
                    parsed.mentions.append(Mention(kind, words, spelled=(spelled,)))
        renumbered(parsed, numbers)
        return parsed
