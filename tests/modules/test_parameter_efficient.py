"""Every way of tuning, on three architectures, for every module: what is trained, what is saved, and that it comes back."""

from __future__ import annotations

import copy
import functools
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from torch import Tensor, nn
from transformers import AutoTokenizer, MegatronBertConfig, MegatronBertForPreTraining, RobertaConfig, RobertaModel

from clinical_ie.callbacks.averaging import MovingAverage
from clinical_ie.callbacks.random_state import RandomState
from clinical_ie.corpora import BratFolder, HashSplit
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.formats import brat
from clinical_ie.modules import EncoderReader, EncoderRelationClassifier, EncoderTagger
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.tasks import EntityReading, EntityTagging, RelationClassification
from clinical_ie.tasks.task import Task

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated"),  # PEFT asks transformers that way
    pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback with a model that overrides"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed from"),
    pytest.mark.filterwarnings("ignore:.*ended before the epoch ended and your dataloader is not resumable"),
]

KINDS = ("bert", "megatron-bert", "roberta")
PEFT_FILES = Path(__file__).parents[2] / "configs" / "peft"
METHODS = tuple(sorted({path.stem for path in PEFT_FILES.glob("*.yaml")} - {"qlora"}))  # that one is for decoders
PEFTS: dict[str, type[PeftConfig]] = {
    f"peft.{kind.__name__}": kind for kind in (LoraConfig, IA3Config, PromptEncoderConfig, PrefixTuningConfig, PromptTuningConfig)
}
ADAPTER_PARTS = ("lora_", "ia3_", "prompt_encoder.")
TASKS: dict[str, tuple[type[EncoderModule], Task[Any]]] = {
    "tagger": (EncoderTagger, EntityTagging(64, 8)),
    "relations": (EncoderRelationClassifier, RelationClassification("shared", window=64, overlap=8)),
    "reader": (EncoderReader, EntityReading("packed", window=64, overlap=8)),
}
SCHEMA = {
    "entities": [{"name": "Dose", "definition": "how often"}, {"name": "Drug", "definition": "a medication"}],
    "relations": [{"name": "Starts", "heads": ["Dose"], "tails": ["Drug"]}, {"name": "Stops", "heads": ["Dose"], "tails": ["Drug"]}],
}
SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def options_of(method: str) -> dict[str, Any]:
    """What a file under ``configs/peft`` gives a module; a fresh PEFT configuration each time."""
    given: dict[str, Any] = yaml.safe_load((PEFT_FILES / f"{method}.yaml").read_text(encoding="utf-8"))["model"]["init_args"]
    peft = given.pop("peft", None)
    return {**given, "peft": None if peft is None else PEFTS[peft["class_path"]](**peft["init_args"])}


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("doses")
    doses, drugs = ["twice", "daily", "weekly"], ["aspirin", "heparin", "morphine", "warfarin"]
    documents = []
    for rank in range(14):
        text, entities, relations = "", [], []
        for place in range(2):
            verb = "Started" if (rank + place) % 2 else "Stopped"
            dose, drug = doses[(rank + place) % 3], drugs[(rank * 3 + place) % 4]
            start = len(text) + len(verb) + 1
            middle, end = start + len(dose), start + len(dose) + 1 + len(drug)
            entities += [
                Entity(f"T{2 * place + 1}", "Dose", Span.of(start, middle)),
                Entity(f"T{2 * place + 2}", "Drug", Span.of(middle + 1, end)),
            ]
            relations.append(
                Relation(f"R{place + 1}", verb.replace("ted", "ts").replace("ped", "s"), f"T{2 * place + 1}", f"T{2 * place + 2}")
            )
            text += f"{verb} {dose} {drug} for pain. "
        documents.append(Document(f"note{rank:02d}", text, tuple(entities), tuple(relations)))
    brat.write(documents, folder)
    return str(folder)


