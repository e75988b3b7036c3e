"""Where sentences and lines end in clinical text.

Clinical notes end many sentences with a line break and no full stop, wrap paragraphs in the
middle of others, and are full of abbreviations and decimals. The rules here are few and
deliberate; cutting between sentences is a preference of the windows, never a condition.
"""

from __future__ import annotations

import re

from clinical_ie.document import Fragment

_ABBREVIATIONS = frozenset(
    [
        "dr",
        "mr",
        "mrs",
        "ms",
        "prof",
        "st",
        "vs",
        "approx",
        "dept",
        "e.g",
        "i.e",
        "etc",
        "fig",
        "no",
        "p.o",
        "b.i.d",
        "t.i.d",
        "q.i.d",
        "q.d",
        "p.r.n",
        "q.h.s",
        "i.v",
        "i.m",
        "s.c",
        "a.m",
        "p.m",
        "pt",
        "hx",
        "dx",
        "tx",
        "rx",
    ]
)
_END = re.compile(
    r"""
    (?<![.!?])(?P<mark>[.!?]++["')\]]*+)\s+   # a whole run of marks with white space behind it
    | \n[ \t\r]*\n\s*                  # an empty line
    | \n[ \t]*(?=[-*•]\s|\d+[.)]\s|[A-Z][A-Za-z /&-]{2,40}:)   # a line that begins as a list item or heading
    """,
    re.VERBOSE,
)


def sentences(text: str) -> list[Fragment]:
    r"""Half-open ranges of sentences, in order, without the white space around them.

    Example:
        >>> [text[a:b] for text in ["Dr. Li saw her. No fever.\n\nPlan: rest"] for a, b in sentences(text)]
        ['Dr. Li saw her.', 'No fever.', 'Plan: rest']
    """
    found: list[Fragment] = []
    start = 0
    for match in _END.finditer(text):
        if match["mark"] and not _ends_sentence(text, match):
            continue
        end = match.end("mark") if match["mark"] else match.start()
        _add(found, text, start, end)
        start = match.end()
    _add(found, text, start, len(text))
    return found


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    breaks = match[0].count("\n")
    if breaks > 1 or (breaks and match["mark"].startswith(".")):
        return True
    word = re.search(r"\S*$", text[max(0, match.start() - 20) : match.start()])
    before = word[0].lstrip("(").lower() if word else ""
    if match["mark"][0] == "." and (before in _ABBREVIATIONS or len(before) == 1):
        return False
    following = text[match.end() : match.end() + 1]
    return not following.islower()


def _add(found: list[Fragment], text: str, start: int, end: int) -> None:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end:
        found.append((start, end))


def cut_points(text: str) -> list[int]:
    """Characters where a window may begin without cutting a sentence or a line, ascending."""
    points = {start for start, _ in sentences(text)}
    points.update(match.end() for match in re.finditer(r"\n\s*", text))
    return sorted(points)
