"""A linear-chain conditional random field (CRF) over tags, with masked invalid transitions; see `crf_decoding` for its answers.

Shape legend: ``B`` rows, ``W`` units (what gets a tag), ``T`` tags.

Reference: Lafferty, McCallum & Pereira, Conditional random fields (ICML 2001); the recursion is the forward
algorithm in log space.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_FORBIDDEN = -1e4


class LinearChainCRF(nn.Module):
    """Scores tag sequences.

    Args:
        allowed: ``allowed[i][j]`` is true where tag ``j`` can follow tag ``i``.
        learned: Learn transition scores; without them training is plain cross-entropy on each unit, and decoding
            finds the best valid tag sequence (a softmax tagger with constrained Viterbi decoding).
    """

    def __init__(self, allowed: Sequence[Sequence[bool]], *, learned: bool = True) -> None:
        super().__init__()
        forbidden = ~torch.tensor(allowed, dtype=torch.bool)
        self.register_buffer("forbidden", forbidden, persistent=False)
        self.forbidden: Tensor
        count = forbidden.shape[0]
        self.learned = learned
        self.transitions = nn.Parameter(torch.zeros(count, count), requires_grad=learned)
        self.starts = nn.Parameter(torch.zeros(count), requires_grad=learned)
        self.ends = nn.Parameter(torch.zeros(count), requires_grad=learned)

    def scores(self) -> Tensor:
        """Of transitions, in 32 bits, ``(T, T)``."""
        return self.transitions.float().masked_fill(self.forbidden, _FORBIDDEN)

    def forward(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Negative log-likelihood of gold tags, summed over sequences.

        Computed in float32 under autocast too: in bfloat16 the recursion over a row's units is far off where the model is sure.

        Shape:
            - emissions: ``(B, W, T)``, any floating type.
            - tags: ``(B, W)``, anything where the mask is off.
            - mask: ``(B, W)``, on for a row's first units and off behind; at least one unit a row.
        """
        with torch.autocast(emissions.device.type, enabled=False):
            emissions = emissions.float()
            tags = tags.masked_fill(~mask, 0)
            if not self.learned:
                losses = nn.functional.cross_entropy(emissions.transpose(1, 2), tags, reduction="none")
                return (losses * mask).sum()
            # Once for both, and first: so gradients of parameters come in the same order on a rank whose batch has no row or no second
            # unit for this head. DeepSpeed (stages 1 and 2) sums what comes at the same place of its buckets, whatever parameter it is of.
            scores = self.scores()
            return (self._log_partition(scores, emissions, mask) - self._sequence_score(scores, emissions, tags, mask)).sum()

    def _sequence_score(self, scores: Tensor, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        on = mask.float()
        emitted = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)
        moved = scores[tags[:, :-1], tags[:, 1:]]
        last = tags.gather(1, mask.sum(1, keepdim=True) - 1).squeeze(1)
        return (emitted * on).sum(1) + (moved * on[:, 1:]).sum(1) + self.starts[tags[:, 0]] + self.ends[last]

    def _log_partition(self, scores: Tensor, emissions: Tensor, mask: Tensor) -> Tensor:
        # exp(transitions) as a matrix product keeps each step at (B, T) x (T, T) instead of a (B, T, T) logsumexp;
        # the running maximum is taken out first, and the floor keeps dead tags from giving log(0).
        weights = scores.exp()
        alpha = self.starts + emissions[:, 0]
        # mask columns as tuples of views, outside the loop: slicing costs more than the arithmetic here
        for emission, on in zip(emissions.unbind(1)[1:], mask.unsqueeze(2).unbind(1)[1:], strict=True):
            peak = alpha.detach().amax(1, keepdim=True)
            moved = ((alpha - peak).exp() @ weights).clamp_min(1e-30).log() + peak + emission
            alpha = torch.where(on, moved, alpha)
        return torch.logsumexp(alpha + self.ends, 1)
