"""A linear-chain conditional random field (CRF) over tags, with masked invalid transitions; Viterbi decoding.

Shape legend: ``B`` rows, ``W`` units (what gets a tag), ``T`` tags.

Reference: Lafferty, McCallum & Pereira, Conditional random fields (ICML 2001); the recursion is the forward
algorithm in log space, decoding is Viterbi's. Rabiner, A tutorial on hidden Markov models (1989), for the rescaled forward-backward
algorithm.
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

    def _scores(self) -> Tensor:
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
            scores = self._scores()
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

    @torch.no_grad()
    def decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """The best valid tag sequence; 0 where the mask is off.

        Shape:
            - emissions: ``(B, W, T)``; mask: ``(B, W)``; result: ``(B, W)``.
        """
        with torch.autocast(emissions.device.type, enabled=False):
            return self._best_path(emissions.float(), mask)

    @torch.no_grad()
    def span_probabilities(self, emissions: Tensor, mask: Tensor, spans: Tensor) -> Tensor:
        """The probability that a row has exactly this run of tags: summed over all rows of tags that do (forward-backward).

        It is not the product of the marginals of units, which depend on each other. Where transitions are not learned it is the product
        of the units' softmax, renormalised over the valid rows of tags.

        Args:
            emissions: As of `decode`.
            mask: As of `decode`.
            spans: Row, first unit, one past the last, first tag, the tag that goes on with it. The run has the first tag and then the
                other to its end, and behind it the row ends or has a tag that is not the other.

        Shape:
            - emissions: ``(B, W, T)``; mask: ``(B, W)``; spans: ``(S, 5)``; result: ``(S,)``.
        """
        if not len(spans):
            return torch.zeros(0, device=emissions.device)
        with torch.autocast(emissions.device.type, enabled=False):
            return self._span_probabilities(emissions, mask, spans)

    def _span_probabilities(self, emissions: Tensor, mask: Tensor, spans: Tensor) -> Tensor:
        # In probabilities, rescaled at every unit: no logarithm in the loop, and what underflows in float64 does not matter.
        wide = torch.float32 if emissions.device.type == "mps" else torch.float64
        log_emitted = emissions.to(wide)
        log_emitted = log_emitted - log_emitted.amax(2, keepdim=True)
        moves, emitted = self._scores().to(wide), log_emitted.exp()
        lengths, places = mask.sum(1), torch.arange(mask.shape[1], device=mask.device)
        rows = torch.arange(len(mask), device=mask.device).unsqueeze(1)
        turned = torch.where(mask, lengths.unsqueeze(1) - 1 - places, places)  # the units of each row from the last to the first
        both, weights = torch.stack([emitted, emitted[rows, turned]]), torch.stack([moves, moves.T]).exp()
        message = torch.stack([self.starts, self.ends]).to(wide).exp().unsqueeze(1).expand(-1, len(mask), -1)
        messages, scales = [message], [torch.ones_like(message[..., :1])]
        for emission in both.unbind(2)[:-1]:  # forwards and backwards at once
            message = torch.bmm(message * emission, weights)
            scales.append(message.sum(2, keepdim=True))
            message = message / scales[-1]
            messages.append(message)
        before, behind = torch.stack(messages, 2)
        behind, log_scales = behind[rows, turned], torch.cat(scales, 2)[1].gather(1, turned).log()
        row, first, last, begin, inside = spans.unbind(1)
        end, more = last - 1, last - first - 1
        follower = last.clamp_max(mask.shape[1] - 1)
        final = torch.where(more > 0, inside, begin)
        onward = weights[0][final] * emitted[row, follower] * behind[row, follower]
        onward = onward.scatter(1, inside.unsqueeze(1), 0).sum(1)
        log_sums = log_emitted.cumsum(1)
        log_run = log_sums[row, end, inside] - log_sums[row, first, inside]
        log_run = log_run + torch.where(more > 0, moves[begin, inside] + (more - 1) * moves[inside, inside], 0.0)
        # `behind` at the first unit was divided by the scales of the run's units too
        scaled = log_scales.cumsum(1)
        log_run = log_run - (scaled[row, end] - scaled[row, first] + log_scales[row, first])
        rest = torch.where(last < lengths[row], onward, self.ends.to(wide).exp()[final])
        run = before[row, first, begin] * emitted[row, first, begin] * log_run.exp() * rest
        whole = (before[row, first] * emitted[row, first] * behind[row, first]).sum(1)
        found: Tensor = (run / whole).clamp(0, 1).float()
        return found

    def _best_path(self, emissions: Tensor, mask: Tensor) -> Tensor:
        scores = self._scores()
        best = self.starts + emissions[:, 0]
        steps = []
        identity = torch.arange(scores.shape[0], device=scores.device).expand_as(best)
        for emission, on in zip(emissions.unbind(1)[1:], mask.unsqueeze(2).unbind(1)[1:], strict=True):
            value, source = (best.unsqueeze(2) + scores).max(1)
            best = torch.where(on, value + emission, best)
            steps.append(torch.where(on, source, identity))
        tag = (best + self.ends).argmax(1, keepdim=True)
        row = [tag]
        for source in reversed(steps):
            tag = source.gather(1, tag)
            row.append(tag)
        return torch.cat(row[::-1], 1).masked_fill(~mask, 0)
