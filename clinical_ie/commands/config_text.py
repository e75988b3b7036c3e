"""The text of ``config.yaml``, which gives back the settings that it was written from.

jsonargparse reads strings as YAML where it dumps values of any type: the relation ``On`` and the value ``yes`` of a schema became booleans.
Its loader takes more words for numbers (``1e3``) than the dumper quotes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml
from jsonargparse import Namespace


def config_text(dumped: str, settings: Any) -> str:
    """The text that jsonargparse dumped, with strings as they are.

    Args:
        dumped: What it dumped.
        settings: The settings that it dumped, all or more.
    """
    return yaml.dump(_restored(yaml.safe_load(dumped), settings), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)


class _Dumper(yaml.SafeDumper):
    """Quotes strings that look like numbers."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal values out, so that each can be changed alone."""
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if _is_number(text) else None)


_Dumper.add_representer(str, _string)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _restored(dumped: Any, given: Any) -> Any:
    """A dumped value with the strings of the one that it was dumped from; objects stay as they were dumped."""
    if type(given) is str:  # members of enumerations may be strings too, and are dumped by their names
        return given
    if isinstance(dumped, dict) and isinstance(given, Mapping | Namespace):
        known = vars(given) if isinstance(given, Namespace) else given
        return {name: _restored(value, known.get(name)) for name, value in dumped.items()}
    if isinstance(dumped, list) and isinstance(given, list | tuple) and len(dumped) == len(given):
        return [_restored(one, other) for one, other in zip(dumped, given, strict=True)]
    return dumped
