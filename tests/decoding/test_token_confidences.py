"""Confidences of generated mentions and links against enumeration of all completions, and whatever way they are generated."""

from __future__ import annotations

import functools
import math
import random
import zlib
from itertools import pairwise
from typing import Any

import pytest
import torch

from clinical_ie.corpora import Demo
from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.decoding.constraint import Constraint
from clinical_ie.decoding.generation import GeneratedSequence, GenerationRequest, _note_confidences, generate
from clinical_ie.decoding.token_spans import spelled_tokens
from clinical_ie.decoding.token_trie import token_trie
from clinical_ie.models.decoder import Decoder
from clinical_ie.prompts.answers import LabelNames, ParsedCompletion
from clinical_ie.prompts.automata import automaton_of
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.responses import FORMATS
from clinical_ie.prompts.spelling import confidence
from clinical_ie.tasks import EntityInstruction, JointInstruction
from clinical_ie.tasks.task import Source
from tests.decoding.test_constraint import END, LETTERS

PAIR = frozenset({(0, 1), (0, 0)})


class Sayings:
    """A model of bytes that draws its scores from what was said, and all completions of a grammar with their probabilities."""

    def __init__(self, grammar: Grammar, seed: int) -> None:
        self.seed, self.automaton = seed, automaton_of(grammar)
        self.all: dict[bytes, float] = {}
        self._go_on(b"", self.automaton.start(), 1.0)

    @functools.cache  # noqa: B019 (one test)
    def scores(self, said: bytes) -> torch.Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(said, self.seed))
        return 3 * torch.randn(257, generator=generator)

    def _go_on(self, said: bytes, state: Any, share: float) -> None:
        allowed = LETTERS.allowed(self.automaton, state) + [END] * self.automaton.may_end(state)
        shares = self.scores(said)[allowed].double().softmax(0).tolist()
        for token, part in zip(allowed, shares, strict=True):
            if token == END:
                self.all[said] = share * part
            else:
                self._go_on(said + bytes([token]), self.automaton.step(state, bytes([token])), share * part)

    def greedy(self, grammar: Grammar) -> tuple[str, GeneratedSequence]:
        constraint = Constraint(grammar, LETTERS, END, lambda text: list(text.encode()))
        sequence = GeneratedSequence()
        while True:
            logits = self.scores(bytes(sequence.ids))
            token = constraint.choose(logits, int(logits.argmax()), sequence.ids)
            choice = constraint.choice(token)
            sequence.logs.append(None)
            if choice is not None:
                _note_confidences(logits.unsqueeze(0), [(sequence, len(sequence.ids), 0, choice)])
            if token == END:
                return bytes(sequence.ids).decode(), sequence
            sequence.ids.append(token)

    def share(self, holds: Any) -> float:
        return math.fsum(share for said, share in self.all.items() if holds(said.decode()))


def said_by(grammar: Grammar, seed: int) -> tuple[Sayings, str, ParsedCompletion, list[float | None], list[float | None]]:
    model = Sayings(grammar, seed)
    assert math.fsum(model.all.values()) == pytest.approx(1)
    text, sequence = model.greedy(grammar)
    tokens = spelled_tokens(text, sequence, LETTERS)
    parsed = FORMATS[grammar.response]().parse(text, LabelNames(grammar.types, tuple(name for name, _ in grammar.labels)))
    mentions = [confidence(one.spelled, tokens) for one in parsed.mentions]
    return model, text, parsed, mentions, [confidence(one.spelled, tokens) for one in parsed.links]


