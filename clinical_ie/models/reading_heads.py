"""Heads of machine reading comprehension (MRC, extractive question answering): start, end and span-match scores of each query.

Shape legend: ``B`` rows, ``Q`` queries, ``W`` words, ``H`` hidden, ``C`` candidate spans.

Reference: Li et al., A unified MRC framework for named entity recognition (ACL 2020), for the three heads. We let the query's
vector choose among the words' vectors by a scaled product, so that many queries can share one context.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_BIAS_OF_RARE = -3.0
"""Initial logit of starts and ends, which few words are."""


class ReadingHeads(nn.Module):
    """Start, end and match scores.

    Args:
        hidden: Width of the encoder.
        embedding: Width of the encoder's input embeddings.
        width: Dimension of the space in which queries and words are compared.
        dropout: On the encoder's vectors.
        max_answer_length: In words.
    """

    def __init__(self, hidden: int, embedding: int, width: int, dropout: float, max_answer_length: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.max_answer_length = max_answer_length
        self.query = nn.Linear(hidden, 3 * width)
        self.query_marker = nn.Linear(hidden, embedding)
        nn.init.zeros_(self.query_marker.weight)  # markers are initialised with the words of their queries
        nn.init.zeros_(self.query_marker.bias)
        self.query_residual = nn.Linear(hidden, hidden)
        self.starts = nn.Linear(hidden, width)
        self.ends = nn.Linear(hidden, width)
        self.first = nn.Linear(hidden, width)
        self.last = nn.Linear(hidden, width, bias=False)
        self.bias = nn.Parameter(torch.tensor([_BIAS_OF_RARE, _BIAS_OF_RARE, 0.0]))
        self.scale = 1 / math.sqrt(width)

    def edges(self, queries: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of every word as a start and as an end, and the query vectors of the match head.

        Shape:
            - queries: ``(B, Q, H)``; words: ``(B, W, H)``; results: twice ``(B, Q, W)``, ``(B, Q, width)``
        """
        start_query, end_query, match_query = self.query(self.dropout(queries)).chunk(3, 2)
        words = self.dropout(words)
        starts = torch.bmm(start_query, nn.functional.gelu(self.starts(words)).transpose(1, 2)) * self.scale + self.bias[0]
        ends = torch.bmm(end_query, nn.functional.gelu(self.ends(words)).transpose(1, 2)) * self.scale + self.bias[1]
        return starts.float(), ends.float(), match_query

    def matches(self, match_query: Tensor, words: Tensor, candidates: Tensor) -> Tensor:
        """Logits of candidate spans.

        Shape:
            - candidates: ``(C, 4)``: row, query, first word, last word (included); result: ``(C,)``
        """
        words = self.dropout(words)
        row, query, first, last = candidates.unbind(1)
        span = nn.functional.gelu(self.first(words)[row, first] + self.last(words)[row, last])
        return ((span * match_query[row, query]).sum(1) * self.scale + self.bias[2]).float()

    def candidates(self, starts: Tensor, ends: Tensor) -> Tensor:
        """Spans of bounded length from a start to an end.

        Shape:
            - starts, ends: ``(B, Q, W)``, true where one is; result: ``(C, 4)``, last word included.
        """
        row, query, first = starts.nonzero(as_tuple=True)
        last = first.unsqueeze(1) + torch.arange(self.max_answer_length, device=first.device)
        inside = last < ends.shape[2]
        there = ends[row.unsqueeze(1), query.unsqueeze(1), last.clamp_max(ends.shape[2] - 1)] & inside
        which, length = there.nonzero(as_tuple=True)
        return torch.stack([row[which], query[which], first[which], first[which] + length], 1)
