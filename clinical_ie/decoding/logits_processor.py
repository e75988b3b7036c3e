"""Grammar-constrained decoding as a logits processor, for sampling and beam search with transformers' own `generate`.

Reference: transformers' `LogitsProcessor`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import FloatTensor, LongTensor
from transformers import LogitsProcessor

from clinical_ie.decoding.token_trie import TokenTrie
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar, State


class GrammarConstrainedLogitsProcessor(LogitsProcessor):
    """Masks the tokens that the grammar of each row does not allow; exact for greedy search, sampling, beams and left-padded batches.

    The state of a row follows from its generated tokens, so rows may be reordered and repeated as beam search does.

    Args:
        vocabulary: The tokens by their bytes.
        grammars: One for each prompt of the batch.
        prompt_length: Tokens of a row before its completion, padding included.
        end_id: The token that ends a completion.

    Example:
        ``model.generate(**inputs, logits_processor=[GrammarConstrainedLogitsProcessor(...)], do_sample=True)``
    """

    def __init__(self, vocabulary: TokenTrie, grammars: Sequence[Grammar], *, prompt_length: int, end_id: int) -> None:
        self.vocabulary, self.prompt_length, self.end_id = vocabulary, prompt_length, end_id
        self.automata = [automaton_of(grammar) for grammar in grammars]
        self._states: list[dict[tuple[int, ...], State]] = [{(): automaton.start()} for automaton in self.automata]

    def __call__(self, input_ids: LongTensor, scores: FloatTensor) -> FloatTensor:
        """Scores, minus infinity for tokens that are not allowed.

        Shape:
            - input_ids: ``(rows, tokens)``; scores and result: ``(rows, vocabulary)``
        """
        beams = input_ids.shape[0] // len(self.automata)
        masked = torch.full_like(scores, -torch.inf)
        for row, ids in enumerate(input_ids[:, self.prompt_length :].tolist()):
            allowed = torch.tensor(self._allowed(row // beams, tuple(ids)), device=scores.device)
            masked[row, allowed] = scores[row, allowed]
        return masked  # type: ignore[return-value]

    def _allowed(self, prompt: int, generated_ids: tuple[int, ...]) -> list[int]:
        if self.end_id in generated_ids:
            return [self.end_id]
        automaton, states = self.automata[prompt], self._states[prompt]
        if generated_ids not in states:
            before = states.get(generated_ids[:-1])
            token_bytes = self.vocabulary.token_bytes.get(generated_ids[-1])
            after = automaton.step(before, token_bytes) if before is not None and token_bytes is not None else None
            if after is None:  # a beam of score minus infinity, which only fills up a batch
                return [self.end_id]
            states[generated_ids] = after
        state = states[generated_ids]
        return self.vocabulary.allowed(automaton, state) + [self.end_id] * automaton.may_end(state)