@pytest.mark.parametrize("seed", range(4))
def test_lines_against_all_completions(seed: int) -> None:
    """Of a line: of all completions with the lines before it, the share that has it next."""
    grammar = Grammar("lines", "ab c", ("A", "B"), (("L", PAIR),))
    model, text, parsed, mentions, links = said_by(grammar, seed)
    lines = text.split("\n") if text else []
    for rank, found in enumerate(mentions):
        before = model.share(lambda said, rank=rank: said.split("\n")[:rank] == lines[:rank])
        having = model.share(lambda said, rank=rank: said.split("\n")[: rank + 1] == lines[: rank + 1])
        assert found == pytest.approx(having / before, rel=1e-6)
    if links:
        first = parsed.links[0]
        beginning = "\n".join(lines[: len(mentions)])
        label = f"{beginning}\n>{first.label}\t{first.head + 1} {first.tail + 1}"
        having = model.share(lambda said: said == label or said.startswith((label + "\t", label + "\n")))
        before = model.share(lambda said: said == beginning or said.startswith(beginning + "\n"))
        assert links[0] == pytest.approx(having / before, rel=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_groups_against_all_completions(seed: int) -> None:
    grammar = Grammar("grouped", "ab c", ("A", "B"))
    model, text, _, mentions, _ = said_by(grammar, seed)

    def cells(said: str) -> list[tuple[str, str]]:
        return [(line.split("\t")[0], words) for line in said.split("\n") if said for words in line.split("\t")[1:]]

    for rank, found in enumerate(mentions):
        before = model.share(lambda said, rank=rank: cells(said)[:rank] == cells(text)[:rank])
        having = model.share(lambda said, rank=rank: cells(said)[: rank + 1] == cells(text)[: rank + 1])
        assert found == pytest.approx(having / before, rel=1e-6)


@pytest.mark.parametrize(("response", "opening"), [("inline", "{"), ("markup", "<")])
@pytest.mark.parametrize("seed", range(12))
def test_the_first_marked_mention_against_all_completions(response: Any, opening: str, seed: int) -> None:
    """Where nothing is marked inside it: of all completions that are the same up to its mark, the share that goes on to its end."""
    grammar = Grammar(response, "a b", ("A", "B"))
    model, text, parsed, mentions, _ = said_by(grammar, seed)
    spelled = parsed.mentions[0].spelled if mentions else ()
    if not spelled or any(end != start for (_, end), (start, _) in pairwise(spelled)):
        return
    (first, _), *_, (_, last) = spelled
    assert text[first] == opening
    before = model.share(lambda said: said.startswith(text[:first]))
    assert mentions[0] == pytest.approx(model.share(lambda said: said.startswith(text[:last])) / before, rel=1e-6)


@pytest.mark.parametrize("backtrack_threshold", [0.0, 0.003])
@pytest.mark.parametrize("response", ["lines", "grouped", "inline", "markup"])
def test_it_does_not_matter_how_they_are_generated(response: Any, backtrack_threshold: float, tiny_llama: str) -> None:
    """Speculatively or token by token, alone or in a batch, gone back or not: the same numbers."""
    subwords, backbone = ChatTokenizer(tiny_llama), Decoder(tiny_llama)
    source = Source("demo", Demo.declared, subwords)
    kind = EntityInstruction if response in ("grouped", "inline") else JointInstruction
    examples = kind(response, segment=48, definitions=False).examples(Demo().read("test")[0], source)[:3]
    requests = [GenerationRequest(e.prefix_ids, e.input_ids, 60, e.grammar) for e in examples]
    options: dict[str, Any] = {"backtrack_threshold": backtrack_threshold, "confidences": True}
    plain = [generate(backbone, subwords, [request], **options)[0] for request in requests]
    drafted = generate(backbone, subwords, requests, batch_size=3, num_draft_tokens=4, **options)
    assert drafted == plain == generate(backbone, subwords, requests, backtrack_threshold=backtrack_threshold)
    vocabulary = token_trie(subwords.tokenizer)
    known = 0
    for one, other in zip(plain, drafted, strict=True):
        assert len(one.logs) == len(one.ids) + (not one.truncated)
        text = subwords.decode(one.ids)
        ours, theirs = (spelled_tokens(text, each, vocabulary) for each in (one, other))
        assert [token[:2] for token in ours] == [token[:2] for token in theirs]
        for left, right in zip(ours, theirs, strict=True):
            assert left[2:] == pytest.approx(right[2:], abs=1e-4)
        known += len(ours)
    assert known > 0 or (response, backtrack_threshold) == ("markup", 0.003), "random weights seldom mark anything"
    if backtrack_threshold and response == "grouped":
        assert sum(sequence.backtracks for sequence in plain) > 0


def test_what_was_discarded_counts_as_allowed() -> None:
    """The model wants a dose that is not there, goes back and stops: that it stops keeps the share that it had."""
    grammar = Grammar("grouped", "takes heparin and 5 mg", ("Drug", "Dose"))
    wanted = "Drug\t heparin\nDose\t 7 mg"

    def logits(said: bytes) -> torch.Tensor:
        shares = torch.full((257,), 1e-6)
        if said == b"Drug\t heparin":
            shares[ord("\n")], shares[END] = 0.6, 0.3
        elif wanted.encode().startswith(said):
            shares[wanted.encode()[len(said)]] = 0.99
        return shares.log()

    constraint = Constraint(grammar, LETTERS, END, lambda text: list(text.encode()), 0.2)
    sequence = GeneratedSequence()
    token = -1
    while token != END:
        scores = logits(bytes(sequence.ids))
        token = constraint.choose(scores, int(scores.argmax()), sequence.ids)
        del sequence.logs[len(sequence.ids) :]
        sequence.logs.append(None)
        _note_confidences(scores.unsqueeze(0), [(sequence, len(sequence.ids), 0, constraint.choice(token))])  # type: ignore[list-item]
        if token != END:
            sequence.ids.append(token)
    assert constraint.backtracks == 1
    assert bytes(sequence.ids) == b"Drug\t heparin"
    last = sequence.logs[-1]
    assert last is not None
    assert math.exp(last[0]) == pytest.approx(0.3 / 0.9, rel=1e-3)
    assert math.exp(last[1]) == pytest.approx(1, rel=1e-3), "what ends the mention, by newline or end"


def test_characters_of_several_tokens() -> None:
    dice = random.Random(0)
    text = "é🙂 a"
    sequence = GeneratedSequence(list(text.encode()), logs=[(-dice.random(), 0.0) for _ in text.encode()] + [(-0.5, -0.25)])
    tokens = spelled_tokens(text, sequence, LETTERS)
    assert [token[:2] for token in tokens] == [(0, 1), (0, 1), (1, 2), (1, 2), (1, 2), (1, 2), (2, 3), (3, 4), (4, 4)]
    assert confidence([(3, 4)], tokens) == pytest.approx(math.exp(tokens[7].log - 0.25)), "with what ends it"
    assert spelled_tokens("other", sequence, LETTERS) == ()
    assert confidence([], tokens) is confidence([(0, 1)], ()) is None
