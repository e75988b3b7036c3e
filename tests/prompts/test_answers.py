"""Normalised text leads back to the characters it came from."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.prompts.answers import NormalizedText


@given(st.text(st.sampled_from("ab \t\n\r\u00a0\u2028\x0b\x1c\x85é\U0001fac0"), max_size=20))
def test_flat_has_single_blanks_and_leads_back(text: str) -> None:
    flat = NormalizedText.of(text)
    assert flat.text == re.sub(r"\s+", " ", text)
    for start in range(len(flat.text)):
        for end in range(start + 1, len(flat.text) + 1):
            first, last = flat.to_original(start, end)
            assert 0 <= first < last <= len(text)
            assert re.sub(r"\s+", " ", text[first:last]) == flat.text[start:end]
    if flat.text:
        assert flat.to_original(0, len(flat.text)) == (0, len(text))
