"""Compressed items come back equal, in bytes that do not depend on the process."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.compressed import CompressedSequence
from clinical_ie.corpora import Demo

values = st.recursive(
    st.integers() | st.text(st.characters()) | st.none() | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(st.tuples(values, st.booleans())))
def test_items_come_back(items: list[tuple[Any, bool]]) -> None:
    compressed: CompressedSequence[Any] = CompressedSequence()
    groups: dict[bool, int] = {}
    for item, kind in items:
        compressed.append(item, groups.setdefault(kind, len(groups)))
    assert list(compressed) == [item for item, _ in items]
    assert compressed[::-2] == [item for item, _ in items][::-2]
    assert len(compressed) == len(items)
    again = pickle.loads(pickle.dumps(compressed))  # what a worker process that is not forked gets
    assert (list(again), again.digest) == (list(compressed), compressed.digest)


def test_places_outside() -> None:
    compressed = CompressedSequence("abc")
    assert compressed[-1] == "c"
    for place in (3, -4):
        with pytest.raises(IndexError):
            compressed[place]


def test_the_digest_is_of_values_and_their_order() -> None:
    """A pickle with references tells one string twice from two equal ones."""
    one, other = "note", "".join(["no", "te"])
    assert one is not other
    assert CompressedSequence([(one, one)]).digest == CompressedSequence([(one, other)]).digest
    digests = {CompressedSequence(items).digest for items in (["a", "b"], ["b", "a"], ["ab"], ["a"], ["a", "b", ""], [])}
    assert len(digests) == 6


def test_documents_cost_little_more_than_their_text() -> None:
    """Beside 17 KB of Python objects for 1 KB of text."""
    documents = Demo().read("train")
    compressed = CompressedSequence(documents)
    assert list(compressed) == documents
    assert compressed.size < 1.5 * sum(len(document.text) for document in documents)
    assert CompressedSequence(copy.deepcopy(documents)).digest == compressed.digest
