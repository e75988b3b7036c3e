"""A grammar as a logits processor, for sampling and beams with transformers' own `generate`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import FloatTensor, LongTensor
from transformers import LogitsProcessor

from clinical_ie.decoding.vocabulary import TokenBytes
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar, State


class VerbatimLogitsProcessor(LogitsProcessor):
    """Leaves each row the tokens that its grammar allows; exact for greedy search, sampling, beams and left-padded batches.

    The state of a row follows from what it has said, so rows may be reordered and repeated as beams are.

    Args:
        vocabulary: What tokens spell.
        grammars: One for each question of the batch.
        prompt_length: Tokens of a row before its answer, padding included.
        end_id: The token that ends an answer.

    Example:
        ``model.generate(**inputs, logits_processor=[VerbatimLogitsProcessor(...)], do_sample=True)``
    """

    def __init__(self, vocabulary: TokenBytes, grammars: Sequence[Grammar], *, prompt_length: int, end_id: int) -> None:
        self.vocabulary, self.prompt_length, self.end_id = vocabulary, prompt_length, end_id
        self.automata = [automaton_of(grammar) for grammar in grammars]
        self._states: list[dict[tuple[int, ...], State]] = [{(): automaton.start()} for automaton in self.automata]

    def __call__(self, input_ids: LongTensor, scores: FloatTensor) -> FloatTensor:
        """Minus infinity for tokens that are not allowed.

        Shape:
            - input_ids: ``(rows, tokens)``; scores and result: ``(rows, vocabulary)``
        """
        beams = input_ids.shape[0] // len(self.automata)
        kept = torch.full_like(scores, -torch.inf)
        for row, ids in enumerate(input_ids[:, self.prompt_length :].tolist()):
            allowed = torch.tensor(self._allowed(row // beams, tuple(ids)), device=scores.device)
            kept[row, allowed] = scores[row, allowed]
        return kept  # type: ignore[return-value]

    def _allowed(self, question: int, said: tuple[int, ...]) -> list[int]:
        if self.end_id in said:
            return [self.end_id]
        automaton, states = self.automata[question], self._states[question]
        if said not in states:
            before = states.get(said[:-1])
            spelled = self.vocabulary.spelled.get(said[-1])
            after = automaton.step(before, spelled) if before is not None and spelled is not None else None
            if after is None:  # a beam of score minus infinity, which only fills up a batch
                return [self.end_id]
            states[said] = after
        state = states[said]
        return self.vocabulary.allowed(automaton, state) + [self.end_id] * automaton.may_end(state)
