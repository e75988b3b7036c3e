"""One line for each mention, in text order: ``type<TAB>mention``; then links by the numbers of those lines."""

from __future__ import annotations

from typing import ClassVar

from clinical_ie.prompts.answers import Answer, Mention, Parsed, Vocabulary
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
    constrained_as = "lines"
    separators: ClassVar[str] = "\n"

    def render(self, answer: Answer, text: str, vocabulary: Vocabulary) -> str:
        """The response that says an answer."""
        return "\n".join([*(f"{mention.type}\t{mention.text}" for mention in answer.mentions), *link_lines(answer.links, vocabulary)])

    def parse(self, completion: str, vocabulary: Vocabulary) -> Parsed:
        """What a completion says."""
        parsed = Parsed()
        numbers: dict[int, int] = {}
        for line in completion.split("\n"):
            if not line.strip():
                continue
            if line.lstrip().startswith(LINK):
                read_links(line, vocabulary, parsed)
                continue
            kind, _, words = (" ".join(part.split()) for part in line.partition("\t"))
            said = len(numbers)
            numbers[said] = -1
            if not words or not kind:
                parsed.problems[UNPARSED] += 1
            elif kind not in vocabulary.types:
                parsed.problems[UNKNOWN_TYPE] += 1
            else:
                numbers[said] = len(parsed.mentions)
                parsed.mentions.append(Mention(kind, words))
        renumbered(parsed, numbers)
        return parsed
