"""The relation classifier learns, keeps corpora apart, and gives pairs the same scores in any company."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from clinical_ie.corpora import BratFolder, Demo
from clinical_ie.data.collation import PairCollator
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.formats import brat
from clinical_ie.modules import EncoderRelationClassifier
from clinical_ie.scoring.rules import StrictOneToOne
from clinical_ie.scoring.score import score
from clinical_ie.tasks import RelationClassification

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode"),
]

SCHEMA = {
    "entities": ["Dose", "Drug"],
    "relations": [
        {"name": "Starts", "heads": ["Dose"], "tails": ["Drug"]},
        {"name": "Stops", "heads": ["Dose"], "tails": ["Drug"]},
        {"name": "Same", "heads": ["Drug"], "tails": ["Drug"]},
    ],
}


@pytest.fixture(scope="module")
def doses(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dose belongs to the drug behind it, by the verb before it; drugs of the same name belong together."""
    folder = tmp_path_factory.mktemp("doses")
    sizes, drugs = ["twice", "daily", "weekly"], ["aspirin", "heparin", "morphine"]
    documents = []
    for rank in range(60):
        text = ""
        entities: list[Entity] = []
        relations: list[tuple[str, str, str]] = []
        for place in range(3):
            verb = ("Started", "Stopped")[(rank >> place) % 2]
            dose, drug = sizes[(rank + place) % 3], drugs[(rank * (place + 1)) % 3]
            start = len(text) + len(verb) + 1
            middle, end = start + len(dose), start + len(dose) + 1 + len(drug)
            entities += [Entity(f"T{2 * place + 1}", "Dose", Span.of(start, middle))]
            entities += [Entity(f"T{2 * place + 2}", "Drug", Span.of(middle + 1, end))]
            relations.append(("Starts" if verb == "Started" else "Stops", f"T{2 * place + 1}", f"T{2 * place + 2}"))
            text += f"{verb} {dose} {drug} for pain{'. ' if place == 2 else ', '}"
        found = tuple(Relation(f"R{k}", *link) for k, link in enumerate(relations, 1))
        documents.append(Document(f"note{rank:02d}", text, tuple(entities), found))
    brat.write(documents, folder)
    return str(folder)


def data_of(tiny_bert: str, task: RelationClassification, *corpora: object, budget: int = 160) -> ExtractionDataModule:
    return ExtractionDataModule(list(corpora), task, tiny_bert, batch_budget=budget, seed=1)  # type: ignore[arg-type]


def trained(data: ExtractionDataModule, tiny_bert: str, folder: Path, epochs: int, **options: Any) -> EncoderRelationClassifier:
    pl.seed_everything(0, verbose=False)
    model = EncoderRelationClassifier(
        tiny_bert, data.schemas, learning_rate=2e-3, head_learning_rate=1e-2, backbone_dropout=0.0, dropout=0.0, **options
    )
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, use_distributed_sampler=False, limit_val_batches=0, gradient_clip_val=1.0,
    )  # fmt: skip
    trainer.fit(model, data)
    return model.eval()


def f1(model: EncoderRelationClassifier, data: ExtractionDataModule, name: str = "brat_folder") -> float:
    data.setup("test")
    outputs: dict[str, Any] = {}
    with torch.no_grad():
        for batch in data.test_dataloader():
            outputs |= model.predict_step(batch, 0)
    gold, schema = data.documents["test"][name], data.schema_of(name)
    predicted = [
        data.task.annotations(
            Document(document.id, document.text, document.entities),
            [e for e in data.examples["test"] if (e.corpus, e.document_id) == (name, document.id)],
            outputs,
            schema,
        )
        for document in gold
    ]
    assert [document.entities for document in predicted] == [document.entities for document in gold]
    return score(gold, predicted, StrictOneToOne()).micro("relations", "strict").f1


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
    model = trained(data, tiny_bert, tmp_path, epochs, decision=decision, **options)
    assert f1(model, data) >= 0.9


def test_must_learn_whether_related_at_all(tiny_bert: str, doses: str, tmp_path: Path) -> None:
    schema = {"entities": ["Dose", "Drug"], "relations": [{"name": "Of", "heads": ["Dose"], "tails": ["Drug"]}]}
    notes = [brat.read(doses)[k] for k in range(60)]
    renamed = [Document(d.id, d.text, d.entities, tuple(Relation(r.id, "Of", r.head, r.tail) for r in d.relations)) for d in notes]
    brat.write(renamed, tmp_path / "notes")
    data = data_of(tiny_bert, RelationClassification("shared", "binary", window=64, overlap=8), BratFolder(str(tmp_path / "notes"), schema))
    model = trained(data, tiny_bert, tmp_path, 25, decision="binary", width=64)
    assert f1(model, data) >= 0.9


def test_two_corpora_in_one_batch_have_their_own_heads(tiny_bert: str, doses: str, tmp_path: Path) -> None:
    other = {"entities": ["Drug", "Dose"], "relations": [{"name": "Stops", "heads": ["Dose"], "tails": ["Drug"]}]}
    only = [Document(d.id, d.text, d.entities, tuple(r for r in d.relations if r.type == "Stops")) for d in brat.read(doses)]
    brat.write(only, tmp_path / "notes")
    corpora = BratFolder(doses, SCHEMA), BratFolder(str(tmp_path / "notes"), other, corpus_name="other.one")
    data = data_of(tiny_bert, RelationClassification("shared", window=64, overlap=8), *corpora)
    model = trained(data, tiny_bert, tmp_path, 15, width=64)
    assert any(len(batch["pairs_of"]) == 2 for batch in data.train_dataloader()), "batches mix corpora"
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
    examples = data.examples["test"][:5] + data.examples["test"][-3:]
    with torch.no_grad():
        ((_, _, together, _),) = model.scores(collate(examples))
        alone = torch.cat([scores for example in examples for _, _, scores, _ in model.scores(collate([example]))])
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
        for example in data.examples["test"]:
            for place, labels in outputs.get(example.id, {}).items():
                types = tuple(example.types[index] for index in example.pairs[place])  # type: ignore[attr-defined]
                seen.add((types, tuple(rank for rank, _ in labels)))
    assert seen == {((0, 1), (0, 1)), ((1, 1), (2,))}


def test_bad_settings_are_refused(tiny_bert: str) -> None:
    with pytest.raises(SettingError, match="declares no relations"):
        EncoderRelationClassifier(tiny_bert, {"c": {"entities": ["A"]}})
    with pytest.raises(SettingError, match=r"class_weights names \['Nonsense'\]"):
        EncoderRelationClassifier(tiny_bert, {"c": SCHEMA}, class_weights={"Nonsense": 2.0, "none": 1.0})
