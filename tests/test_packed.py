"""Packed things come back equal, in bytes that do not depend on the process."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.corpora import Demo
from clinical_ie.packed import Packed

values = st.recursive(
    st.integers() | st.text(st.characters()) | st.none() | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(st.tuples(values, st.booleans())))
def test_what_is_packed_comes_back(things: list[tuple[Any, bool]]) -> None:
    packed: Packed[Any] = Packed()
    groups: dict[bool, int] = {}
    for thing, kind in things:
        packed.append(thing, groups.setdefault(kind, len(groups)))
    assert list(packed) == [thing for thing, _ in things]
    assert packed[::-2] == [thing for thing, _ in things][::-2]
    assert len(packed) == len(things)
    again = pickle.loads(pickle.dumps(packed))  # what a worker process that is not forked gets
    assert (list(again), again.digest) == (list(packed), packed.digest)


def test_places_outside() -> None:
    packed = Packed("abc")
    assert packed[-1] == "c"
    for place in (3, -4):
        with pytest.raises(IndexError):
            packed[place]


def test_the_digest_is_of_values_and_their_order() -> None:
    """A pickle with references tells one string twice from two equal ones."""
    one, other = "note", "".join(["no", "te"])
    assert one is not other
    assert Packed([(one, one)]).digest == Packed([(one, other)]).digest
    digests = {Packed(things).digest for things in (["a", "b"], ["b", "a"], ["ab"], ["a"], ["a", "b", ""], [])}
    assert len(digests) == 6


def test_documents_cost_little_more_than_their_text() -> None:
    """Beside 17 KB of Python objects for 1 KB of text."""
    documents = Demo().read("train")
    packed = Packed(documents)
    assert list(packed) == documents
    assert packed.size < 1.5 * sum(len(document.text) for document in documents)
    assert Packed(copy.deepcopy(documents)).digest == packed.digest
