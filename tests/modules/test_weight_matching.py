"""Heads and markers of corpora are found by what they mean: in a subset of the corpora, in another order, beside new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clinical_ie.errors import SettingError
from clinical_ie.modules import EncoderReader, EncoderRelationClassifier, EncoderTagger
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.strategies.checkpoint import Checkpoint

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


def begun(kind: type[TunedModule], tiny_bert: str, source: dict[str, Any], schemas: dict[str, Any], folder: Path) -> tuple[Any, ...]:
    """A model's fresh weights, those that it begins with, the checkpoint's, and what it says of them."""
    saved = checkpoint_of(made(kind, tiny_bert, source)) | {"run": {}}
    torch.save(saved, folder / "saved.ckpt")
    model = made(kind, tiny_bert, schemas, seed=1)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    taken = model.take_weights(Checkpoint(folder / "saved.ckpt"))
    return fresh, model.state_dict(), saved["state_dict"], taken


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_run_takes_what_means_the_same(kind: type[TunedModule], tiny_bert: str, tmp_path: Path) -> None:
    """The ward stays, the study is new, the clinic has one more type and goes without its head, its backbone serves all."""
    clinic = {**CLINIC, "entities": [*CLINIC["entities"], "Finding"]}
    clinic["relations"] = [*CLINIC["relations"], {"name": "Of", "heads": ["Finding"], "tails": ["Problem"]}]
    schemas = {"study": STUDY, "clinic": clinic, "ward": WARD}
    fresh, state, held, taken = begun(kind, tiny_bert, BOTH, schemas, tmp_path)
    for name in state:
        if name.startswith("backbone.model."):
            assert torch.equal(state[name], held[name]), name
    assert all(torch.equal(*pair) for pair in zip(heads_of(state, "ward"), heads_of(held, "ward"), strict=True))
    for new in ("study", "clinic"):
        assert all(torch.equal(*pair) for pair in zip(heads_of(state, new), heads_of(fresh, new), strict=True))
    said = " ".join([*taken.taken, "|", *taken.fresh, "|", *taken.left])
    assert [part.count("head of ward") for part in said.split("|")] == [1, 0, 0]
    assert [part.count("head of study") for part in said.split("|")] == [0, 1, 0]
    assert [part.count("head of clinic") for part in said.split("|")] == [0, 1, 1]
    if kind is EncoderRelationClassifier:
        for corpus, type_ in (("ward", "Dose"), ("clinic", "Test")):
            assert torch.equal(markers_of(state, schemas, corpus, type_), markers_of(held, BOTH, corpus, type_))
        for corpus, type_ in (("study", "Age"), ("clinic", "Finding")):
            assert torch.equal(markers_of(state, schemas, corpus, type_), markers_of(fresh, schemas, corpus, type_))
        assert "4 marker embeddings of clinic" in taken.fresh, "of the type that is new"


def test_a_reader_takes_all(tiny_bert: str, tmp_path: Path) -> None:
    _, state, held, taken = begun(EncoderReader, tiny_bert, BOTH, {"study": STUDY}, tmp_path)
    assert all(torch.equal(state[name], value) for name, value in held.items())
    assert (taken.taken, taken.fresh, taken.left) == (["all that serves any corpus"], [], [])


@pytest.mark.parametrize(
    ("kind", "other", "said"),
    [
        (EncoderTagger, {"freeze": True}, "freeze was False, now it is True"),
        (EncoderTagger, {"decoder": "softmax"}, "decoder was crf, now it is softmax"),
        (EncoderRelationClassifier, {"decision": "binary"}, "decision was multi_class, now it is binary"),
    ],
)
def test_another_way_of_training_is_refused(
    kind: type[TunedModule], other: dict[str, Any], said: str, tiny_bert: str, tmp_path: Path
) -> None:
    """Shapes do not tell."""
    torch.save(checkpoint_of(made(kind, tiny_bert, BOTH)) | {"run": {}}, tmp_path / "saved.ckpt")
    saved, model = Checkpoint(tmp_path / "saved.ckpt"), kind(tiny_bert, BOTH, **other)
    model.configure_model()
    with pytest.raises(SettingError, match=f"{said}; --init_from takes over"):
        model.take_weights(saved)
    with pytest.raises(SettingError, match=said):
        model.on_load_checkpoint(saved.whole())
