"""The prompt template: an instruction (task, types with their definitions, response format, few-shot demonstrations), then the text.

The instruction comes first because all segments of a corpus share it: it is the shared prefix, which generation computes once.

Reference: Sainz et al., GoLLIE (ICLR 2024), for prompts with annotation guidelines.
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
from clinical_ie.prompts.answers import LabelNames
from clinical_ie.prompts.responses import FORMATS, ResponseFormat

_OWN = Path(__file__).parent / "templates"
_TASKS = {"entities", "relations", "joint"}
_ATTRIBUTES = {"task", "heading", "row", "format"}
_WORDS = (
    "name",
    "system",
    "link_format",
    "types",
    "links",
    "link_row",
    "values",
    "value_row",
    "demonstrations",
    "text",
    "mentions",
    "answer",
)


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """The words of a prompt, from a YAML file."""

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
    values: str
    value_row: str
    demonstrations: str
    text: str
    mentions: str
    answer: str
    attributes: Mapping[str, str] | None = None
    """Words of questions about attributes; a template may do without."""

    @classmethod
    def load(cls, name: str) -> PromptTemplate:
        """The packaged template of a name, or the one in a file.

        Raises:
            SettingError: There is no such template.
            FileFormatError: The file lacks a part or has one that is not known.
        """
        path = Path(name) if name.endswith((".yaml", ".yml")) else _OWN / f"{name}.yaml"
        if not path.exists():
            known = ", ".join(sorted(file.stem for file in _OWN.glob("*.yaml")))
            raise SettingError(f"no prompt template {name}; known are {known}, or the path of a YAML file")
        try:
            data: Any = yaml.safe_load(read_text(path))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise FileFormatError(path, mark.line + 1 if mark else 0, "not YAML", expected="a prompt template") from None
        except (RecursionError, ValueError, TypeError, LookupError, AttributeError, OverflowError):  # depth; dates and tags that are none
            raise FileFormatError(path, 0, "not YAML, or nested too deeply", expected="a prompt template") from None
        wanted = {*_WORDS, "version", "tasks", "formats", "type_rows"}
        if not isinstance(data, dict) or set(data) - {"attributes"} != wanted:
            differing = sorted((set(data) - {"attributes"}) ^ wanted) if isinstance(data, dict) else ["everything"]
            raise FileFormatError(
                path, 0, f"missing or unknown: {', '.join(map(str, differing))}", expected="the parts of templates/unified.yaml"
            )
        wrong = [key for key in _WORDS if not isinstance(data[key], str)]
        wrong += ["version"] * (type(data["version"]) is not int)
        for key, names in (("tasks", _TASKS), ("formats", set(FORMATS))):
            wrong += [key] * (not isinstance(data[key], dict) or set(data[key]) != names or not _all_words(data[key].values()))
        rows = data["type_rows"]
        wrong += ["type_rows"] * (not isinstance(rows, list) or not rows or not all(_is_row(row, ("name", "definition")) for row in rows))
        wrong += ["link_row"] * (not _is_row(data["link_row"], ("name", "definition", "heads", "tails")))
        wrong += ["value_row"] * (not _is_row(data["value_row"], ("tails", "values")))
        asked = data.get("attributes")
        if asked is not None:
            rows = asked.get("row") if isinstance(asked, dict) else None
            whole = isinstance(asked, dict) and set(asked) == _ATTRIBUTES and _all_words(asked.values())
            wrong += ["attributes"] * (not whole or not _is_row(rows, ("name", "definition", "targets", "values")))
        if wrong:
            raise FileFormatError(path, 0, f"wrong: {', '.join(wrong)}", expected="what templates/unified.yaml has there")
        return cls(**{**data, "type_rows": tuple(data["type_rows"])})

    @property
    def fingerprint(self) -> str:
        """Name, version and a digest of all words."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        return f"{self.name}-{self.version}-{digest}"


@dataclass(frozen=True, slots=True)
class LabelDescription:
    """A type or a label in a prompt: its name in the response, its definition, and for labels the types of heads and tails."""

    name: str
    definition: str
    heads: tuple[str, ...] = ()
    tails: tuple[str, ...] = ()


Demonstration = tuple[str, tuple[tuple[str, str], ...], str]
"""A text, the mentions that are given with it (type and words), and the response."""


@dataclass(frozen=True, slots=True)
class InstructionSpec:
    """The content of an instruction (``entities``, ``relations``, ``joint``, ``attributes``), types, labels, the syntax of responses.

    `type_row` chooses among the template's rows. With `arguments` rows of links say which types they join. `demonstrations` are texts,
    their mentions where those are given, and responses.
    """

    task: str
    types: tuple[LabelDescription, ...]
    labels: tuple[LabelDescription, ...]
    response: ResponseFormat
    type_row: int = 0
    arguments: bool = True
    demonstrations: tuple[Demonstration, ...] = ()

    @property
    def label_names(self) -> LabelNames:
        """The names of types and labels in responses."""
        return LabelNames(tuple(row.name for row in self.types), tuple(row.name for row in self.labels))