@pytest.fixture(scope="session")
def bases(tiny_bert: str, notes: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """BERT, GatorTron's files as they are published, and a RoBERTa, whose positions begin at 2; and another BERT of the same shape."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import BertModel, PreTrainedTokenizerFast

    folders = {kind: tmp_path_factory.mktemp(kind) for kind in (*KINDS[1:], "other")}
    vocabulary = AutoTokenizer.from_pretrained(tiny_bert).get_vocab()
    lines = "".join(f"{word}\n" for word in sorted(vocabulary, key=vocabulary.__getitem__))
    (folders["megatron-bert"] / "vocab.txt").write_text(lines, encoding="utf-8")
    sizes = SIZES | {"vocab_size": len(vocabulary), "max_position_embeddings": 512}
    torch.manual_seed(0)
    megatron = MegatronBertForPreTraining(MegatronBertConfig(**sizes))
    torch.save(megatron.state_dict(), folders["megatron-bert"] / "pytorch_model.bin")
    (folders["megatron-bert"] / "config.json").write_text(json.dumps(sizes | {"model_type": "megatron-bert"}), encoding="utf-8")

    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    texts = [path.read_text(encoding="utf-8") for path in Path(notes).glob("*.txt")]
    tokenizer.train_from_iterator(texts, vocab_size=400, special_tokens=special, show_progress=False)
    from tokenizers.processors import RobertaProcessing

    tokenizer._tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(folders["roberta"])
    RobertaModel(RobertaConfig(**SIZES, vocab_size=2500, max_position_embeddings=514, pad_token_id=1, type_vocab_size=1)).save_pretrained(
        folders["roberta"]
    )

    shutil.copytree(tiny_bert, folders["other"], dirs_exist_ok=True)
    other = BertModel.from_pretrained(tiny_bert)
    with torch.no_grad():
        other.embeddings.word_embeddings.weight[7, 7] += 1e-3
    other.save_pretrained(folders["other"])
    return {"bert": tiny_bert, **{kind: str(folder) for kind, folder in folders.items()}}


Data = Callable[[str, str], ExtractionDataModule]


@pytest.fixture(scope="session")
def data_of(bases: dict[str, str], notes: str) -> Data:
    @functools.cache
    def make(task: str, kind: str) -> ExtractionDataModule:
        corpus = BratFolder(notes, SCHEMA)
        split = HashSplit(dev_share=0.15, test_share=0.15)
        return ExtractionDataModule([corpus], [copy.deepcopy(TASKS[task][1])], bases[kind], split=split, batch_budget=96, seed=1)

    return make


def model_of(task: str, backbone: str, data: ExtractionDataModule, **options: Any) -> EncoderModule:
    torch.manual_seed(0)
    given = {"learning_rate": 1e-2, "head_learning_rate": 1e-2, "warmup_share": 0.0, "schedule": "constant", **options}
    return TASKS[task][0](backbone, data.schemas, **given)


def trainer_of(folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    settings = {"max_steps": 3, "limit_val_batches": 0, **options}
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        use_distributed_sampler=False, gradient_clip_val=1.0, callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks), **settings,
    )  # fmt: skip


class Watch(pl.Callback):
    """Losses, and which parameters ever had a gradient."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.given: set[str] = set()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *rest: Any) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self.given |= {name for name, parameter in pl_module.named_parameters() if parameter.grad is not None}


def numbers(model: EncoderModule, batch: Any) -> tuple[Tensor, ...]:
    """Every number that outputs follow from."""
    model.eval()
    with torch.no_grad():
        if isinstance(model, EncoderTagger):
            units = model.forward_batch(batch)
            return tuple(head.linear(units) for head in model.heads.heads.values())  # type: ignore[operator,union-attr]
        if isinstance(model, EncoderRelationClassifier):
            return tuple(scores for _, _, scores, _ in model.forward_batch(batch))
        assert isinstance(model, EncoderReader)
        words, starts, ends, match_query = model.forward_batch(batch)
        everywhere = model.heads.candidates(torch.ones_like(starts).bool(), torch.ones_like(ends).bool())
        return starts, ends, model.heads.matches(match_query, words, everywhere)


def is_adapter(name: str) -> bool:
    return any(part in name for part in ADAPTER_PARTS)


def is_ours(name: str) -> bool:
    return name.startswith(("heads.", "backbone.markers.")) or is_adapter(name)


CASES = [(task, kind, method, True) for task in TASKS for kind in KINDS for method in METHODS]
CASES += [("tagger", "bert", method, False) for method in METHODS]


@pytest.mark.parametrize(("task", "kind", "method", "averaged"), CASES)
def test_trains_saves_and_comes_back(
    task: str, kind: str, method: str, averaged: bool, bases: dict[str, str], data_of: Data, tmp_path: Path
) -> None:
    data = data_of(task, kind)
    model = model_of(task, bases[kind], data, **options_of(method))
    model.configure_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    frozen = method not in ("full", "prompt_tuning_unfrozen")
    expected = {name for name in before if is_ours(name) or not frozen}
    assert any(map(is_adapter, before)) == (method not in ("full", "frozen"))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == expected

    watch, keeper = Watch(), ModelCheckpoint(tmp_path, "kept", every_n_train_steps=3, save_top_k=1)
    callbacks = [watch, keeper, *([MovingAverage(0.5)] if averaged else [])]
    trainer_of(tmp_path, *callbacks).fit(model, data)
    assert len(watch.losses) == 3
    assert all(map(math.isfinite, watch.losses))
    assert watch.given == expected
    for name, parameter in model.named_parameters():
        if name not in expected:
            assert torch.equal(parameter, before[name]), f"{name} is frozen, bit for bit"
    same = {name for name, parameter in model.named_parameters() if name in expected and torch.equal(parameter, before[name])}
    # LoRA's first matrix has no gradient before its second has moved, and the average keeps half of what was
    assert not {name for name in same if "token_type" not in name}, "everything else has changed"

    path = tmp_path / "kept.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    bytes_of = {name: 4 * value.numel() for name, value in before.items()}
    trained, base = (sum(size for name, size in bytes_of.items() if (name in expected) == ours) for ours in (True, False))
    for key in ("state_dict", *(["current_model_state"] if averaged else [])):
        assert (set(checkpoint[key]) & set(before)) == (expected if frozen else set(before))
        strange = set(checkpoint[key]) - set(before)
        assert all(name.startswith("heads.") or (not frozen and "word_embeddings" in name) for name in strange), strange
    if averaged:
        assert any(not torch.equal(value, checkpoint["current_model_state"][name]) for name, value in checkpoint["state_dict"].items())
    if frozen:
        assert base > 250_000
        assert path.stat().st_size < (4 if averaged else 3) * trained + 180_000, "two moments of Adam, the weights and their average"
        assert checkpoint["base"]["name"] == bases[kind]
    else:
        assert "base" not in checkpoint

    again = model_of(task, bases[kind], data, **options_of(method))
    other = trainer_of(tmp_path, limit_val_batches=None)
    other.validate(again, data, ckpt_path=str(path), weights_only=True, verbose=False)
    data.setup("test")
    for batch in data.test_dataloader():
        ours, theirs = numbers(model, batch), numbers(again, batch)
        assert len(ours) == len(theirs) > 0
        assert all(torch.equal(one, two) for one, two in zip(ours, theirs, strict=True))
        assert model.predict_step(batch, 0) == again.predict_step(batch, 0)  # type: ignore[operator]
    state, loaded = model.state_dict(), again.state_dict()
    assert state.keys() == loaded.keys()
    assert all(torch.equal(state[name], loaded[name]) for name in state)


def saved(model: EncoderModule) -> dict[str, Any]:
    """What a checkpoint of a model holds, without files."""
    model.configure_model()
    checkpoint: dict[str, Any] = {"state_dict": {name: value.clone() for name, value in model.state_dict().items()}}
    model.on_save_checkpoint(checkpoint)
    return checkpoint


def load(model: EncoderModule, checkpoint: dict[str, Any]) -> None:
    """As Lightning does it."""
    model.configure_model()
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(checkpoint["state_dict"])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("full", "prompt_tuning_unfrozen")])
def test_another_base_of_the_same_shape_is_refused(task: str, method: str, bases: dict[str, str], data_of: Data) -> None:
    data = data_of(task, "bert")
    checkpoint = saved(model_of(task, bases["bert"], data, **options_of(method)))
    with pytest.raises(SettingError) as refused:
        load(model_of(task, bases["other"], data, **options_of(method)), checkpoint)
    assert bases["bert"] in str(refused.value)
    assert bases["other"] in str(refused.value)


