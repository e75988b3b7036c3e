"""Prompt-lookup decoding: draft tokens for speculative decoding, copied from where the last n-gram stands in the prompt.

Draft tokens change the speed of generation, never its output: the model verifies each of them and accepts those that it would have
generated itself.

References: Saxena, Prompt lookup decoding (2023); Leviathan et al., Fast inference from transformers via speculative decoding (ICML 2023).
"""

from __future__ import annotations

from collections.abc import Sequence


class PromptLookupProposer:
    """Looks up the last tokens of a completion in its prompt.

    Args:
        prompt_ids: Tokens that may be copied.
        ngram_size: How many last tokens must be the same.
    """

    def __init__(self, prompt_ids: Sequence[int], ngram_size: int = 2) -> None:
        self.prompt_ids, self.ngram_size = tuple(prompt_ids), ngram_size
        self._continuations: dict[tuple[int, ...], list[int]] = {}
        for place in range(ngram_size, len(prompt_ids)):
            self._continuations.setdefault(tuple(prompt_ids[place - ngram_size : place]), []).append(place)
        self._last = 0

    def propose(self, generated_ids: Sequence[int], max_tokens: int) -> tuple[int, ...]:
        """At most `max_tokens` draft tokens; none where the last n-gram does not stand in the prompt.

        Of several places the first one behind that of the last draft is taken, because completions follow the text.
        """
        if len(generated_ids) < self.ngram_size or max_tokens < 1:
            return ()
        places = self._continuations.get(tuple(generated_ids[-self.ngram_size :]))
        if not places:
            return ()
        place = next((place for place in places if place > self._last), places[-1])
        self._last = place
        return self.prompt_ids[place : place + max_tokens]
