"""Heads of all corpora are called for every batch, and those of absent corpora change nothing."""

from __future__ import annotations

import itertools

import pytest
import torch

from clinical_ie.models.crf_decoding import best_paths, span_probabilities
from clinical_ie.models.tagging_heads import TagDecoder, TaggingHead, TaggingHeads, tag_key
from clinical_ie.tasks import bio

LABELS = {"one": {"a": bio.labels(("X",))}, "two": {"a": bio.labels(("X", "Y")), "b": bio.labels(("Z",))}}


@pytest.mark.parametrize("corpora", [("one", "one"), ("two", "two"), ("two", "one")])
def test_every_head_is_called_whatever_the_batch_holds(corpora: tuple[str, ...]) -> None:
    """As often and in the same order on every rank, or ranks with sharded weights would wait for each other."""
    torch.manual_seed(0)
    heads = TaggingHeads(4, LABELS, bio.legal, "crf", 0.0)
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter)
    called: list[str] = []
    for name, part in heads.heads.named_modules():
        part.register_forward_hook(lambda *_, name=name: called.append(name))
    units, mask = torch.randn(2, 5, 4), torch.tensor([[True] * 5, [True, True, False, False, False]])
    tags = {tag_key(corpus, layer): torch.zeros(2, 5, dtype=torch.long) for corpus in set(corpora) for layer in LABELS[corpus]}
    loss = heads.loss(units, mask, corpora, tags)
    assert called == [f"{corpus}/{layer}.{part}" for corpus in LABELS for layer in LABELS[corpus] for part in ("linear", "crf")]
    wanted = torch.zeros(())
    for row, corpus in enumerate(corpora):
        for layer in LABELS[corpus]:
            head = heads.head(corpus, layer)
            one = slice(row, row + 1)
            wanted = wanted + head.crf(head.linear(units[one]), tags[tag_key(corpus, layer)][one], mask[one]) / len(LABELS[corpus])
    torch.testing.assert_close(loss, wanted)
    loss.backward()  # type: ignore[no-untyped-call]
    for corpus in LABELS:
        absent = corpus not in corpora
        for layer in LABELS[corpus]:
            for parameter in heads.head(corpus, layer).parameters():
                assert parameter.grad is not None, "distributed training waits for it"
                assert not absent or not parameter.grad.any()
    called.clear()
    found = heads.decode(units, mask, corpora)
    assert len(called) == 3, "each head's scores, as the best path is no module's forward pass"
    assert [set(tags) for tags in found] == [set(LABELS[corpus]) for corpus in corpora]
    assert [len(tags["a"][0]) for tags in found] == [5, 2]


@pytest.mark.parametrize("corpora", [("one", "one"), ("none", "one"), ("none", "none")])
def test_a_corpus_without_types_has_no_tags(corpora: tuple[str, ...]) -> None:
    """``entity_types: []`` of one corpus among others ended the first validation in "max() arg is an empty sequence"."""
    heads = TaggingHeads(4, {**LABELS, "none": {}}, bio.legal, "crf", 0.0).eval()
    found = heads.decode(torch.randn(2, 5, 4), torch.ones(2, 5, dtype=torch.bool), corpora)
    assert [set(tags) for tags in found] == [set() if corpus == "none" else {"a"} for corpus in corpora]


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("seed", range(6))
def test_the_confidence_of_a_mention_is_the_share_of_all_rows_of_tags_that_mean_it(decoder: TagDecoder, seed: int) -> None:
    """Against enumeration: of all valid rows of tags, those in which `bio.decode` finds the mention."""
    torch.manual_seed(seed)
    head = TaggingHead(4, LABELS["two"]["a"], bio.legal, decoder)
    torch.nn.init.normal_(head.linear.weight)
    for parameter in (head.crf.transitions, head.crf.starts, head.crf.ends):
        if decoder == "crf":
            torch.nn.init.normal_(parameter)
    emissions = 2 * head.linear(torch.randn(2, 4, 4)).detach()
    mask = torch.tensor([[True] * 4, [True] * 3 + [False]])
    emissions[0, 0, 0] = -9  # a mention at the beginning, where it may have begun before
    (paths,) = best_paths([head.crf], [emissions], mask)
    best = [tags[:length] for tags, length in zip(paths.tolist(), (4, 3), strict=True)]
    mentions = [head.mentions(tags) for tags in best]
    (sure,) = span_probabilities([head.crf], [emissions], mask, [head.runs(mentions)])
    rows, found = zip(*head.answers(best, mentions, sure), strict=True)
    assert list(rows) == [[head.labels[tag] for tag in tags] for tags in best]
    assert [len(one) for one in found] == [len(bio.decode(row)) for row in rows]
    assert rows[0][0] != "O"
    for number, row in enumerate(rows):
        weights: dict[tuple[int, ...], float] = {}
        for path in itertools.product(range(len(head.labels)), repeat=len(row)):
            if all(bio.legal(head.labels[one], head.labels[other]) for one, other in itertools.pairwise(path)):
                score = head.crf.starts[path[0]] + head.crf.ends[path[-1]] + sum(emissions[number, k, tag] for k, tag in enumerate(path))
                score = score + sum((head.crf.transitions[one, other] for one, other in itertools.pairwise(path)), torch.zeros(()))
                weights[path] = float(score.detach().double().exp())
        for mention, confidence in zip(bio.decode(row), found[number], strict=True):
            having = sum(value for path, value in weights.items() if mention in bio.decode([head.labels[tag] for tag in path]))
            assert confidence == pytest.approx(having / sum(weights.values()), rel=1e-4)


def test_gradients_come_in_the_same_order_whatever_the_batch_holds() -> None:
    """DeepSpeed (stages 1 and 2) sums over ranks what comes at the same place, whatever parameter it is of: seen as wrong losses."""
    heads = TaggingHeads(4, LABELS, bio.legal, "crf", 0.0)
    come: list[str] = []
    for name, parameter in heads.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: come.append(name))
    orders = []
    for corpora, width in ((("one", "two"), 5), (("one", "one"), 3), (("two", "two"), 1)):
        tags = {tag_key(corpus, layer): torch.zeros(2, width, dtype=torch.long) for corpus in LABELS for layer in LABELS[corpus]}
        heads.loss(torch.randn(2, width, 4), torch.ones(2, width, dtype=torch.bool), corpora, tags).backward()  # type: ignore[no-untyped-call]
        orders.append(tuple(come))
        come.clear()
    assert len(orders[0]) == len(list(heads.parameters()))
    assert len(set(orders)) == 1


def test_corpora_whose_names_differ_by_a_dot_have_heads_of_their_own() -> None:
    heads = TaggingHeads(
        4, {name: {"types": ("O", "B-Drug", "I-Drug")} for name in ("notes.v2", "notes_v2", "notes%2Ev2")}, bio.legal, "crf", 0.0
    )
    assert len({id(heads.head(name, "types")) for name in ("notes.v2", "notes_v2", "notes%2Ev2")}) == 3
