"""Heads of all corpora are called for every batch, and those of absent corpora change nothing."""

from __future__ import annotations

import pytest
import torch

from clinical_ie.models.tagging_heads import TaggingHeads, tag_key
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
    assert [len(tags["a"]) for tags in found] == [5, 2]


def test_corpora_whose_names_differ_by_a_dot_have_heads_of_their_own() -> None:
    heads = TaggingHeads(
        4, {name: {"types": ("O", "B-Drug", "I-Drug")} for name in ("notes.v2", "notes_v2", "notes%2Ev2")}, bio.legal, "crf", 0.0
    )
    assert len({id(heads.head(name, "types")) for name in ("notes.v2", "notes_v2", "notes%2Ev2")}) == 3
