"""One line for each mention, in text order: ``type<TAB>mention``; then links by the numbers of those lines."""

from __future__ import annotations

from typing import ClassVar

from clinical_ie.prompts.answers import Answer, LabelNames, Mention, ParsedCompletion
from clinical_ie.prompts.responses.response_format import (
    LINK,
    UNKNOWN_TYPE,
    UNPARSED,
    ResponseFormat,
    link_lines,
    read_links,
    renumbered,
)


class Lines(ResponseFormat):
    """``Drug<TAB>aspirin`` on a line of its own; ``>Dose<TAB>1 2`` links the second mention to the first."""

    name: ClassVar[str] = "lines"
    grammar = "lines"
    separators: ClassVar[str] = "\n"

    def render(self, answer: Answer, text: str, label_names: LabelNames) -> str:
        """The response that renders an answer."""
        return "\n".join([*(f"{mention.type}\t{mention.text}" for mention in answer.mentions), *link_lines(answer.links, label_names)])

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
            kind, _, words = (" ".join(part.split()) for part in line.partition("\t"))
            number = len(numbers)
            numbers[number] = -1
            if not words or not kind:
                parsed.problems[UNPARSED] += 1
            elif kind not in label_names.types:
                parsed.problems[UNKNOWN_TYPE] += 1
            else:
                numbers[number] = len(parsed.mentions)
                parsed.mentions.append(Mention(kind, words, spelled=((max(at - 1, 0), at + len(line)),)))
        renumbered(parsed, numbers)
        return parsed