@pytest.fixture(scope="module")
def saved_with(bases: dict[str, str], data_of: Data) -> Callable[[str], dict[str, Any]]:
    """What a checkpoint of a tagger holds, by the method it is tuned with."""

    @functools.cache
    def checkpoint(method: str) -> dict[str, Any]:
        return saved(model_of("tagger", bases["bert"], data_of("tagger", "bert"), **options_of(method)))

    return checkpoint


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("other", METHODS)
def test_another_method_is_refused(
    method: str, other: str, bases: dict[str, str], data_of: Data, saved_with: Callable[[str], dict[str, Any]]
) -> None:
    data, checkpoint = data_of("tagger", "bert"), copy.deepcopy(saved_with(method))
    model = model_of("tagger", bases["bert"], data, **options_of(other))
    if method == other:
        load(model, checkpoint)
        return
    with pytest.raises(SettingError):
        load(model, checkpoint)


@pytest.mark.parametrize("change", [{"r": 4}, {"lora_alpha": 64}, {"target_modules": ["query"]}, {"use_rslora": True}])
def test_the_same_method_with_another_setting_is_refused(change: dict[str, Any], bases: dict[str, str], data_of: Data) -> None:
    """A rank gives other shapes; a scale gives the same shapes, and other outputs without a word."""
    data = data_of("tagger", "bert")
    given = {"task_type": "FEATURE_EXTRACTION", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
    checkpoint = saved(model_of("tagger", bases["bert"], data, peft=LoraConfig(**given)))
    with pytest.raises(SettingError):
        load(model_of("tagger", bases["bert"], data, peft=LoraConfig(**{**given, **change})), checkpoint)


def test_dropout_of_an_adapter_may_differ(bases: dict[str, str], data_of: Data) -> None:
    data = data_of("tagger", "bert")
    given = {"task_type": "FEATURE_EXTRACTION", "r": 4, "target_modules": "all-linear"}
    checkpoint = saved(model_of("tagger", bases["bert"], data, peft=LoraConfig(**given, lora_dropout=0.1)))
    load(model_of("tagger", bases["bert"], data, peft=LoraConfig(**given)), checkpoint)


@pytest.mark.parametrize("method", ["p_tuning", "lora", "full"])
@pytest.mark.parametrize("averaged", [False, True])
def test_going_on_equals_never_having_stopped(method: str, averaged: bool, bases: dict[str, str], data_of: Data, tmp_path: Path) -> None:
    """Every parameter that is trained and both moments of it; the prompt encoder among them."""
    data = data_of("tagger", "bert")

    def run(folder: Path, ckpt_path: Path | None = None) -> EncoderModule:
        pl.seed_everything(3, verbose=False)
        if ckpt_path is not None:
            torch.rand(17)  # another state of the generator than at the start
        model = model_of("tagger", bases["bert"], data, schedule="linear", **options_of(method))
        keeper = ModelCheckpoint(folder, "{epoch}", every_n_epochs=1, save_top_k=-1, save_last=True)
        callbacks = [RandomState(), keeper, *([MovingAverage(0.5)] if averaged else [])]
        trainer = trainer_of(folder, *callbacks, max_steps=-1, max_epochs=3)
        trainer.fit(model, data, ckpt_path=None if ckpt_path is None else str(ckpt_path), weights_only=True)
        return model

    run(tmp_path / "whole")
    first = tmp_path / "whole" / "epoch=0.ckpt"
    run(tmp_path / "resumed", first)
    one, two, begun = (
        torch.load(path, weights_only=True) for path in (tmp_path / "whole/last.ckpt", tmp_path / "resumed/last.ckpt", first)
    )
    assert one["global_step"] == two["global_step"] > begun["global_step"] > 0
    for key in ("state_dict", *(["current_model_state"] if averaged else [])):
        assert one[key].keys() == two[key].keys()
        assert all(torch.equal(value, two[key][name]) for name, value in one[key].items())
        moved = {name for name, value in one[key].items() if not torch.equal(value, begun[key][name])}
        assert any(name.startswith("heads.") for name in moved)
        assert method != "p_tuning" or {name for name in one[key] if "prompt_encoder" in name} <= moved
    ours, theirs = (checkpoint["optimizer_states"][0]["state"] for checkpoint in (one, two))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k][name], theirs[k][name]) for k in ours for name in ("exp_avg", "exp_avg_sq"))


def test_weights_do_not_leave_the_module_that_saved_them(bases: dict[str, str], data_of: Data) -> None:
    """Saving must not change the model that goes on training, nor loading the checkpoint of another."""
    data = data_of("tagger", "bert")
    model = model_of("tagger", bases["bert"], data, **options_of("lora"))
    checkpoint = saved(model)
    assert all(isinstance(parameter, nn.Parameter) for parameter in model.parameters())
    names = set(checkpoint["state_dict"])
    again = model_of("tagger", bases["bert"], data, **options_of("lora"))
    load(again, copy.deepcopy(checkpoint))
    assert set(checkpoint["state_dict"]) == names
