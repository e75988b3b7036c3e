"""A copy of the text with XML-like tags around its mentions, as in published work: ``takes <Drug>aspirin</Drug>``."""

from __future__ import annotations

import re
from typing import ClassVar

from clinical_ie.document import Fragment
from clinical_ie.prompts.answers import Answer, LabelNames, Link, Mention, ParsedCompletion
from clinical_ie.prompts.responses.annotated_text import AnnotatedText, at, crossing, spell
from clinical_ie.prompts.responses.response_format import LINK, UNKNOWN_TYPE, UNPARSED, link_lines, read_links, renumbered

_STRANGE = re.compile(r"</?[^\W\d][\w-]*>")
UNCLOSED = "unbalanced tags"


class Markup(AnnotatedText):
    """Tags may nest and cross, but not cross another of the same type. Mentions count by their opening tags."""

    name: ClassVar[str] = "markup"
    grammar = "markup"
    reserved: ClassVar[str] = "<>"

    def conflict(self, one: Mention, other: Mention) -> str | None:
        """Tags of one type nest and do not cross."""
        if one.type != other.type:
            return None
        if at(one) == at(other):
            return "annotated twice"
        return "crosses another of its type" if crossing(at(one), at(other)) else None

    def render(self, answer: Answer, text: str, label_names: LabelNames) -> str:
        """The response that renders an answer."""
        rank = {name: place for place, name in enumerate(label_names.types)}
        spans = [(mention.at or (0, 0), rank[mention.type], place) for place, mention in enumerate(answer.mentions)]
        opens = sorted(spans, key=lambda span: (span[0][0], -span[0][1], span[1]))
        moved = {place: number for number, (_, _, place) in enumerate(opens)}
        # closing tags stand before opening ones; of those at one place, what was opened last is closed first
        marks = [(start, 1, number, f"<{label_names.types[kind]}>") for number, ((start, _), kind, _) in enumerate(opens)]
        marks += [(end, 0, -number, f"</{label_names.types[kind]}>") for number, ((_, end), kind, _) in enumerate(opens)]
        parts: list[str] = []
        last = 0
        for place, _, _, tag in sorted(marks):
            parts += [escaped(text[last:place]), tag]
            last = place
        links = [Link(link.label, moved[link.head], moved[link.tail]) for link in answer.links]
        return "\n".join(["".join([*parts, escaped(text[last:])]), *link_lines(links, label_names)])

    def parse(self, completion: str, label_names: LabelNames) -> ParsedCompletion:
        """The content of a completion."""
        parsed = ParsedCompletion()
        lines = completion.split("\n")
        last = len(lines)  # of the text; lines of links stand behind it
        while last > 1 and (not lines[last - 1].strip() or lines[last - 1].lstrip().startswith(LINK)):
            last -= 1
        body = "\n".join(lines[:last])
        at = len(body) + 1
        for line in lines[last:]:
            if line.strip():
                read_links(line, label_names, parsed, at)
            at += len(line) + 1
        names = "|".join(re.escape(name) for name in sorted(label_names.types, key=len, reverse=True))
        copy, dense = "", ""  # the copy of the text, and the same without white space
        spelled: list[Fragment] = []  # where in the completion the copy stands
        opened: list[tuple[str, int, int, int, int, Fragment]] = []
        found: dict[int, Mention] = {}
        number = 0
        after = 0
        for part in re.split(rf"(</?(?:{names})>)", body) if names else [body]:
            place_of = after, after + len(part)
            after = place_of[1]
            if names and re.fullmatch(rf"</?(?:{names})>", part):
                kind = part.strip("</>")
                if not part.startswith("</"):
                    opened.append((kind, number, len(copy), len(dense), len(spelled), place_of))
                    number += 1
                    continue
                place = next((place for place in range(len(opened) - 1, -1, -1) if opened[place][0] == kind), None)
                if place is None:
                    parsed.problems[UNCLOSED] += 1
                    continue
                _, at, start, dense_start, first, opening = opened.pop(place)
                words = " ".join(copy[start:].split())
                if words:
                    found[at] = Mention(kind, words, (dense_start, len(dense)), (opening, *spelled[first:], place_of))
                else:
                    parsed.problems[UNPARSED] += 1
            else:
                spell(spelled, *place_of)
                part, strange = _STRANGE.subn("", part)
                parsed.problems[UNKNOWN_TYPE] += (strange + 1) // 2
                copy += part.replace("&lt;", "<").replace("&amp;", "&")
                dense += "".join(part.replace("&lt;", "<").replace("&amp;", "&").split())
        parsed.problems[UNCLOSED] += len(opened)
        parsed.problems += type(parsed.problems)()  # no entries of 0
        numbers = {at: place for place, at in enumerate(sorted(found))}
        parsed.mentions = [found[at] for at in sorted(found)]
        parsed.copied = dense
        renumbered(parsed, numbers)
        return parsed


def escaped(text: str) -> str:
    """A text with escaped angle brackets."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
