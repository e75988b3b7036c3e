"""A small language for text with gold annotations: what is written is what is annotated.

``<key Type|words>`` marks a mention, nested as deep as needed; a key that ends in ``+`` adds another
fragment to the mention of that name, which makes it discontinuous. Links, attributes and events are stated
beside the text, by key.
"""

from __future__ import annotations

import re

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span

_OPEN = re.compile(r"<([\w.]+\+?) (\w+)\|")


class NoteWriter:
    """Puts a document together piece by piece; offsets follow from what has been written."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.mentions: list[tuple[str, list[tuple[int, int]]]] = []
        self.links: list[tuple[str, int, int]] = []
        self.attributes: list[tuple[str, int, str]] = []
        self.events: list[tuple[int, list[tuple[str, int]]]] = []

    def plain(self, text: str) -> None:
        """Text without annotations."""
        self.parts.append(text)
        self.length += len(text)

    def write(self, marked: str, *statements: str) -> dict[str, int]:
        """Text with markup, and statements about its keys.

        A statement is ``a Relation b``, ``a.Attribute=value``, or ``trigger(Role=a, Role=b)`` for an event.
        The result maps keys to mentions, for `say` about keys of different pieces.
        """
        keys: dict[str, int] = {}
        self._marked(marked, 0, keys, closing=False)
        for statement in statements:
            self.say(statement, keys)
        return keys

    def say(self, statement: str, keys: dict[str, int]) -> None:
        """One statement about mentions."""
        if match := re.fullmatch(r"(\w+)\.(\w+)=(\w+)", statement):
            self.attributes.append((match[2], keys[match[1]], match[3]))
        elif match := re.fullmatch(r"(\w+)\((.*)\)", statement):
            pairs = [part.strip().split("=") for part in match[2].split(",") if part.strip()]
            self.events.append((keys[match[1]], [(role, keys[key]) for role, key in pairs]))
        else:
            head, name, tail = statement.split()
            self.links.append((name, keys[head], keys[tail]))

    def _marked(self, marked: str, at: int, keys: dict[str, int], *, closing: bool) -> int:
        while at < len(marked):
            if match := _OPEN.match(marked, at):
                key, name = match.groups()
                start = self.length
                place = keys.get(key.rstrip("+")) if key.endswith("+") else None
                if place is None:
                    place = len(self.mentions)
                    self.mentions.append((name, []))
                    keys[key.rstrip("+")] = place
                at = self._marked(marked, match.end(), keys, closing=True)
                self.mentions[place][1].append((start, self.length))
            elif closing and marked[at] == ">":
                return at + 1
            else:
                self.plain(marked[at])
                at += 1
        if closing:
            raise ValueError(f"markup is not closed: {marked}")
        return at

    def document(self, name: str) -> Document:
        """The finished note, mentions numbered in text order."""
        order = sorted(range(len(self.mentions)), key=lambda place: (sorted(self.mentions[place][1])[0], self.mentions[place][0]))
        ids = {place: f"T{rank}" for rank, place in enumerate(order, 1)}
        return Document(
            name,
            "".join(self.parts),
            tuple(Entity(ids[place], self.mentions[place][0], Span(tuple(sorted(self.mentions[place][1])))) for place in order),
            tuple(Relation(f"R{rank}", kind, ids[head], ids[tail]) for rank, (kind, head, tail) in enumerate(self.links, 1)),
            tuple(
                Event(f"E{rank}", self.mentions[trigger][0], ids[trigger], tuple((role, ids[place]) for role, place in arguments))
                for rank, (trigger, arguments) in enumerate(self.events, 1)
            ),
            tuple(Attribute(f"A{rank}", kind, ids[place], value) for rank, (kind, place, value) in enumerate(self.attributes, 1)),
        )
