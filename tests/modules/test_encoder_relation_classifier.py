"""The relation classifier learns, keeps corpora apart, and gives pairs the same scores in any batch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clinical_ie.corpora import BratFolder, Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.marker_collation import PairCollator
from clinical_ie.document import Document, Relation
from clinical_ie.errors import SettingError
from clinical_ie.formats import brat
from clinical_ie.modules import EncoderRelationClassifier
from clinical_ie.tasks import RelationClassification

sys.path.insert(0, str(Path(__file__).parent))
from tiny_training import DOSES, DRUGS, WARNINGS_OF_TRAINING, Marks, Phrase, data_of, micro_f1, predictions, trained, write_notes

pytestmark = WARNINGS_OF_TRAINING

SCHEMA = {
    "entities": ["Dose", "Drug"],
    "relations": [
        {"name": "Starts", "heads": ["Dose"], "tails": ["Drug"]},
        {"name": "Stops", "heads": ["Dose"], "tails": ["Drug"]},
        {"name": "Same", "heads": ["Drug"], "tails": ["Drug"]},
    ],
}
OPTIONS: dict[str, Any] = {"clip": 1.0, "learning_rate": 2e-3, "head_learning_rate": 1e-2, "backbone_dropout": 0.0, "dropout": 0.0}


@pytest.fixture(scope="module")
def doses(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dose belongs to the drug behind it, by the verb before it; drugs of the same name belong together."""

    def words(rank: int, place: int) -> tuple[str, str, str]:
        return ("Started", "Stopped")[(rank >> place) % 2], DOSES[(rank + place) % 3], DRUGS[(rank * (place + 1)) % 3]

    def marks(said: list[Phrase]) -> Marks:
        found = [mention for phrase in said for mention in (("Dose", phrase.dose_at), ("Drug", phrase.drug_at))]
        verbs = {"Started": "Starts", "Stopped": "Stops"}
        return found, [(verbs[phrase.verb], 2 * place + 1, 2 * place + 2) for place, phrase in enumerate(said)]

    return write_notes(tmp_path_factory.mktemp("doses"), 60, 3, words, marks, between=", ")


def f1(model: EncoderRelationClassifier, data: ExtractionDataModule, name: str = "brat_folder") -> float:
    gold, predicted = predictions(model, data, name)
    assert [document.entities for document in predicted] == [document.entities for document in gold]
    assert all(0 < relation.confidence <= 1 for document in predicted for relation in document.relations)
    return micro_f1(gold, predicted, "relations")


@pytest.mark.parametrize(
    ("encoding", "decision", "options", "epochs"),
    [
        ("shared", "multi_class", {"width": 64}, 30),
        ("shared", "multi_label", {"width": 64}, 30),
        ("pair", "multi_class", {"width": 0}, 8),
        ("pair", "multi_class", {"width": 0, "focal_gamma": 2.0, "class_weights": {"Starts": 1.5, "none": 0.5}}, 8),
    ],
)
def test_must_learn(encoding: Any, decision: Any, options: dict[str, Any], epochs: int, tiny_bert: str, doses: str, tmp_path: Path) -> None:
    task = RelationClassification(encoding, decision, window=64, overlap=8)
    data = data_of(tiny_bert, task, BratFolder(doses, SCHEMA), budget=160 if encoding == "shared" else 512)
    model = trained(EncoderRelationClassifier, data, tiny_bert, tmp_path, epochs, **OPTIONS, decision=decision, **options)
    assert f1(model, data) >= 0.9


