"""The draft of a corpus' description from the names in its BRAT files, for a person to read, correct and define.

A schema is declared, never found by scanning data: a run reads what its owner has looked at, and the draft only spares the typing.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from clinical_ie.document import Document, bare_role

_OPENING = """\
# A draft from {count} annotated documents, {mentions:,} mentions. Read it, then
# - write a definition for each type, in the words of your guideline: readers and decoders are asked with it;
# - strike what is a slip of annotators (a type with a count of 1 or 2);
# - say how ids name patients, so that a split never separates the notes of one.
# Types of one layer share a row of tags; those that overlap in these notes were put into layers of their own.
data:
  corpora+:
    - class_path: clinical_ie.corpora.BratFolder
      init_args:
        root: {root}
        corpus_name: {name}
        # patient_pattern: "^(\\\\d+)_"
        schema:
"""


def drafted_schema(documents: Iterable[Document], root: Path, name: str) -> str:
    """A data configuration (``-c FILE``, ``--corpus FILE``) with all types, arguments and values of these documents, and their counts.

    Args:
        documents: Annotated documents.
        root: The folder that they were read from.
        name: What tables and files are to call the corpus.
    """
    held = list(documents)
    types: Counter[str] = Counter(entity.type for document in held for entity in document.entities)
    layers = _layers(types, held)
    arguments: dict[bool, dict[str, _Ends]] = {True: defaultdict(_Ends), False: defaultdict(_Ends)}
    properties: Counter[str] = Counter()
    values: dict[str, Counter[str]] = defaultdict(Counter)
    targets: dict[str, Counter[str]] = defaultdict(Counter)
    triggers: Counter[str] = Counter()
    for document in held:
        type_of = {entity.id: entity.type for entity in document.entities}
        type_of |= {event.id: type_of.get(event.trigger, event.type) for event in document.events}
        triggers.update(type_of[event.id] for event in document.events)
        for relation in document.relations:
            arguments[False][relation.type].add(type_of.get(relation.head), type_of.get(relation.tail))
        for event in document.events:
            for role, filler in event.arguments:
                arguments[True][bare_role(role)].add(type_of[event.id], type_of.get(filler))
        for attribute in document.attributes:
            properties[attribute.type] += 1
            values[attribute.type].update([attribute.value] if attribute.value is not None else [])
            if (target := type_of.get(attribute.target)) is not None:
                targets[attribute.type][target] += 1
    lines = ["entities:"]
    for kind, count in types.most_common():
        lines.append(f'  - {{name: {_text(kind)}, definition: "", layer: {layers[kind]}}} # {count:,}')
    if arguments[True] or arguments[False]:
        lines.append("relations:")
        for is_argument, found in arguments.items():
            for role, ends in sorted(found.items()):
                mark = ", argument: true" if is_argument else ""
                lines.append(f"  - {{name: {_text(role)}, heads: {_list(ends.heads)}, tails: {_list(ends.tails)}{mark}}} # {ends.count:,}")
    if properties:
        lines.append("attributes:")
        for kind, count in sorted(properties.items()):
            more = [f", {key}: {_list(found[kind])}" for key, found in (("targets", targets), ("values", values)) if found[kind]]
            lines.append(f"  - {{name: {_text(kind)}{''.join(more)}}} # {count:,}")
    if triggers:
        lines.append(f"events: {_list(triggers)}")
    opening = _OPENING.format(count=len(held), mentions=sum(types.values()), root=_text(str(root)), name=_text(name))
    return opening + "".join(f"{' ' * 10}{line}\n" for line in lines)


class _Ends:
    """The types at both ends of a relation."""

    def __init__(self) -> None:
        self.heads: Counter[str] = Counter()
        self.tails: Counter[str] = Counter()
        self.count = 0

    def add(self, head: str | None, tail: str | None) -> None:
        """Count one of them, if its ends are mentions or events."""
        if head is not None and tail is not None:
            self.heads[head] += 1
            self.tails[tail] += 1
            self.count += 1


def _layers(types: Mapping[str, int], documents: Iterable[Document]) -> dict[str, str]:
    """Type -> layer: the frequent types first, each into the first layer that holds none that it overlaps."""
    overlapping: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        ordered = sorted(document.joined().entities, key=lambda entity: entity.start)
        for place, first in enumerate(ordered):
            for second in ordered[place + 1 :]:
                if second.start >= first.end:
                    break
                if first.type != second.type and first.span.overlaps(second.span):
                    overlapping[first.type].add(second.type)
                    overlapping[second.type].add(first.type)
    layers: list[list[str]] = []
    for kind in sorted(types, key=lambda kind: -types[kind]):
        free = next((layer for layer in layers if not overlapping[kind].intersection(layer)), None)
        if free is None:
            layers.append([kind])
        else:
            free.append(kind)
    return {kind: f"layer{number}" for number, layer in enumerate(layers, 1) for kind in layer}


def _list(names: Mapping[str, int]) -> str:
    return f"[{', '.join(_text(name) for name in names)}]"


def _text(name: str) -> str:
    """A YAML scalar: JSON's quotes are YAML's."""
    plain = name.replace("_", "").replace("-", "").isalnum() and name.isascii() and not name[0].isdigit() and name[0] != "-"
    words = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
    return name if plain and name.casefold() not in words else json.dumps(name, ensure_ascii=False)
