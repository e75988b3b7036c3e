"""Compact JSON: ``{"mentions":[["Drug","aspirin"]],"links":[["Dose",1,2]]}``."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from clinical_ie.prompts.answers import Answer, LabelNames, Link, Mention, ParsedCompletion
from clinical_ie.prompts.responses.response_format import UNKNOWN_LABEL, UNKNOWN_TYPE, UNPARSED, ResponseFormat, renumbered

BROKEN = "completions that are not JSON"
# no row has more than two strings, and looking for more takes time with the square of a completion's length
_ROW = re.compile(r'\[[^\[\]"]*+(?:"(?:[^"\\]|\\.)*+"[^\[\]"]*+){0,3}+\]')


class CompactJson(ResponseFormat):
    """For comparison; quotes and brackets cost tokens, and a completion that is cut off is no JSON."""

    name: ClassVar[str] = "json"

    def render(self, answer: Answer, text: str, label_names: LabelNames) -> str:
        """The response that renders an answer."""
        found: dict[str, Any] = {"mentions": [[mention.type, mention.text] for mention in answer.mentions]}
        if label_names.labels:
            found["links"] = [[link.label, link.head + 1, link.tail + 1] for link in answer.links]
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))

    def parse(self, completion: str, label_names: LabelNames) -> ParsedCompletion:
        """The content of a completion; the complete entries of a broken one."""
        parsed = ParsedCompletion()
        mentions: list[Any]
        links: list[Any]
        try:
            data = json.loads(completion)
            mentions, links = list(data["mentions"]), list(data.get("links") or ())
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            parsed.problems[BROKEN] += 1
            rows = _whole_rows(completion)
            mentions = [row for row in rows if len(row) == 2]
            links = [row for row in rows if len(row) == 3]
        numbers: dict[int, int] = {}
        for number, entry in enumerate(mentions):
            numbers[number] = -1
            if not _is_row(entry, str, str) or not entry[1].strip():
                parsed.problems[UNPARSED] += 1
            elif entry[0] not in label_names.types:
                parsed.problems[UNKNOWN_TYPE] += 1
            else:
                numbers[number] = len(parsed.mentions)
                parsed.mentions.append(Mention(entry[0], " ".join(entry[1].split())))
        self._links(links, label_names, parsed)
        renumbered(parsed, numbers)
        return parsed

    def render_links(self, links: Any, label_names: LabelNames, *, single: bool = False) -> str:
        """The response where mentions were given in the prompt."""
        rows = [[link.label, link.head + 1, link.tail + 1] for link in links]
        return json.dumps({"links": rows}, ensure_ascii=False, separators=(",", ":"))

    def parse_links(self, completion: str, label_names: LabelNames, mentions: int, *, single: bool = False) -> ParsedCompletion:
        """The links of such a response between a number of mentions."""
        parsed = ParsedCompletion()
        try:
            links = list(json.loads(completion)["links"])
        except (ValueError, RecursionError, TypeError, KeyError):
            parsed.problems[BROKEN] += 1
            links = [row for row in _whole_rows(completion) if len(row) == 3]
        self._links(links, label_names, parsed)
        parsed.mentions = [Mention("", "")] * mentions
        renumbered(parsed, {place: place for place in range(mentions)})
        parsed.mentions = []
        return parsed

    def _links(self, rows: list[Any], label_names: LabelNames, parsed: ParsedCompletion) -> None:
        for entry in rows:
            if not _is_row(entry, str, int, int):
                parsed.problems[UNPARSED] += 1
            elif entry[0] not in label_names.labels:
                parsed.problems[UNKNOWN_LABEL] += 1
            else:
                parsed.links.append(Link(entry[0], entry[1] - 1, entry[2] - 1))


def _is_row(entry: Any, *kinds: type) -> bool:
    return isinstance(entry, list) and len(entry) == len(kinds) and all(type(x) is kind for x, kind in zip(entry, kinds, strict=True))


def _whole_rows(completion: str) -> list[list[Any]]:
    """The innermost lists of something that is no JSON as a whole."""
    found = []
    for match in _ROW.finditer(completion):
        try:
            row = json.loads(match[0])
        except (ValueError, RecursionError):
            continue
        found.append(list(row))
    return found
