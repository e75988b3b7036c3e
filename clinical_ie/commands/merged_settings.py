"""The settings of a chain as plain values, merged without importing what they configure.

`clinical-ie fit --print_config` imports torch and every class, seven seconds a run; this takes milliseconds. Files are merged as the
command line merges them: mappings key by key, lists that end in ``+`` appended, later ones win. Defaults of classes are not filled in:
they are part of the code, whose version is known. So two chains that come to the same run may differ here, where one spells out a
default, but chains that come to different runs never look the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from clinical_ie.commands.chain import Chain
from clinical_ie.files import read_text

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HOLDERS = {"class_path", "init_args", "dict_kwargs"}
_FILES: dict[str, Any] = {}


def merged_settings(arguments: Sequence[str]) -> dict[str, Any]:
    """What a chain sets.

    Args:
        arguments: Names of configurations behind ``-c``, and options, as `fit` takes them.

    Raises:
        SettingError: A file that does not exist, no model, task or corpus, or settings in a wrong order.
        FileFormatError: A file that is no configuration.
    """
    chain = Chain(arguments)
    chain.require_axes()
    found: dict[str, Any] = {}
    rest = list(chain.arguments)
    while rest:
        part = rest.pop(0)
        if part == "-c":
            _merge(found, _loaded(rest.pop(0)))
            continue
        key, equals, value = part.removeprefix("--").partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        _set(found, key.split("."), _value(value))
    return found


def _loaded(path: str) -> dict[str, Any]:
    if path not in _FILES:
        _FILES[path] = yaml.load(read_text(path), Loader=_LOADER)  # noqa: S506 (a safe loader)
    found: dict[str, Any] = _FILES[path]
    return found


def _value(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, ValueError):
        return text


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    """Put in what another file sets; what is put in is a copy."""
    for key, value in values.items():
        if key.endswith("+"):
            before = into.get(key[:-1])
            into[key[:-1]] = [*(before if isinstance(before, list) else []), *_copy(value if isinstance(value, list) else [value])]
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = _copy(value)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        _merge(found, value)
        return found
    return [_copy(one) for one in value] if isinstance(value, list) else value


def _set(into: dict[str, Any], parts: list[str], value: Any) -> None:
    """Set ``a.b.c``: of a list, in its last element; of a class, in its arguments."""
    node: Any = into
    for place, part in enumerate(parts):
        if isinstance(node, dict) and "class_path" in node and part not in _HOLDERS:
            node = node.setdefault("init_args", {})
        if place == len(parts) - 1:
            _merge(node, {part: value})
            return
        child = node.setdefault(part, {})
        if isinstance(child, list):
            child = child[-1] if child and isinstance(child[-1], dict) else {}
        elif not isinstance(child, dict):
            child = node[part] = {}
        node = child
