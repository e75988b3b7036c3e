"""What heads are called among a model's modules."""

from __future__ import annotations


def module_name(name: str) -> str:
    """A name without dots, which modules' names may not have; percent-encoded, so that different names stay different.

    Example:
        >>> [module_name(name) for name in ("n2c2_2018", "notes.v2", "notes_v2")]
        ['n2c2_2018', 'notes%2Ev2', 'notes_v2']
    """
    return name.replace("%", "%25").replace(".", "%2E")
