"""Where the tokens of a completion stand in its text."""

from __future__ import annotations

from clinical_ie.decoding.generation import GeneratedSequence
from clinical_ie.decoding.token_trie import TokenTrie
from clinical_ie.prompts.spelling import SpelledToken


def spelled_tokens(text: str, sequence: GeneratedSequence, vocabulary: TokenTrie) -> tuple[SpelledToken, ...]:
    """The tokens of a completion whose probabilities are known, with their characters; none where its text is not that of its tokens.

    Args:
        text: The completion.
        sequence: Its tokens.
        vocabulary: Their bytes.
    """
    pieces = [vocabulary.token_bytes.get(token, b"") for token in sequence.ids]
    whole = b"".join(pieces).decode("utf-8", "replace")
    if not whole.endswith(text) or whole.strip() != text.strip():
        return ()
    begun = -(len(whole) - len(text))  # a tokenizer may leave out the blank at the beginning
    found = []
    for piece, log in zip([*pieces, b""], [*sequence.logs, None], strict=False):
        starts = sum(byte & 0xC0 != 0x80 for byte in piece)
        first = begun if not piece or piece[0] & 0xC0 != 0x80 else begun - 1  # inside of a character
        begun += starts
        if log is not None:
            found.append(SpelledToken(first, begun, *log))
    return tuple(found)
