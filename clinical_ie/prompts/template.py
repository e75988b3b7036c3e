"""The unified instruction: task, types with their definitions, form of the answer; then the text.

The part that all segments of a corpus share comes first, so that it is computed once and reused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.files import read_text
from clinical_ie.prompts.answers import Vocabulary
from clinical_ie.prompts.responses import FORMATS, ResponseFormat

_OWN = Path(__file__).parent / "wordings"
_TASKS = {"entities", "relations", "joint"}
_WORDS = ("name", "system", "link_format", "types", "links", "link_row", "demonstrations", "text", "mentions", "answer")


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of an instruction, from a YAML file."""

    name: str
    version: int
    system: str
    tasks: Mapping[str, str]
    formats: Mapping[str, str]
    link_format: str
    types: str
    type_rows: tuple[str, ...]
    links: str
    link_row: str
    demonstrations: str
    text: str
    mentions: str
    answer: str

    @classmethod
    def load(cls, name: str) -> Wording:
        """The wording of a name of ours, or in a file.

        Raises:
            SettingError: There is no such wording.
            FileFormatError: The file lacks a part or has one that is not known.
        """
        path = Path(name) if name.endswith((".yaml", ".yml")) else _OWN / f"{name}.yaml"
        if not path.exists():
            known = ", ".join(sorted(file.stem for file in _OWN.glob("*.yaml")))
            raise SettingError(f"no wording {name}; known are {known}, or the path of a YAML file")
        try:
            data: Any = yaml.safe_load(read_text(path))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise FileFormatError(path, mark.line + 1 if mark else 0, "not YAML", expected="a wording") from None
        wanted = {*_WORDS, "version", "tasks", "formats", "type_rows"}
        if not isinstance(data, dict) or set(data) != wanted:
            differing = sorted(set(data) ^ wanted) if isinstance(data, dict) else ["everything"]
            raise FileFormatError(
                path, 0, f"missing or unknown: {', '.join(map(str, differing))}", expected="the parts of wordings/unified.yaml"
            )
        wrong = [key for key in _WORDS if not isinstance(data[key], str)]
        wrong += ["version"] * (type(data["version"]) is not int)
        for key, names in (("tasks", _TASKS), ("formats", set(FORMATS))):
            wrong += [key] * (not isinstance(data[key], dict) or set(data[key]) != names or not _all_words(data[key].values()))
        rows = data["type_rows"]
        wrong += ["type_rows"] * (not isinstance(rows, list) or not rows or not all(_is_row(row, ("name", "definition")) for row in rows))
        wrong += ["link_row"] * (not _is_row(data["link_row"], ("name", "definition", "heads", "tails")))
        if wrong:
            raise FileFormatError(path, 0, f"wrong: {', '.join(wrong)}", expected="what wordings/unified.yaml has there")
        return cls(**{**data, "type_rows": tuple(data["type_rows"])})

    @property
    def fingerprint(self) -> str:
        """Name, version and a digest of all words."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        return f"{self.name}-{self.version}-{digest}"


@dataclass(frozen=True, slots=True)
class Row:
    """A type or a label as it is asked for: the name it goes by in the answer, what it means, and for labels what it may join."""

    name: str
    definition: str
    heads: tuple[str, ...] = ()
    tails: tuple[str, ...] = ()


Demonstration = tuple[str, tuple[tuple[str, str], ...], str]
"""A text, the mentions that are given with it (type and words), and the response."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every text: ``entities``, ``relations`` or ``joint``, of which types and labels, in which syntax.

    `type_row` chooses among the wording's rows. `demonstrations` are texts, their mentions where those are given, and responses.
    """

    task: str
    types: tuple[Row, ...]
    labels: tuple[Row, ...]
    response: ResponseFormat
    type_row: int = 0
    demonstrations: tuple[Demonstration, ...] = ()

    @property
    def vocabulary(self) -> Vocabulary:
        """The names that an answer may use."""
        return Vocabulary(tuple(row.name for row in self.types), tuple(row.name for row in self.labels))


def _all_words(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_row(row: Any, names: Sequence[str]) -> bool:
    """Whether a row has no places but those that are filled in."""
    try:
        return isinstance(row, str) and isinstance(row.format(**dict.fromkeys(names, "")), str)
    except (KeyError, IndexError, ValueError, AttributeError):
        return False


def instruction(wording: Wording, question: Question) -> str:
    """All of the user's turn before the text."""
    parts = [wording.tasks[question.task]]
    if question.task != "relations":
        row = wording.type_rows[question.type_row % len(wording.type_rows)]
        rows = [row.format(name=kind.name, definition=kind.definition) if kind.definition else kind.name for kind in question.types]
        parts += ["\n".join([wording.types, *rows])]
    if question.task != "entities":
        parts += ["\n".join([wording.links, *_links(wording, question.labels)])]
    said = [wording.formats[question.response.name]] if question.task != "relations" else []
    if question.task != "entities" and question.response.name != "json":
        said.append(wording.link_format)
    parts.append(" ".join(said) or wording.formats["json"])
    if question.demonstrations:
        shown = [f"{asked(wording, text, given)}\n{wording.answer}\n{said}" for text, given, said in question.demonstrations]
        parts.append("\n\n".join([wording.demonstrations, *shown]))
    return "\n\n".join(parts) + "\n\n"


def _links(wording: Wording, labels: Sequence[Row]) -> list[str]:
    """One row for each relation that joins the same types, with the values that it may have."""
    values: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for label in labels:
        name, _, value = label.name.partition("=")
        values.setdefault((name + "=" * bool(value), label.definition, label.heads, label.tails), []).append(value)
    either = "|".join
    rows = []
    for (name, definition, heads, tails), found in values.items():
        row = wording.link_row.format(
            name=name + either(found), definition=definition, heads=either(heads) or "*", tails=either(tails) or "*"
        )
        rows.append(row if definition else row.rstrip(" :"))
    return rows


def asked(wording: Wording, text: str, mentions: Sequence[tuple[str, str]] = ()) -> str:
    """The part of one text: the text, and numbered mentions where they are given."""
    rows = [f"{number}\t{kind}\t{words}" for number, (kind, words) in enumerate(mentions, 1)]
    return "\n".join([wording.text, text, *([wording.mentions, *rows] if rows else [])])
