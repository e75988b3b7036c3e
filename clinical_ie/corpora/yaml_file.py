"""A YAML file whose values know their lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from clinical_ie.errors import FileFormatError
from clinical_ie.fields import MalformedDataError
from clinical_ie.files import read_text

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class YamlFile:
    """Parsed YAML, plain values only.

    Args:
        path: The file.
        expected: What should stand in it, for messages.

    Raises:
        FileFormatError: It is missing, not YAML, or holds a key twice.
    """

    def __init__(self, path: Path | str, expected: str = "root, schema, ... of a BRAT corpus") -> None:
        self.path = path
        text = read_text(path)
        try:
            self._node = yaml.compose(text, Loader=yaml.SafeLoader)
            self.data: Any = yaml.safe_load(text)
            twice = _twice(self._node, set())
        except yaml.YAMLError as error:
            line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
            raise FileFormatError(path, line, "not YAML", expected=expected) from None
        except RecursionError:
            raise FileFormatError(path, 0, "nested too deep", expected=expected) from None
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError):  # dates and tags that are none
            raise FileFormatError(path, 0, "not YAML: a value is no date or number", expected=expected) from None
        if twice:
            line, key = twice
            raise FileFormatError(path, line, f"the key {key[:100]!r} stands twice", remedy="the second would replace the first")

    def failure(self, error: MalformedDataError) -> FileFormatError:
        """An error of a value, with its line."""
        return FileFormatError(self.path, self.line(error.place), error.found, expected=error.expected, remedy=error.remedy)

    def line(self, place: str) -> int:
        """The line of a place such as ``schema.relations[0].heads``, or of what lies nearest above it."""
        node = self._node
        for index, key in _STEP.findall(place):
            below = None
            if index and isinstance(node, yaml.SequenceNode) and int(index) < len(node.value):
                below = node.value[int(index)]
            elif isinstance(node, yaml.MappingNode):
                below = next((value for name, value in node.value if name.value == key), None)
            if below is None:
                # arguments may stand under data.corpora[0].init_args, and the schema's places begin at the arguments
                below = _find(node, key) if node is self._node else None
            if below is None:
                break
            node = below
        return 0 if node is None else node.start_mark.line + 1


def _find(node: yaml.Node | None, key: str) -> yaml.Node | None:
    """The first value under this key at any depth."""
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == key:
                    return value  # type: ignore[no-any-return]
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return None


def _twice(node: yaml.Node | None, seen: set[int]) -> tuple[int, str] | None:
    """Line and name of the first key that its mapping has already."""
    if node is None or id(node) in seen:
        return None
    seen.add(id(node))
    rows = node.value if isinstance(node, yaml.MappingNode) else []
    keys: set[str] = set()
    for name, value in rows:
        if isinstance(name, yaml.ScalarNode):
            if name.value in keys:
                return name.start_mark.line + 1, name.value
            keys.add(name.value)
        if found := _twice(value, seen):
            return found
    for value in node.value if isinstance(node, yaml.SequenceNode) else ():
        if found := _twice(value, seen):
            return found
    return None
