"""Clinical notes to structured patient information.

Example:
    >>> from clinical_ie import load
    >>> extractor = load("runs/x")  # doctest: +SKIP
    >>> document = extractor("Started aspirin daily.")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clinical_ie.extraction.extractor import Extractor
    from clinical_ie.extraction.loading import load

__all__ = ["Extractor", "load"]

_PLACES = {"Extractor": "extractor", "load": "loading"}


def __getattr__(name: str) -> Any:
    """What is imported when it is wanted first: torch and its kin take seconds."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"clinical_ie.extraction.{_PLACES[name]}"), name)
