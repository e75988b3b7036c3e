"""Which strings of mentions a model's weights have seen: digests, no text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import chain

from clinical_ie.document import Document
from clinical_ie.errors import InputError
from clinical_ie.scoring.strings import digests


class SeenStrings:
    """Strings that are on record, or else those of the documents that a run learns from.

    Args:
        training: Reads the documents that the run learns from, by corpus.
        unread: Is told why they cannot be read.
    """

    def __init__(self, training: Callable[[], Iterable[Iterable[Document]]], unread: Callable[[InputError], None]) -> None:
        self._training, self._unread = training, unread
        self.recorded: frozenset[bytes] | None = None
        self.are_known = True

    @property
    def found(self) -> frozenset[bytes] | None:
        """`digests` of them; None where nobody knows."""
        return self.recorded if self.recorded is not None or not self.are_known else self._own

    @cached_property
    def _own(self) -> frozenset[bytes] | None:
        try:
            return digests(chain.from_iterable(self._training()))
        except InputError as error:
            self._unread(error)
            return None
