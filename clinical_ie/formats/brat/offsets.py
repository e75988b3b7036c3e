"""Files whose offsets do not count characters: what they count, and how that is found out.

Java and JavaScript programs count UTF-16 code units, so that everything behind an emoji is off by one; programs in C, Go and
the like often count bytes, so that everything behind an accent is; programs that translate line ends count a CRLF as one;
programs that drop a byte order mark do not count it. The covered text of the mentions bears witness: where it disagrees with
the text under one rule and agrees under another, the other rule is the one that the file was written by.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

from clinical_ie.document import Fragment
from clinical_ie.errors import SettingError
from clinical_ie.formats.brat.covered_text import last_line
from clinical_ie.formats.findings import Findings

CHARACTERS = "characters"
_PARTS = {
    "utf-16": "count UTF-16 code units",
    "utf-8": "count bytes of UTF-8",
    "crlf-as-one": "count CR and LF as one character",
    "without-bom": "do not count the byte order mark",
}
RULES = (CHARACTERS, *_PARTS)
"""What offsets may count; rules but the first can be joined by ``+``, one of a kind."""
_UNITS = {"utf-16", "utf-8"}
_MENTION = re.compile(r"T\S+\t\S+ ([0-9]+ [0-9]+(?:;[0-9]+ [0-9]+)*)\t(.*)", re.DOTALL).fullmatch
_DIGITS = 18
"""Of the longest number that may be an offset."""


def check_rule(rule: str) -> str:
    """The rule itself.

    Raises:
        SettingError: There is no such rule.
    """
    if rule != CHARACTERS and (not set(rule.split("+")) <= set(_PARTS) or _UNITS.issubset(rule.split("+"))):
        joined = "crlf-as-one and without-bom can be joined to another by +"
        raise SettingError(f"offsets {rule[:100]!r}: expected one of {', '.join(RULES)}; {joined}")
    return rule


def described(rule: str) -> str:
    """What offsets of a rule do."""
    return "count characters" if rule == CHARACTERS else " and ".join(_PARTS[part] for part in rule.split("+"))


def numbers(ranges: str) -> list[Fragment] | None:
    """Pairs of numbers from ``start end;start end``; None where one is too long to be an offset."""
    pairs = [part.split(" ") for part in ranges.split(";")]
    if any(len(start) > _DIGITS or len(end) > _DIGITS for start, end in pairs):
        return None
    return [(int(start), int(end)) for start, end in pairs]


class Positions:
    """From the offsets of a file to characters of its text."""

    def __init__(self, text: str, rule: str) -> None:
        self.length = len(text)
        self.table = None if rule == CHARACTERS else _table(text, frozenset(rule.split("+")))

    def fragments(self, ranges: Sequence[Fragment]) -> list[Fragment] | None:
        """Ranges of characters; None where one is empty, leaves the text, or begins or ends inside a character."""
        if self.table is not None:
            places, last = self.table, len(self.table) - 1
            ranges = [(places[start], places[end]) if max(start, end) <= last else (-1, -1) for start, end in ranges]
        return list(ranges) if all(0 <= start < end <= self.length for start, end in ranges) else None

    def character(self, offset: int) -> int:
        """The character at an offset; offsets that the text does not have stay outside of it, as far as they were."""
        if self.table is None or offset < 0:
            return offset
        last = len(self.table) - 1
        if offset > last:
            return self.length + offset - last
        while self.table[offset] < 0:
            offset -= 1
        return self.table[offset]


def _table(text: str, parts: frozenset[str]) -> list[int]:
    """Offset of the file -> character; -1 in the middle of one."""
    utf_16, utf_8, crlf = "utf-16" in parts, "utf-8" in parts, "crlf-as-one" in parts
    places: list[int] = []
    for index, sign in enumerate(text):
        if crlf and sign == "\n" and index and text[index - 1] == "\r":
            continue  # the CR before it stands for both
        if not index and sign == "\ufeff" and "without-bom" in parts:
            continue
        places.append(index)
        if utf_8 and sign > "\x7f":
            places += [-1] * (1 + (sign > "\u07ff") + (sign > "\uffff"))
        elif utf_16 and sign > "\uffff":
            places.append(-1)
    return [*places, len(text)]


def better_rule(text: str, lines: Sequence[str], rule: str) -> tuple[str, int] | None:
    """The rule under which the mentions of a file agree with their covered texts, where they do not under the given rule.

    It has to explain every disagreement, but for one in ten that may be damaged records.

    Returns:
        That rule and the line of the first mention that disagrees; None where there is no such rule or no need of one.
    """
    present = {
        "utf-16": _has_pairs(text),
        "utf-8": not text.isascii(),
        "crlf-as-one": "\r\n" in text,
        "without-bom": text.startswith("\ufeff"),
    }
    parts = [part for part in _PARTS if present[part]]
    failing = _disagreements(text, lines, rule) if parts else []
    if not failing:
        return None
    chosen = [one for size in range(1, len(parts) + 1) for one in combinations(parts, size) if not _UNITS.issubset(one)]
    others = [CHARACTERS, *map("+".join, chosen)]
    left = {other: len(_disagreements(text, lines, other)) for other in others if other != rule}
    best = min(left, key=lambda other: left[other])
    return (best, failing[0]) if left[best] * 10 <= len(failing) else None


def checked_rule(text: str, lines: Sequence[str], rule: str, findings: Findings, path: str) -> str:
    """The rule to read a file by: the given one, or, noted as an error, the only one under which its covered texts agree with the text.

    Raises:
        FileFormatError: There is a better rule, in strict mode.
    """
    found = better_rule(text, lines, rule)
    if found is None:
        return rule
    better, number = found
    problem = f"the offsets of this file {described(better)}: only under that rule do its covered texts agree with the text"
    findings.error(path, number, "shifted-offsets", problem, remedy=f"read it with offsets: {better} (--offsets {better})")
    return better


def _has_pairs(text: str) -> bool:
    """Whether there is a character that UTF-16 writes as two code units."""
    return not text.isascii() and max(text) > "\uffff"


def _disagreements(text: str, lines: Sequence[str], rule: str) -> list[int]:
    """Lines of the mentions that disagree with their covered texts under a rule."""
    positions, last, failing = Positions(text, rule), 0, []
    for number, line in enumerate(lines, 1):
        if number <= last or not line.startswith("T") or not (match := _MENTION(line)):
            continue
        given = numbers(match[1])
        fragments = positions.fragments(given) if given else None
        last = last_line(text, fragments, match[2], lines, number) if fragments else 0
        if not last:
            failing.append(number)
    return failing
