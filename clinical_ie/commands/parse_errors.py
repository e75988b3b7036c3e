"""What jsonargparse says of wrong settings, in a line that names the setting, where it was set, and the nearest right name.

Its messages are nested: each union and each class on the way adds a paragraph, and the cause stands somewhere inside::

    Parser key "model":
      Does not validate against any of the Union subtypes
      Errors:
        - Problem with given class_path 'clinical_ie.modules.EncoderTagger':
            Option 'lerning_rate' is not accepted
        - Expected a <class 'NoneType'>
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from clinical_ie.errors import did_you_mean

_KEY = re.compile(r'Parser key "([^"]+)":')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':")
_OPTION = re.compile(r"Option '([^']+)' is not accepted")
_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
_ATTRIBUTE = re.compile(r"module '([^']+)' has no attribute '([^']+)'")
_EXPECTED = re.compile(r"Expected an? (.+?)(?:\. Got value: (.*))?$")
_REQUIRED = re.compile(r"""(?:Key|Parameter|Option) ["']([^"']+)["'] is required""")
_REQUIRED_OF_CLASS = re.compile(r"the following arguments are required: (.+)")
_NO_PATH = re.compile(r"Expected a dot import path string: (.*)")
_NO_KIND = re.compile(r"Import path (\S+) does not correspond to a subclass of (\S+)")
_NO_MODULE = re.compile(r"No module named '([^']+)'")
_LONGEST = 100
_HOMES = {
    "model": "clinical_ie.modules",
    "data.tasks": "clinical_ie.tasks",
    "data.corpora": "clinical_ie.corpora",
    "data.split": "clinical_ie.corpora",
}
_MOVED = {
    "dev_share": "data.split.dev_share: 0.1 or {CORPUS: 0.1}",
    "test_share": "data.split.test_share: 0.2 or {CORPUS: 0.2}",
    "split_seed": "data.split.seed: 13 or {CORPUS: 13}",
}
"""Arguments that corpora had once, and runs of then have still."""


def explain(message: str, options: Iterable[str], origins: Mapping[str, str]) -> str:
    """The cause and the remedy in one line.

    Args:
        message: What jsonargparse raised.
        options: The names of all options, without ``--``.
        origins: Key, without ``init_args``, -> where it was set (see `Chain`).
    """
    known = list(options)
    if found := re.match(r"unrecognized arguments: (.*)", message, re.DOTALL):
        return _unrecognized(found[1].split(), known)
    keys: list[str] = []
    classes: list[str] = []
    expected: list[str] = []
    for line in message.splitlines():
        if found := _KEY.search(line):
            keys.append(found[1])
        if found := _CLASS.search(line):
            classes.append(found[1])
        if found := _OPTION.search(line):
            return _no_such(keys, classes, found[1], known, origins)
        if found := _GROUP.search(line):
            return _no_such([found[1]], [], found[2], known, origins)
        if found := _ATTRIBUTE.search(line):
            return f"{_place(keys, origins)}: there is no class {found[1]}.{found[2]}{did_you_mean(found[2], _classes_of(found[1]))}"
        if found := _REQUIRED.search(line):
            return f"{_place(keys, origins)}: {found[1]} is missing" + (f"; {_short(classes[-1])} needs it" if classes else "")
        if classes and (found := _REQUIRED_OF_CLASS.search(line)):
            return f"{_place(keys, origins)}: {_short(classes[-1])} needs {found[1]}, which is missing"
        if found := _NO_PATH.search(line):
            near = did_you_mean(found[1], _classes_of(_HOMES.get(".".join(keys), "lightning.pytorch.callbacks")))
            return f"{_place(keys, origins)}: there is no class {_cut(found[1])}{near or ', expected the name of one with its module'}"
        if found := _NO_KIND.search(line):
            return f"{_place(keys, origins)}: {found[1]} is no {found[2]}"
        if found := _NO_MODULE.search(line):
            return f"{_place(keys, origins)}: there is no module {found[1]}"
        if "Expected a path but" in line:
            continue
        if (found := _EXPECTED.search(line)) and found[1] not in expected:
            expected.append(found[1])
            if found[2] is not None:
                near = did_you_mean(found[2], _literals(expected))
                return f"{_place(keys, origins)}: expected {_types(expected)}, got {_cut(found[2])!r}{near}"
    given = re.search(r"Given value: (.*)", message)
    if expected == ["<class 'NoneType'>"]:
        return f"{_place(keys, origins)}: not a value that this setting takes" + (f": {_cut(given[1])!r}" if given else "")
    if expected:
        near = did_you_mean(given[1], _literals(expected)) if given else ""
        return f"{_place(keys, origins)}: expected {_types(expected)}" + (f", got {_cut(given[1])!r}{near}" if given else "")
    return " ".join(_cut(line.strip(), 300) for line in message.splitlines() if line.strip())[:1000]


def _unrecognized(tokens: list[str], known: list[str]) -> str:
    name = tokens[0].partition("=")[0]
    if not name.startswith("-"):
        return f"{_cut(tokens[0])!r} is no option; options begin with --, configuration files stand behind -c"
    return f"unknown option {name}{did_you_mean(name, [f'--{option}' for option in known])}"


def _no_such(keys: list[str], classes: list[str], option: str, known: list[str], origins: Mapping[str, str]) -> str:
    """A key that its class or its group does not know."""
    first, _, _ = option.partition(".")
    if keys and keys[0] == "data.corpora" and first in _MOVED:
        return f"{_place([*keys, first], origins)}: a corpus only reads, a split decides; give {_MOVED[first]}"
    if classes:
        names = _parameters(classes[-1])
        return f"{_place([*keys, first], origins)}: {_short(classes[-1])} has no argument {first!r}{did_you_mean(first, names)}"
    prefix = "".join(f"{key}." for key in keys)
    inside = {name.removeprefix(prefix).partition(".")[0] for name in known if name.startswith(prefix)}
    what = f"{'.'.join(keys)} has no setting" if keys else "there is no setting"
    return f"{_place([*keys, first], origins)}: {what} {first!r}{did_you_mean(first, inside)}"


def _place(keys: list[str], origins: Mapping[str, str]) -> str:
    """Where a key was set, and its name where that does not say it."""
    parts = [part for key in keys for part in key.split(".") if part not in ("init_args", "dict_kwargs")]
    name = ".".join(parts)
    while parts:
        if found := origins.get(".".join(parts)):
            return found if found.startswith("--") else f"{found}: {name}"
        parts.pop()
    return name or "settings"


def _parameters(path: str) -> list[str]:
    """The names of the arguments of a class and of those that it hands on."""
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
        return [parameter for base in inspect.getmro(kind)[:-1] for parameter in inspect.signature(base).parameters]
    except (ImportError, AttributeError, ValueError, TypeError):
        return []


def _classes_of(path: str) -> list[str]:
    try:
        return [name for name, value in vars(import_module(path)).items() if isinstance(value, type)]
    except ImportError:
        return []


def _types(expected: list[str]) -> str:
    """Types as a person would say them."""

    def plain(text: str) -> str:
        text = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", text).replace("typing.", "")
        if found := re.match(r"Literal\[(.*)\]$", text):
            return " or ".join(found[1].replace("'", "").split(", "))
        return {"NoneType": "null", "int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}.get(text, text)

    return " or ".join(dict.fromkeys(plain(text) for text in expected))


def _literals(expected: list[str]) -> list[str]:
    """The words among types: those of ``typing.Literal['crf', 'softmax']``."""
    return [word for text in expected if "Literal[" in text for word in re.findall(r"'([^']+)'", text)]


def _short(path: str) -> str:
    return path.rpartition(".")[2]


def _cut(text: str, longest: int = _LONGEST) -> Any:
    return text if len(text) <= longest else f"{text[:longest]}..."
