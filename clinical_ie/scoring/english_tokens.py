"""The tokens in which the scorer of 2022 n2c2 Track 2 counts partial matches: those of spaCy's blank English pipeline.

spaCy is no dependency of this package. The rules of its tokenizer are some hundred patterns and exceptions that change
with its version, so that a copy of them would give a number that is nearly the official one.
"""

from __future__ import annotations

from collections.abc import Callable

from clinical_ie.errors import SettingError


def english_tokenizer() -> Callable[[str], list[str]]:
    """Splits a text into tokens.

    Raises:
        SettingError: spaCy is not installed.
    """
    try:
        import spacy
    except ImportError:
        raise SettingError(
            "partial matches of shac-2022 are counted in tokens of spaCy, which is not installed;"
            " install it (pip install spacy), or compare these arguments by exact or overlap"
        ) from None
    pipeline = spacy.blank("en")
    return lambda text: [token.text for token in pipeline.tokenizer(text)]
