"""Mutations of valid files, seeded: what a broken program, an editor or a careless hand makes of them.

A fuzz test takes a valid file whose text holds `MARKER` and holds a reader to three rules over its mutants: strict
reading raises nothing but `InputError`, lenient reading raises nothing, and no message holds note text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

MARKER = "Smithsonitis"
"""A word of the note that no message may hold."""

HOSTILE = (
    "", " ", "\t", "\n", "\r", "\r\n", "\ufeff", "\u2028", "\x85", "\xa0", "\x1c", "\U0001fac0", "e\u0301", ":", ";", "|", '"', "'", "\\",
    "{", "}", "[", "]", ",", "#", "*", "-1", "0", "1e9", "0.5", "99999", "9" * 5000, "0" * 5000 + "3", "\u0663", "T1", "E1", "A1", "N1",
    "null", "true", MARKER,
)  # fmt: skip
"""Pieces that readers have stumbled over."""

_PIECE = re.compile(r"\w+|\s|[^\w\s]")
_NUMBER = re.compile(r"[0-9]+")


def mutants(valid: str, count: int, *, seed: int = 0, at_most: int = 4) -> Iterator[str]:
    """Texts that differ from a valid one by one to `at_most` mutations each; always the same for a seed."""
    rng = random.Random(seed)
    for _ in range(count):
        text = valid
        for _ in range(rng.randint(1, at_most)):
            text = rng.choice(MUTATIONS)(text, rng)
        yield text


def _lines(change: Callable[[list[str], random.Random], None]) -> Callable[[str, random.Random], str]:
    def mutation(text: str, rng: random.Random) -> str:
        lines = text.split("\n")
        change(lines, rng)
        return "\n".join(lines)

    return mutation


def _drop_line(lines: list[str], rng: random.Random) -> None:
    lines.pop(rng.randrange(len(lines)))
    lines.extend([] if lines else [""])


def _repeat_line(lines: list[str], rng: random.Random) -> None:
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))


def _move_line(lines: list[str], rng: random.Random) -> None:
    lines.insert(rng.randrange(len(lines)), lines.pop(rng.randrange(len(lines))))


def _cross_lines(lines: list[str], rng: random.Random) -> None:
    one, other = rng.choice(lines), rng.choice(lines)
    lines[rng.randrange(len(lines))] = one[: rng.randint(0, len(one))] + other[rng.randint(0, len(other)) :]


def _swap_pieces(text: str, rng: random.Random) -> str:
    """Two words, signs or blanks of the text change places."""
    pieces = _PIECE.findall(text)
    if len(pieces) > 1:
        one, other = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        pieces[one], pieces[other] = pieces[other], pieces[one]
    return "".join(pieces)


def _replace_piece(text: str, rng: random.Random) -> str:
    pieces = _PIECE.findall(text)
    if pieces:
        pieces[rng.randrange(len(pieces))] = rng.choice(HOSTILE)
    return "".join(pieces)


def _drop_piece(text: str, rng: random.Random) -> str:
    pieces = _PIECE.findall(text)
    if pieces:
        pieces.pop(rng.randrange(len(pieces)))
    return "".join(pieces)


def _change_number(text: str, rng: random.Random) -> str:
    if not (numbers := list(_NUMBER.finditer(text))):
        return text
    chosen = rng.choice(numbers)
    near = int(chosen[0][:9]) + rng.choice((-2, -1, 1, 2, 7))
    new = rng.choice([str(near), "0", "99999", "9" * 5000, rng.choice(numbers)[0]])
    return text[: chosen.start()] + new + text[chosen.end() :]


def _insert(text: str, rng: random.Random) -> str:
    place = rng.randint(0, len(text))
    return text[:place] + rng.choice(HOSTILE) + text[place:]


def _cut(text: str, rng: random.Random) -> str:
    return text[: rng.randint(0, len(text))]


def _other_line_ends(text: str, rng: random.Random) -> str:
    return text.replace("\n", rng.choice(("\r\n", "\r")))


MUTATIONS: tuple[Callable[[str, random.Random], str], ...] = (
    _lines(_drop_line), _lines(_repeat_line), _lines(_move_line), _lines(_cross_lines), _swap_pieces, _replace_piece, _replace_piece,
    _drop_piece, _change_number, _change_number, _insert, _cut, _other_line_ends,
)  # fmt: skip
"""Every way of changing a text; those that find most stand twice."""
