"""What CRFs say: best rows of tags (Viterbi), and how likely spans are (forward-backward); several CRFs over the same units in one pass.

On a CPU a step of the recursion costs little beside starting it, so all layers of a corpus take each step together. CRFs with fewer tags
than others are padded with tags that nothing leads to.

Reference: Rabiner, A tutorial on hidden Markov models (1989), for the rescaled forward-backward algorithm.

Shape legend: ``C`` CRFs, ``B`` rows, ``W`` units (what gets a tag), ``T`` tags, the most of any of the CRFs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from clinical_ie.models.crf import LinearChainCRF


@torch.no_grad()
def best_paths(crfs: Sequence[LinearChainCRF], emissions: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
    """The best valid tag sequence of every row for each CRF; 0 where the mask is off.

    Shape:
        - emissions: ``(B, W, its tags)`` each, any floating type; mask: ``(B, W)``, on for a row's first units and off behind.
        - result: ``(B, W)`` each
    """
    if not crfs:  # a corpus that declares no mentions has no layers
        return []
    with torch.autocast(mask.device.type, enabled=False):
        emitted, moves, starts, ends = _stacked(crfs, emissions, torch.float32)
        best = starts + emitted[:, :, 0]
        steps = []
        identity = torch.arange(moves.shape[1], device=mask.device).expand_as(best)
        # columns as tuples of views, outside the loop: slicing costs more than the arithmetic here
        for emission, on in zip(emitted.unbind(2)[1:], mask.unsqueeze(2).unbind(1)[1:], strict=True):
            value, source = (best.unsqueeze(3) + moves.unsqueeze(1)).max(2)
            best = torch.where(on, value + emission, best)
            steps.append(torch.where(on, source, identity))
        tag = (best + ends).argmax(2, keepdim=True)
        row = [tag]
        for source in reversed(steps):
            tag = source.gather(2, tag)
            row.append(tag)
        return list(torch.cat(row[::-1], 2).masked_fill(~mask, 0).unbind(0))


@torch.no_grad()
def span_probabilities(
    crfs: Sequence[LinearChainCRF], emissions: Sequence[Tensor], mask: Tensor, spans: Sequence[Sequence[tuple[int, int, int, int, int]]]
) -> list[list[float]]:
    """The probabilities that rows have exactly these runs of tags: summed over all rows of tags that do (forward-backward).

    It is not the product of the marginals of units, which depend on each other. Where transitions are not learned it is the product
    of the units' softmax, renormalised over the valid rows of tags.

    Args:
        crfs: As of `best_paths`.
        emissions: As of `best_paths`.
        mask: As of `best_paths`.
        spans: For each CRF: row, first unit, one past the last, first tag, the tag that goes on with it. The run has the first tag and
            then the other to its end, and behind it the row ends or has a tag that is not the other.
    """
    asked = torch.tensor([(crf, *span) for crf, own in enumerate(spans) for span in own], dtype=torch.long, device=mask.device)
    if not len(asked):
        return [[] for _ in spans]
    with torch.autocast(mask.device.type, enabled=False):
        each = iter(_probabilities(crfs, emissions, mask, asked).tolist())
    return [[next(each) for _ in own] for own in spans]


def _probabilities(crfs: Sequence[LinearChainCRF], emissions: Sequence[Tensor], mask: Tensor, asked: Tensor) -> Tensor:
    # In probabilities, rescaled at every unit: no logarithm in the loop, and what underflows in float64 does not matter.
    wide = torch.float32 if mask.device.type == "mps" else torch.float64
    log_emitted, moves, starts, ends = _stacked(crfs, emissions, wide)
    log_emitted = log_emitted - log_emitted.amax(3, keepdim=True)
    emitted, ends = log_emitted.exp(), ends.exp()
    lengths, places = mask.sum(1), torch.arange(mask.shape[1], device=mask.device)
    rows = torch.arange(len(mask), device=mask.device).unsqueeze(1)
    turned = torch.where(mask, lengths.unsqueeze(1) - 1 - places, places)  # the units of each row from the last to the first
    both, weights = torch.stack([emitted, emitted[:, rows, turned]]), torch.stack([moves, moves.transpose(1, 2)]).exp()
    message = torch.stack([starts.exp(), ends]).expand(-1, -1, len(mask), -1)
    messages, scales = [message], [torch.ones_like(message[..., :1])]
    for emission in both.unbind(3)[:-1]:  # forwards and backwards at once
        message = (message * emission) @ weights
        scales.append(message.sum(3, keepdim=True))
        message = message / scales[-1]
        messages.append(message)
    before, behind = torch.stack(messages, 3)
    behind, log_scales = behind[:, rows, turned], torch.cat(scales, 3)[1].gather(2, turned.expand(len(crfs), -1, -1)).log()
    crf, row, first, last, begin, inside = asked.unbind(1)
    end, more = last - 1, last - first - 1
    follower = last.clamp_max(mask.shape[1] - 1)
    final = torch.where(more > 0, inside, begin)
    onward = weights[0, crf, final] * emitted[crf, row, follower] * behind[crf, row, follower]
    onward = onward.scatter(1, inside.unsqueeze(1), 0).sum(1)
    log_sums = log_emitted.cumsum(2)
    log_run = log_sums[crf, row, end, inside] - log_sums[crf, row, first, inside]
    log_run = log_run + torch.where(more > 0, moves[crf, begin, inside] + (more - 1) * moves[crf, inside, inside], 0.0)
    # `behind` at the first unit was divided by the scales of the run's units too
    scaled = log_scales.cumsum(2)
    log_run = log_run - (scaled[crf, row, end] - scaled[crf, row, first] + log_scales[crf, row, first])
    rest = torch.where(last < lengths[row], onward, ends[crf, 0, final])
    run = before[crf, row, first, begin] * emitted[crf, row, first, begin] * log_run.exp() * rest
    whole = (before[crf, row, first] * emitted[crf, row, first] * behind[crf, row, first]).sum(1)
    found: Tensor = (run / whole).clamp(0, 1).float()
    return found


def _stacked(crfs: Sequence[LinearChainCRF], emissions: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Emissions, transitions, starts and ends.

    Shape:
        - result: ``(C, B, W, T)``, ``(C, T, T)``, ``(C, 1, T)``, ``(C, 1, T)``
    """
    most = max(each.shape[2] for each in emissions)

    def stacked(values: Sequence[Tensor], dims: int = 1) -> Tensor:
        return torch.stack([pad(each.to(dtype), (0, most - each.shape[-1]) * dims, value=-math.inf) for each in values])

    starts, ends = (stacked(each).unsqueeze(1) for each in ([crf.starts for crf in crfs], [crf.ends for crf in crfs]))
    return stacked(emissions), stacked([crf.scores() for crf in crfs], 2), starts, ends
