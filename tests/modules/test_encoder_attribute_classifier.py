"""The attribute classifier learns, keeps corpora apart, and gives mentions the same scores in any batch."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clinical_ie.corpora import BratFolder, Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.marker_collation import AttributeCollator
from clinical_ie.document import Attribute, Document, Entity, Span
from clinical_ie.errors import SettingError
from clinical_ie.formats import brat
from clinical_ie.models.attribute_heads import attribute_classes, attribute_loss
from clinical_ie.modules import EncoderAttributeClassifier
from clinical_ie.tasks import AttributeClassification

sys.path.insert(0, str(Path(__file__).parent))
from tiny_training import DRUGS, WARNINGS_OF_TRAINING, data_of, micro_f1, predictions, trained

pytestmark = WARNINGS_OF_TRAINING

SCHEMA = {
    "entities": ["Drug", "Reason"],
    "attributes": [{"name": "Use", "values": ["stopped", "given"], "targets": ["Drug"]}, {"name": "Negated"}],
}
VERBS = {"started": (None, False), "stopped": ("stopped", False), "given": ("given", False), "no": (None, True)}
OPTIONS: dict[str, Any] = {"clip": 1.0, "learning_rate": 2e-3, "head_learning_rate": 2e-3, "backbone_dropout": 0.0, "dropout": 0.0}


@pytest.fixture(scope="module")
def uses(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The verb before a drug says whether it is stopped, given, started (no attribute) or not there (a flag)."""
    documents, draw = [], random.Random(0)
    for rank in range(120):
        text, entities, attributes = "", list[Entity](), list[Attribute]()
        for place in range(3):
            verb, drug = draw.choice(list(VERBS)), draw.choice(DRUGS)
            start = len(text) + len(verb) + 1
            text += f"{verb} {drug} for pain, "
            use, negated = VERBS[verb]
            name = f"T{2 * place + 1}"
            entities.append(Entity(name, "Drug", Span.of(start, start + len(drug))))
            entities.append(Entity(f"T{2 * place + 2}", "Reason", Span.of(start + len(drug) + 5, start + len(drug) + 9)))
            attributes += [Attribute(f"A{len(attributes) + 1}", "Use", name, use)] if use else []
            attributes += [Attribute(f"A{len(attributes) + 1}", "Negated", name)] if negated else []
        documents.append(Document(f"note{rank:03d}", text, tuple(entities), attributes=tuple(attributes)))
    folder = tmp_path_factory.mktemp("uses")
    brat.write(documents, folder)
    return str(folder)


def f1(model: EncoderAttributeClassifier, data: ExtractionDataModule, name: str = "brat_folder") -> float:
    gold, predicted = predictions(model, data, name)
    assert [document.entities for document in predicted] == [document.entities for document in gold]
    assert all(0 < one.confidence <= 1 for document in predicted for one in document.attributes if one.confidence is not None)
    return micro_f1(gold, predicted, "attributes")


@pytest.mark.parametrize(
    ("options", "epochs"),
    [({"width": 64}, 20), ({"width": 0, "focal_gamma": 2.0, "class_weights": {"Negated": 1.5, "Use=stopped": 2.0, "none": 0.5}}, 20)],
)
def test_must_learn(options: dict[str, Any], epochs: int, tiny_bert: str, uses: str, tmp_path: Path) -> None:
    data = data_of(tiny_bert, AttributeClassification(window=64, overlap=8), BratFolder(uses, SCHEMA))
    model = trained(EncoderAttributeClassifier, data, tiny_bert, tmp_path, epochs, **OPTIONS, **options)
    assert f1(model, data) >= 0.95


@pytest.mark.slow
def test_two_corpora_in_one_batch_have_their_own_heads(tiny_bert: str, uses: str, tmp_path: Path) -> None:
    other = {"entities": ["Reason", "Drug"], "attributes": [{"name": "Use", "values": ["given"], "targets": ["Drug"]}]}
    only = [Document(d.id, d.text, d.entities, attributes=tuple(a for a in d.attributes if a.value == "given")) for d in brat.read(uses)]
    brat.write(only, tmp_path / "notes")
    corpora = BratFolder(uses, SCHEMA), BratFolder(str(tmp_path / "notes"), other, corpus_name="other.one")
    data = data_of(tiny_bert, AttributeClassification(window=64, overlap=8), *corpora)
    model = trained(EncoderAttributeClassifier, data, tiny_bert, tmp_path, 22, **OPTIONS, width=64)
    assert any(len(batch["asked"]) == 2 for batch in data.train_dataloader()), "batches mix corpora"
    assert f1(model, data) >= 0.9
    assert f1(model, data, "other.one") >= 0.9


def test_scores_do_not_depend_on_the_batch(tiny_bert: str) -> None:
    data = data_of(tiny_bert, AttributeClassification(window=96), Demo())
    data.setup("test")
    torch.manual_seed(0)
    model = EncoderAttributeClassifier(tiny_bert, data.schemas)
    model.configure_model()
    model.eval()
    for parameter in model.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    collate = AttributeCollator(data.encoder.pad_id, {"demo": data.schema_of("demo")})
    examples: Any = data.make_examples("test")[:6]
    with torch.no_grad():
        ((_, together, _),) = model.forward_batch(collate(examples))
        alone = torch.cat([scores for example in examples for _, scores, _ in model.forward_batch(collate([example]))])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_the_loss_is_cross_entropy_of_what_is_asked() -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 5)
    classes = torch.tensor([[2, 0], [0, -1], [1, 1]])  # an attribute of two values and a flag
    loss = attribute_loss(scores, classes, (3, 2))
    for mention, (first, second) in enumerate(classes.tolist()):
        assert loss[mention, 0].item() == pytest.approx(-scores[mention, :3].log_softmax(0)[first].item())
        assert loss[mention, 1].item() == pytest.approx(-scores[mention, 3:].log_softmax(0)[second].item() if second >= 0 else 0.0)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    weighted = attribute_loss(scores, classes, (3, 2), weights=weights)
    torch.testing.assert_close(weighted, loss * torch.tensor([[3.0, 4.0], [1.0, 0.0], [2.0, 5.0]]))


def test_only_what_the_type_allows_comes_out() -> None:
    scores = torch.tensor([[0.0, 9.0, 1.0, 0.0, 4.0], [0.0, 9.0, 1.0, 0.0, 4.0], [9.0, 0.0, 0.0, 4.0, 0.0]])
    asked = torch.tensor([[True, True], [False, True], [True, True]])
    said = attribute_classes(scores, asked, (3, 2))
    assert [[(place, chosen) for place, chosen, _ in one] for one in said] == [[(0, 1), (1, 1)], [(1, 1)], []]
    assert said[0][1][2] == pytest.approx(torch.tensor(4.0).sigmoid().item())


def test_bad_settings_are_refused(tiny_bert: str) -> None:
    with pytest.raises(SettingError, match="declares no attributes"):
        EncoderAttributeClassifier(tiny_bert, {"c": {"entities": ["A"]}})
    with pytest.raises(SettingError, match=r"class_weights names \['Use=stoped'\].*did you mean"):
        EncoderAttributeClassifier(tiny_bert, {"c": SCHEMA}, class_weights={"Use=stoped": 2.0, "none": 1.0})
