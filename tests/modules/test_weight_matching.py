"""Heads and markers of corpora are found by what they mean: in a subset of the corpora, in another order, beside new ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clinical_ie.errors import SettingError
from clinical_ie.modules import EncoderReader, EncoderRelationClassifier, EncoderTagger
from clinical_ie.modules.tuned_module import TunedModule

WARD: dict[str, Any] = {"entities": ["Drug", "Dose"], "relations": [{"name": "Dose-Drug", "heads": ["Dose"], "tails": ["Drug"]}]}
CLINIC: dict[str, Any] = {
    "entities": ["Problem", "Drug", "Test"],
    "relations": [{"name": "Shows", "heads": ["Test"], "tails": ["Problem"]}],
}
STUDY: dict[str, Any] = {"entities": ["Age", "Sex"], "relations": [{"name": "Of", "heads": ["Age"], "tails": ["Sex"]}]}
BOTH = {"ward": WARD, "clinic": CLINIC}

KINDS: list[type[TunedModule]] = [EncoderTagger, EncoderRelationClassifier]


def made(kind: type[TunedModule], tiny_bert: str, schemas: dict[str, Any], seed: int = 0) -> TunedModule:
    torch.manual_seed(seed)
    model = kind(tiny_bert, schemas)
    model.configure_model()
    return model


def checkpoint_of(model: TunedModule) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"state_dict": {name: value.clone() for name, value in model.state_dict().items()}}
    model.on_save_checkpoint(checkpoint)
    return checkpoint


def loaded(model: TunedModule, checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(checkpoint["state_dict"])
    return model.state_dict()


def heads_of(state: dict[str, Tensor], corpus: str) -> list[Tensor]:
    return [value for name, value in state.items() if name.startswith((f"heads.heads.{corpus}/", f"heads.{corpus}."))]


def markers_of(state: dict[str, Tensor], schemas: dict[str, Any], corpus: str, kind: str) -> Tensor:
    """The four rows of a type: corpora and types have theirs in the order of the schemas."""
    types = [(name, type_) for name, schema in schemas.items() for type_ in schema["entities"]]
    place = 4 * types.index((corpus, kind))
    return state["backbone.markers.weight"][place : place + 4]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [["ward"], ["clinic"], ["clinic", "ward"]])
def test_some_of_its_corpora_in_any_order(kind: type[TunedModule], names: list[str], tiny_bert: str) -> None:
    saved = checkpoint_of(made(kind, tiny_bert, BOTH))
    whole = dict(saved["state_dict"])
    schemas = {name: BOTH[name] for name in names}
    state = loaded(made(kind, tiny_bert, schemas, seed=1), saved)
    for name in names:
        assert heads_of(state, name)
        assert all(torch.equal(*pair) for pair in zip(heads_of(state, name), heads_of(whole, name), strict=True))
    assert not [name for name in state if any(other in name for other in set(BOTH) - set(names))]
    if kind is EncoderRelationClassifier:
        for name in names:
            for type_ in BOTH[name]["entities"]:
                assert torch.equal(markers_of(state, schemas, name, type_), markers_of(whole, BOTH, name, type_)), (name, type_)


@pytest.mark.parametrize("kind", KINDS)
def test_a_corpus_that_it_does_not_know_is_refused_by_name(kind: type[TunedModule], tiny_bert: str) -> None:
    saved = checkpoint_of(made(kind, tiny_bert, BOTH))
    with pytest.raises(SettingError, match=r"trained for clinic, ward and has no weights for study; leave it out"):
        loaded(made(kind, tiny_bert, {**BOTH, "study": STUDY}), saved)


@pytest.mark.parametrize("kind", KINDS)
def test_a_corpus_of_other_types_is_refused_by_name(kind: type[TunedModule], tiny_bert: str) -> None:
    saved = checkpoint_of(made(kind, tiny_bert, BOTH))
    other = {"entities": ["Drug", "Dose", "Route"], "relations": [{"name": "Dose-Drug", "heads": ["Dose"], "tails": ["Drug"]}]}
    with pytest.raises(SettingError, match=r"^ward.* was trained (for|without)"):
        loaded(made(kind, tiny_bert, {"ward": other}), saved)


def test_a_reader_fits_any_corpus(tiny_bert: str) -> None:
    saved = checkpoint_of(made(EncoderReader, tiny_bert, BOTH))
    whole = dict(saved["state_dict"])
    state = loaded(made(EncoderReader, tiny_bert, {"study": STUDY}, seed=1), saved)
    assert state.keys() == whole.keys()
    assert all(torch.equal(state[name], value) for name, value in whole.items())
