"""A copy of the text, its mentions in braces with their types behind them: ``takes {aspirin|Drug}``.

A copy as in `markup`, at three quarters of its tokens: a closing brace names the types, and mentions of the same words share their braces.
"""

from __future__ import annotations

import re
from typing import ClassVar

from clinical_ie.document import Fragment
from clinical_ie.prompts.answers import Answer, LabelNames, Link, Mention, ParsedCompletion
from clinical_ie.prompts.responses.annotated_text import AnnotatedText, at, crossing, spell
from clinical_ie.prompts.responses.markup import UNCLOSED
from clinical_ie.prompts.responses.response_format import LINK, UNKNOWN_TYPE, UNPARSED, link_lines, read_links, renumbered

_ESCAPED = str.maketrans({character: f"\\{character}" for character in "\\{|}"})
_PART = re.compile(
    r"(?P<escaped>\\[\\{|}])|(?P<opening>\{)|\|(?P<types>[^\\{|}\n]*)\}|(?P<bare>\})|(?P<unfinished>\|[^\\{|}\n]*\Z)|(?P<lone>\\\Z)|[^\\{|}]+|."
)
_NUMBER = re.compile(r":(\d{1,9})\Z")


class Inline(AnnotatedText):
    r"""``{smokes|Tobacco,Status}``, types in the order of the question; braces nest and do not cross.

    Braces, bars and backslashes of the text stand behind a backslash. Mentions count in the order in which their types are said; where
    there may be links each says its number, ``{aspirin|Drug:1}``. A model that does not escape the text is read where that is clear.
    """

    name: ClassVar[str] = "inline"
    grammar = "inline"
    reserved: ClassVar[str] = "{}|,:\\"

    def conflict(self, one: Mention, other: Mention) -> str | None:
        """Braces do not cross, and say each type once."""
        if at(one) == at(other) and one.type == other.type:
            return "annotated twice"
        return "crosses another" if crossing(at(one), at(other)) else None

    def render(self, answer: Answer, text: str, label_names: LabelNames) -> str:
        """The response that renders an answer."""
        rank = {name: place for place, name in enumerate(label_names.types)}
        groups: dict[Fragment, list[int]] = {}
        for place, mention in sorted(enumerate(answer.mentions), key=lambda item: rank[item[1].type]):
            groups.setdefault(mention.at or (0, 0), []).append(place)
        # braces close before others open; of those at one place the inner ones close first and the outer ones open first
        marks = [(start, 1, -end) for start, end in groups] + [(end, 0, -start) for start, end in groups]
        parts: list[str] = []
        numbers: dict[int, int] = {}
        last = 0
        for place, opens, other in sorted(marks):
            parts.append(text[last:place].translate(_ESCAPED))
            last = place
            if opens:
                parts.append("{")
                continue
            names = []
            for index in groups[-other, place]:
                numbers[index] = len(numbers)
                names.append(numbered(answer.mentions[index].type, numbers[index] if label_names.labels else None))
            parts.append(f"|{','.join(names)}}}")
        links = [Link(link.label, numbers[link.head], numbers[link.tail]) for link in answer.links]
        return "\n".join(["".join([*parts, text[last:].translate(_ESCAPED)]), *link_lines(links, label_names)])

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
        copy, dense = "", ""  # the copy of the text, and the same without white space
        spelled: list[Fragment] = []  # where in the completion the copy stands
        opened: list[tuple[int, int, int, Fragment]] = []
        numbers: dict[int, int] = {}
        for part in _PART.finditer(body):
            types = [_NUMBER.split(name.strip())[:2] for name in part["types"].split(",")] if part["types"] is not None else []
            known = [kind in label_names.types for kind, *_ in types]
            if part["opening"]:
                opened.append((len(copy), len(dense), len(spelled), part.span()))
            elif opened and (types or part["bare"]):
                start, dense_start, first, opening = opened.pop()
                words = " ".join(copy[start:].split())
                if not words or not types:
                    parsed.problems[UNPARSED] += 1
                    continue
                parsed.problems[UNKNOWN_TYPE] += len(types) - sum(known)
                name_end = part.start()
                for (kind, *number), is_known, said in zip(types, known, (part["types"] or "").split(","), strict=True):
                    named = name_end, name_end + 1 + len(said)  # with what stands before it, a bar or a comma
                    name_end = named[1]
                    if is_known:
                        numbers.setdefault(int(number[0]) - 1 if number else len(parsed.mentions), len(parsed.mentions))
                        parsed.mentions.append(Mention(kind, words, (dense_start, len(dense)), (opening, *spelled[first:], named)))
            elif types and all(known):
                parsed.problems[UNCLOSED] += 1
            elif not (part["lone"] or (opened and part["unfinished"])):
                copied = part[0][1] if part["escaped"] else part[0]
                copy += copied
                dense += "".join(copied.split())
                spell(spelled, *part.span())
        parsed.problems[UNCLOSED] += len(opened)
        parsed.problems += type(parsed.problems)()  # no entries of 0
        parsed.copied = dense
        renumbered(parsed, numbers)
        return parsed


def numbered(kind: str, number: int | None) -> str:
    """A type with the number of its mention, counted from 0 here and from 1 there."""
    return kind if number is None else f"{kind}:{number + 1}"


def escaped(text: str) -> str:
    """A text with escaped braces."""
    return text.translate(_ESCAPED)