def _all_words(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_row(row: Any, names: Sequence[str]) -> bool:
    """Whether a row has no placeholders but these."""
    try:
        return isinstance(row, str) and isinstance(row.format(**dict.fromkeys(names, "")), str)
    except (KeyError, IndexError, ValueError, AttributeError):
        return False


def render_instruction(template: PromptTemplate, spec: InstructionSpec) -> str:
    """The user's turn before the text."""
    if spec.task == "attributes":
        parts = _asked_attributes(template, spec)
        return "\n\n".join([*parts, *_shown(template, spec)]) + "\n\n"
    parts = [template.tasks[spec.task]]
    row = template.type_rows[spec.type_row % len(template.type_rows)]
    if spec.task != "relations":
        parts += ["\n".join([template.types, *(_row(row, kind.name, kind.definition) for kind in spec.types)])]
    if spec.task != "entities":
        parts += ["\n".join([template.links, *_links(template, row, spec)])]
        if values := _values(template, spec.labels):
            parts += ["\n".join([template.values, *values])]
    format_parts = [template.formats[spec.response.name]] if spec.task != "relations" else []
    if spec.task != "entities" and spec.response.name != "json":
        format_parts.append(template.link_format)
    parts.append(" ".join(format_parts) or template.formats["json"])
    return "\n\n".join([*parts, *_shown(template, spec)]) + "\n\n"


def _shown(template: PromptTemplate, spec: InstructionSpec) -> list[str]:
    """The demonstrations, where there are any."""
    if not spec.demonstrations:
        return []
    shown = [f"{render_text(template, text, given)}\n{template.answer}\n{response}" for text, given, response in spec.demonstrations]
    return ["\n\n".join([template.demonstrations, *shown])]


def _asked_attributes(template: PromptTemplate, spec: InstructionSpec) -> list[str]:
    """Task, one row for each attribute with its values, and the form of answers."""
    words = template.attributes or {}
    labels_of: dict[str, list[LabelDescription]] = {}
    for label in spec.labels:
        labels_of.setdefault(label.name.partition("=")[0], []).append(label)
    rows = []
    for name, labels in labels_of.items():
        values = _either([value for _, valued, value in (label.name.partition("=") for label in labels) if valued])
        targets = _either(labels[0].heads) if spec.arguments else "*"
        row = words["row"].format(name=name, values=values if values != "*" else "", targets=targets, definition=labels[0].definition)
        rows.append(row.replace("=:", ":").replace("= (", " (").rstrip(" :"))
    return [words["task"], "\n".join([words["heading"], *rows]), words["format"]]


def _links(template: PromptTemplate, row: str, spec: InstructionSpec) -> list[str]:
    """One row for each relation; its values are said once for all (`_values`)."""
    labels_of: dict[str, list[LabelDescription]] = {}
    for label in spec.labels:
        labels_of.setdefault(label.name.partition("=")[0], []).append(label)
    rows = []
    for name, labels in labels_of.items():
        definition = labels[0].definition
        if not spec.arguments:
            rows.append(_row(row, name, definition))
            continue
        heads, tails = (_either(_together(sides)) for sides in ([label.heads for label in labels], [label.tails for label in labels]))
        joined = template.link_row.format(name=name, definition=definition, heads=heads, tails=tails)
        rows.append(joined if definition else joined.rstrip(" :"))
    return rows


def _together(sides: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The types of some labels on one side; none stand for all."""
    return tuple(dict.fromkeys(kind for side in sides for kind in side)) if all(sides) else ()


def _values(template: PromptTemplate, labels: Sequence[LabelDescription]) -> list[str]:
    """One row for the types of tails that have the same values, which labels of links to them may say."""
    of_tail: dict[str, dict[str, None]] = {}
    for label in labels:
        _, valued, value = label.name.partition("=")
        for tail in (label.tails or ("*",)) if valued else ():
            of_tail.setdefault(tail, {})[value] = None
    tails_of: dict[tuple[str, ...], list[str]] = {}
    for tail, values in of_tail.items():
        tails_of.setdefault(tuple(values), []).append(tail)
    return [template.value_row.format(tails=_either(tails), values=_either(values)) for values, tails in tails_of.items()]


def _row(row: str, name: str, definition: str) -> str:
    return row.format(name=name, definition=definition) if definition else name


def _either(names: Sequence[str]) -> str:
    return "|".join(names) or "*"


def render_text(template: PromptTemplate, text: str, mentions: Sequence[tuple[str, str]] = ()) -> str:
    """The part of a prompt for one text: the text, and numbered mentions where they are given."""
    rows = [f"{number}\t{kind}\t{words}" for number, (kind, words) in enumerate(mentions, 1)]
    return "\n".join([template.text, text, *([template.mentions, *rows] if rows else [])])