def test_must_learn_whether_related_at_all(tiny_bert: str, doses: str, tmp_path: Path) -> None:
    schema = {"entities": ["Dose", "Drug"], "relations": [{"name": "Of", "heads": ["Dose"], "tails": ["Drug"]}]}
    notes = [brat.read(doses)[k] for k in range(60)]
    renamed = [Document(d.id, d.text, d.entities, tuple(Relation(r.id, "Of", r.head, r.tail) for r in d.relations)) for d in notes]
    brat.write(renamed, tmp_path / "notes")
    data = data_of(tiny_bert, RelationClassification("shared", "binary", window=64, overlap=8), BratFolder(str(tmp_path / "notes"), schema))
    model = trained(EncoderRelationClassifier, data, tiny_bert, tmp_path, 25, **OPTIONS, decision="binary", width=64)
    assert f1(model, data) >= 0.9


def test_two_corpora_in_one_batch_have_their_own_heads(tiny_bert: str, doses: str, tmp_path: Path) -> None:
    other = {"entities": ["Drug", "Dose"], "relations": [{"name": "Stops", "heads": ["Dose"], "tails": ["Drug"]}]}
    only = [Document(d.id, d.text, d.entities, tuple(r for r in d.relations if r.type == "Stops")) for d in brat.read(doses)]
    brat.write(only, tmp_path / "notes")
    corpora = BratFolder(doses, SCHEMA), BratFolder(str(tmp_path / "notes"), other, corpus_name="other.one")
    data = data_of(tiny_bert, RelationClassification("shared", window=64, overlap=8), *corpora)
    model = trained(EncoderRelationClassifier, data, tiny_bert, tmp_path, 15, **OPTIONS, width=64)
    assert any(len(batch["pairs_by_corpus"]) == 2 for batch in data.train_dataloader()), "batches mix corpora"
    assert f1(model, data) >= 0.9
    assert f1(model, data, "other.one") >= 0.9


@pytest.mark.parametrize("encoding", ["shared", "pair"])
def test_scores_do_not_depend_on_the_batch(encoding: Any, tiny_bert: str) -> None:
    data = data_of(tiny_bert, RelationClassification(encoding, window=96), Demo())
    data.setup("test")
    torch.manual_seed(0)
    model = EncoderRelationClassifier(tiny_bert, data.schemas)
    model.configure_model()
    model.eval()
    for parameter in model.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    collate = PairCollator(data.encoder.pad_id, {"demo": data.schema_of("demo")})
    all_examples = data.make_examples("test")
    examples = all_examples[:5] + all_examples[-3:]
    with torch.no_grad():
        ((_, _, together, _),) = model.forward_batch(collate(examples))
        alone = torch.cat([scores for example in examples for _, _, scores, _ in model.forward_batch(collate([example]))])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_only_legal_labels_come_out(tiny_bert: str, doses: str) -> None:
    data = data_of(tiny_bert, RelationClassification("shared", "multi_label", window=64, overlap=8), BratFolder(doses, SCHEMA))
    data.setup("test")
    torch.manual_seed(0)
    model = EncoderRelationClassifier(tiny_bert, data.schemas, decision="multi_label")
    model.configure_model()
    head: Any = model.heads.get_submodule("brat_folder")
    torch.nn.init.constant_(head.output.bias, 5.0)
    model.eval()
    seen = set()
    for batch in data.test_dataloader():
        with torch.no_grad():
            outputs = model.predict_step(batch, 0)
        for example in data.make_examples("test"):
            for place, labels in outputs.get(example.id, {}).items():
                types = tuple(example.types[index] for index in example.pairs[place])  # type: ignore[attr-defined]
                seen.add((types, tuple(rank for rank, *_ in labels)))
    assert seen == {((0, 1), (0, 1)), ((1, 1), (2,))}


def test_bad_settings_are_refused(tiny_bert: str) -> None:
    with pytest.raises(SettingError, match="declares no relations"):
        EncoderRelationClassifier(tiny_bert, {"c": {"entities": ["A"]}})
    with pytest.raises(SettingError, match=r"class_weights names \['Nonsense'\]"):
        EncoderRelationClassifier(tiny_bert, {"c": SCHEMA}, class_weights={"Nonsense": 2.0, "none": 1.0})
